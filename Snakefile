# The study of params.yaml, in parallel:   snakemake --cores all
# on a cluster:                            snakemake --cores all --profile slurm
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


container: "docker://python:3.11"  # used only with --sdm apptainer


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        everything,


onstart:
    if workflow.is_main_process:
        print(
            "`videossl status --watch` shows how far each stage is", file=sys.stderr
        )


onsuccess:
    publish()
