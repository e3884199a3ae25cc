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
    params:
        reads=reads("aggregate"),
        inputs=lambda wildcards, input: " ".join(
            f"--{role} {' '.join(paths)}"
            for role in ("data", "pretrainings", "finetunings", "evaluations")
            if (paths := input.get(role))
        ),
    shell:
        "videossl aggregate {params.inputs} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"
