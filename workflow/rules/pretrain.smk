# Encoders: pretrained, and those of the baseline rows.


rule pretrain:
    input:
        unpack(needs("pretrain")),
    output:
        directory("runs/pretrain/{method}/{fp}"),
    log:
        "logs/pretrain/{method}/{fp}.log",
    priority: 10  # the longest way to the report: first where cores are few
    retries: 2
    threads: machine.training_threads(GRAPH.params.pretrain.gpus)
    resources:
        gpu=GRAPH.params.pretrain.gpus,
        mem_mb=8000,
        runtime=2880,
    params:
        reads=reads("pretrain"),
        inputs=lambda wildcards, input: " ".join(
            f"--{role} {path}" for role, path in input.items()
        ),
    shell:
        "videossl pretrain {wildcards.method} {params.inputs} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"


rule initialize:
    output:
        directory("runs/initialize/{baseline}/{fp}"),
    log:
        "logs/initialize/{baseline}/{fp}.log",
    params:
        reads=reads("initialize"),
    shell:
        "videossl initialize {wildcards.baseline} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"
