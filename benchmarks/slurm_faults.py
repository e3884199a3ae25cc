"""How soon each fault of a cluster shows, as the tests of them measure it.

    python benchmarks/slurm_faults.py        # where workflow/cluster/up.sh started a SLURM
    python benchmarks/slurm_faults.py --json benchmarks/results/slurm_faults.json

They look at their jobs every second to six seconds, and the profile every ten to sixty. What a
test measures once is seconds of one run, on a machine that may have other work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import figures_file

ROOT = Path(__file__).resolve().parents[1]
TIMES = "VIDEOSSL_FAULT_TIMES"  # tests/support/cluster.py


def measured(words: list[str]) -> dict[str, Any]:
    """Fault -> its seconds and the test that measured them; the tests that pytest's words choose.

    A test that fails ends this.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "times.json")
        command = [sys.executable, "-m", "pytest", "-q", "-m", "slurm", *words]
        environment = {**os.environ, TIMES: str(file)}
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
        if done.returncode or not file.exists():
            sys.exit(done.returncode or "slurm_faults.py: no SLURM here (workflow/cluster/up.sh)")
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def table(found: dict[str, Any]) -> str:
    """A line per fault."""
    lines = ["| fault: what is waited for | seconds | test |", "|---|---:|---|"]
    for fault, one in found.items():
        test = one["test"].rpartition("::")[2].partition("[")[0]
        lines.append(f"| {fault} | {one['seconds']:.0f} | `{test}` |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("tests", nargs="*", default=["tests/workflow"], help="words for pytest")
    args = parser.parse_args()
    found = measured(args.tests)
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
