"""Run the study with several seeds and print each protocol's mean and spread over them.

    python benchmarks/seeds.py                        # seeds 0 1 2 of params.yaml
    python benchmarks/seeds.py --seeds 0 1 2 3 4 --overlay configs/tiny.yaml

The study runs in a folder of its own (``--directory``), so params.yaml and runs/ stay as they are;
stages that do not read the seed run once, and running the script again runs nothing that is done.
The seed of the built-in videos (data.synthetic.seed) is another one and stays the same.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from videossl import configure

ROOT = Path(__file__).resolve().parents[1]
PRIMARY = {"recognition": "top1", "linear": "top1", "knn": "top1", "retrieval": "R@1"}


def run(directory: Path, seed: int, overlay: Path | None) -> pd.DataFrame:
    """Run one study to its end; returns its results."""
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / "params.yaml"
    shutil.copy(ROOT / "params.yaml", target)
    if overlay is not None:
        configure.configure(overlay, target)
    change = directory / "seed.yaml"
    change.write_text(f"seed: {seed}\n")
    configure.configure(change, target)
    command = ["snakemake", "--cores", "all", "--snakefile", str(ROOT / "Snakefile")]
    begin = time.monotonic()
    command += ["--directory", str(directory)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    print(f"seed {seed}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return pd.read_csv(directory / "runs/report/results.csv")


def table(results: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Per method and protocol: mean, spread and gain over the baseline, in points."""
    chosen = results[results["metric"] == results["protocol"].map(PRIMARY)]
    rows = []
    for (dataset, protocol), group in chosen.groupby(["dataset", "protocol"], sort=False):
        by_seed = group.pivot(index="seed", columns="method", values="value") * 100
        for method in group["method"].unique():
            gain = by_seed[method] - by_seed[baseline]
            rows.append(
                {
                    "dataset": dataset,
                    "protocol": f"{protocol} {PRIMARY[protocol]}",
                    "method": method,
                    "mean": by_seed[method].mean(),
                    "sd": by_seed[method].std(),
                    "gain": gain.mean(),
                    "least gain": gain.min(),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--overlay", type=Path)
    parser.add_argument("--directory", type=Path, default=ROOT / "benchmarks/study")
    parser.add_argument("--baseline", default="scratch")
    args = parser.parse_args()
    results = pd.concat([run(args.directory, seed, args.overlay) for seed in args.seeds])
    print(f"{len(args.seeds)} seeds; per cent of test videos, gains in points over {args.baseline}")
    print(table(results, args.baseline).to_string(index=False, float_format="%.1f"))


if __name__ == "__main__":
    main()
