# Videos -> shards, and the examples of tests.


rule prepare:
    output:
        directory("runs/prepare/{dataset}/{fp}"),
    log:
        "logs/prepare/{dataset}/{fp}.log",
    retries: TRIES
    threads: 2
    resources:
        attempt=attempt_number,
        mem_mb=more(2000),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("prepare"),
    shell:
        "videossl prepare {wildcards.dataset} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"


rule decode:
    input:
        unpack(needs("decode")),
    output:
        directory("runs/decode/{dataset}/{fp}"),
    log:
        "logs/decode/{dataset}/{fp}.log",
    retries: TRIES
    threads: 2
    resources:
        attempt=attempt_number,
        mem_mb=more(4000),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("decode"),
        inputs=roles,
    shell:
        "videossl decode {wildcards.dataset} {params.inputs} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"


rule motion:
    input:
        unpack(needs("motion")),
    output:
        directory("runs/motion/{motion}/{fp}"),
    log:
        "logs/motion/{motion}/{fp}.log",
    priority: 20  # pretraining waits for it
    retries: TRIES
    threads: 2
    resources:
        attempt=attempt_number,
        mem_mb=more(4000),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("motion"),
        inputs=roles,
    shell:
        "videossl motion {wildcards.motion} {params.inputs} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"


rule select:
    input:
        unpack(needs("select")),
    output:
        directory("runs/select/{form}/{test}/{fp}"),
    log:
        "logs/select/{form}/{test}/{fp}.log",
    retries: TRIES
    resources:
        attempt=attempt_number,
        mem_mb=more(4000),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("select"),
        inputs=roles,
    shell:
        "videossl select {wildcards.form} {wildcards.test} {params.inputs} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"
