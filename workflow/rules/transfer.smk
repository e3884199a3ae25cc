# Downstream: fine-tuning and testing, features and protocols.


rule finetune:
    input:
        unpack(needs("finetune")),
    output:
        directory("runs/finetune/{row}/{test}/seed-{seed}/split-{split}/{fp}"),
    log:
        "logs/finetune/{row}/{test}/seed-{seed}/split-{split}/{fp}.log",
    retries: TRIES
    threads: machine.training_threads(1)
    resources:
        attempt=attempt_number,
        gpu=1,
        mem_mb=more(MEMORY_MB),
        nodes=1,
        runtime=1440,
    params:
        reads=reads("finetune"),
        inputs=roles,
    shell:
        "videossl finetune {wildcards.row} {wildcards.test} --seed {wildcards.seed}"
        " --split {wildcards.split} {params.inputs} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"


rule test:
    input:
        unpack(needs("test")),
    output:
        directory("runs/test/{row}/{test}/seed-{seed}/split-{split}/{fp}"),
    log:
        "logs/test/{row}/{test}/seed-{seed}/split-{split}/{fp}.log",
    retries: TRIES
    threads: machine.training_threads(1)
    resources:
        attempt=attempt_number,
        gpu=1,
        mem_mb=more(MEMORY_MB),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("test"),
        inputs=roles,
    shell:
        "videossl test {wildcards.row} {wildcards.test} --seed {wildcards.seed}"
        " --split {wildcards.split} {params.inputs} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"


rule embed:
    input:
        unpack(needs("embed")),
    output:
        directory("runs/embed/{row}/{test}/seed-{seed}/{fp}"),
    log:
        "logs/embed/{row}/{test}/seed-{seed}/{fp}.log",
    retries: TRIES
    threads: machine.training_threads(1)
    resources:
        attempt=attempt_number,
        gpu=1,
        mem_mb=more(MEMORY_MB),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("embed"),
        inputs=roles,
    shell:
        "videossl embed {wildcards.row} {wildcards.test} --seed {wildcards.seed}"
        " {params.inputs} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"


rule evaluate:
    input:
        unpack(needs("evaluate")),
    output:
        directory(
            "runs/evaluate/{row}/{test}/{protocol}/seed-{seed}/split-{split}/{fp}"
        ),
    log:
        "logs/evaluate/{row}/{test}/{protocol}/seed-{seed}/split-{split}/{fp}.log",
    retries: TRIES
    resources:
        attempt=attempt_number,
        gpu=gpus_of_protocol,
        mem_mb=more(MEMORY_MB),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("evaluate"),
        inputs=roles,
    shell:
        "videossl evaluate {wildcards.row} {wildcards.test} {wildcards.protocol}"
        " --seed {wildcards.seed} --split {wildcards.split} {params.inputs} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"
