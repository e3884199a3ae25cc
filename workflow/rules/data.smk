# Videos -> shards.


rule prepare:
    output:
        directory("runs/prepare/{dataset}/{fp}"),
    log:
        "logs/prepare/{dataset}/{fp}.log",
    threads: 2
    params:
        reads=reads("prepare"),
    shell:
        "videossl prepare {wildcards.dataset} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"


rule motion:
    input:
        unpack(needs("motion")),
    output:
        directory("runs/motion/{motion}/{fp}"),
    log:
        "logs/motion/{motion}/{fp}.log",
    priority: 20  # pretraining waits for it
    threads: 2
    resources:
        mem_mb=4000,
    params:
        reads=reads("motion"),
    shell:
        "videossl motion {wildcards.motion} --shards {input.shards} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"


rule decode:
    input:
        unpack(needs("decode")),
    output:
        directory("runs/decode/{dataset}/{fp}"),
    log:
        "logs/decode/{dataset}/{fp}.log",
    threads: 2
    resources:
        mem_mb=4000,
    params:
        reads=reads("decode"),
    shell:
        "videossl decode {wildcards.dataset} --videos {input.videos} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"
