# Tables, figures and the page.


rule aggregate:
    input:
        unpack(needs("aggregate")),
    output:
        report(
            directory("runs/aggregate/{fp}"),
            patterns=["{name}.html"],
            caption="../report/study.rst",
            category="Study",
            htmlindex="report.html",
        ),
    log:
        "logs/aggregate/{fp}.log",
    retries: TRIES
    resources:
        attempt=attempt_number,
        mem_mb=more(8000),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("aggregate"),
    # a large study has more inputs than a command line holds
    shell:
        "videossl aggregate --runs runs --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"
