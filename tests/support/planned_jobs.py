"""Print the jobs Snakemake plans for the study in the current folder, as JSON. Run as a script.

``printd3dag`` is the public call that builds the graph; the jobs are then read from the workflow.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    workflow = api.workflow(
        resource_settings=ResourceSettings(cores=1),
        config_settings=ConfigSettings(),
        snakefile=Path("Snakefile"),
        workdir=Path(),
    )
    dag = workflow.dag(dag_settings=DAGSettings(forceall=True))
    with contextlib.redirect_stdout(io.StringIO()):
        dag.printd3dag()
    jobs = [
        {
            "output": [str(path) for path in job.output],
            "input": [str(path) for path in job.input],
            "reads": sorted(job.params.reads),
        }
        for job in workflow._workflow.dag.jobs
        if job.rule.name != "all"
    ]
print(json.dumps(jobs))
