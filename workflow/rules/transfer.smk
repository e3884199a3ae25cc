# Downstream: fine-tuning, features, protocols.


rule finetune:
    input:
        unpack(needs("finetune")),
    output:
        directory("runs/finetune/{encoder}/{dataset}/{fp}"),
    log:
        "logs/finetune/{encoder}/{dataset}/{fp}.log",
    retries: 2
    threads: machine.training_threads(1)
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=1440,
    params:
        reads=reads("finetune"),
    shell:
        "videossl finetune {wildcards.encoder} {wildcards.dataset} --weights {input.weights}"
        " --shards {input.shards} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"


rule embed:
    input:
        unpack(needs("embed")),
    output:
        directory("runs/embed/{encoder}/{dataset}/{fp}"),
    log:
        "logs/embed/{encoder}/{dataset}/{fp}.log",
    threads: machine.training_threads(1)
    resources:
        gpu=1,
        mem_mb=8000,
    params:
        reads=reads("embed"),
    shell:
        "videossl embed {wildcards.encoder} {wildcards.dataset} --weights {input.weights}"
        " --shards {input.shards} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"


rule evaluate:
    input:
        unpack(needs("evaluate")),
    output:
        directory("runs/evaluate/{encoder}/{dataset}/{protocol}/{fp}"),
    log:
        "logs/evaluate/{encoder}/{dataset}/{protocol}/{fp}.log",
    resources:
        mem_mb=8000,
    params:
        reads=reads("evaluate"),
        inputs=lambda wildcards, input: " ".join(
            f"--{role} {path}" for role, path in input.items()
        ),
    shell:
        "videossl evaluate {wildcards.encoder} {wildcards.dataset} {wildcards.protocol}"
        " {params.inputs} --out {output}"
        " --expect {wildcards.fp} --threads {threads} > {log} 2>&1"
