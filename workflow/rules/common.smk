# What the rules share: the graph of params.yaml, and outputs at runs/<stage>/<key>/<fingerprint>/.
# Other parameters or other code are another path, so an output that is there is right and done:
# mtimes, .snakemake/ and rerun triggers decide nothing, and inputs are `ancient`.
SOURCE = str(Path(workflow.basedir, "src"))
sys.path.insert(0, SOURCE)

from videossl import machine
from videossl.study import disk, graph, ownership, writable
from videossl.job import UserError

machine.run_jobs_with(SOURCE)

if config:
    raise WorkflowError(
        "change params.yaml: stages read that file, so --config has no effect"
    )

try:
    GRAPH = graph.load(Path("params.yaml"))
except UserError as error:
    raise WorkflowError(str(error))


MEMORY_MB = 8000  # of a process that computes


def settled():
    """Whether jobs are forced; and settings that are there only once this file has been read.

    What Snakemake remembers of earlier runs decides nothing: neither other code of a rule or other
    inputs, nor marks that a killed Snakemake left on outputs, which are whole or absent.
    """
    settings = workflow.dag_settings
    if settings is None:
        return False
    settings.rerun_triggers = frozenset()
    workflow.dag.ignore_incomplete = True
    return bool(settings.forceall or settings.forcetargets or settings.forcerun)


def everything(wildcards):
    """Input function of all that the study makes; it is the first that is asked."""
    settled()
    return [output_of(node) for node in GRAPH.instances]


# Failed jobs are started again by the first Snakemake alone: the one inside a cluster's job would
# multiply them. A stage that is told it is not the first attempt repeats a user's error at once.
TRIES = 2 if workflow.is_main_process else 0


def attempt_number(wildcards, attempt):
    return attempt


def more(amount):
    """Resources function: that much, and as much again with every further attempt."""

    def amounts(wildcards, attempt):
        return (amount(wildcards) if callable(amount) else amount) * attempt

    return amounts


def output_of(node):
    return Path("runs", GRAPH.path(node)).as_posix()


def node_of(stage, wildcards):
    return GRAPH.find(stage, dict(wildcards.items()))


def needs(stage):
    """Input function: role -> outputs of the instances that play it.

    A removed output is made again without rerunning what was made from it before: for a node that
    is done, absent inputs are left out.
    """

    def inputs(wildcards):
        me = node_of(stage, wildcards)
        done = not settled() and Path(output_of(me)).exists()
        return {
            role: [
                ancient(path)
                for path in map(output_of, nodes)
                if not done or Path(path).exists()
            ]
            for role, nodes in GRAPH.needs(me).items()
        }

    return inputs


def reads(stage):
    """Params function: the declared part of params.yaml, flat."""

    def leaves(wildcards):
        return GRAPH.leaves(node_of(stage, wildcards))

    return leaves


def roles(wildcards, input):
    """Params function: the inputs as options, ``--weights runs/... --shards runs/...``."""
    return " ".join(f"--{role} {path}" for role, path in input.items())


def gpus_of(wildcards):
    return GRAPH.gpus(node_of("pretrain", wildcards))


def nodes_of(wildcards):
    return GRAPH.nodes(node_of("pretrain", wildcards))


def gpus_of_nodes(wildcards):
    return gpus_of(wildcards) * nodes_of(wildcards)


def starter_of(wildcards):
    """What starts a process on each node; none for one node, where the plugin starts it."""
    return "srun" if nodes_of(wildcards) > 1 else None


def gpus_of_protocol(wildcards):
    return GRAPH.gpus(node_of("evaluate", wildcards))


def memory_of(wildcards):
    return MEMORY_MB * gpus_of(wildcards)


def publish():
    """Point runs/report at the report of the current params.yaml, if it is there."""
    latest = Path(output_of(graph.instance("aggregate")))
    link = Path("runs", "report")
    if latest.is_dir() and link.resolve() != latest.resolve():
        part = link.with_name(".report.part")
        with disk.explained(link):
            part.unlink(missing_ok=True)
            part.symlink_to(latest.relative_to("runs"), target_is_directory=True)
            part.replace(link)


if workflow.is_main_process:
    from videossl.study import slurm_executor

    slurm_executor.install()
    # trainings at a time on this machine: one per GPU, or as many as cores without one
    workflow.global_resources.setdefault("gpu", machine.gpus() or machine.threads())
    try:
        writable.check(GRAPH)
        # the lock of a killed Snakemake says nothing, if no other one runs in this folder
        if ownership.hold(Path("scratch", "locks", "snakemake")):
            for mark in Path(".snakemake", "locks").glob("*.lock"):
                mark.unlink()
        # values set back: the report is there and no job runs, so there is no onsuccess
        publish()
    except UserError as error:
        raise WorkflowError(str(error))


wildcard_constraints:
    fp="[0-9a-f]{12}",
    dataset="[a-z0-9_]+",
    motion="[a-z0-9_]+",
    form="finetune|probe",
    test="[a-z0-9_]+",
    row="[a-z0-9_]+",
    protocol="[a-z0-9_]+",
    seed="[0-9]+",
    split="[0-9]+",
