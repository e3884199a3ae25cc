# Encoders: pretrained, and those of the baseline rows.


rule pretrain:
    input:
        unpack(needs("pretrain")),
    output:
        directory("runs/pretrain/{row}/seed-{seed}/{fp}"),
    log:
        "logs/pretrain/{row}/seed-{seed}/{fp}.log",
    priority: 10  # the longest way to the report: first where cores are few
    retries: TRIES
    threads: lambda wildcards: machine.training_threads(gpus_of(wildcards))
    resources:
        attempt=attempt_number,
        gpu=gpus_of_nodes,
        mem_mb=more(memory_of),
        mpi=starter_of,
        nodes=nodes_of,
        tasks=nodes_of,
        tasks_per_gpu=0,
        runtime=2880,
    params:
        reads=reads("pretrain"),
        inputs=roles,
    shell:
        "videossl pretrain {wildcards.row} --seed {wildcards.seed} {params.inputs}"
        " --out {output} --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"


rule initialize:
    output:
        directory("runs/initialize/{row}/seed-{seed}/{fp}"),
    log:
        "logs/initialize/{row}/seed-{seed}/{fp}.log",
    retries: TRIES
    resources:
        attempt=attempt_number,
        mem_mb=more(4000),
        nodes=1,
        runtime=more(240),
    params:
        reads=reads("initialize"),
    shell:
        "videossl initialize {wildcards.row} --seed {wildcards.seed} --out {output}"
        " --expect {wildcards.fp} --attempt {resources.attempt}"
        " --threads {threads} > {log} 2>&1"
