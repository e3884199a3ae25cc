"""Memory and time of what follows a frozen network: made-up features, as many as Kinetics-400 has.

    python benchmarks/frozen.py                                  # 220,000 + 20,000 videos x 2,048
    python benchmarks/frozen.py --json benchmarks/results/frozen.json

A line per step, each in a process of its own: writing the features of all videos as ``embed`` does,
reading a split, nearest neighbours (of which kNN and retrieval are made), iterations of the linear
probe by each of its solvers, writing tokens, and an epoch of one attentive probe on a tenth of the
examples, with the scores of the test part. Features are drawn around a centre per class, and tokens
are those in half precision, so few that the disk holds them: 2 places of one clip. How many places
and examples there are decides the disk and the time, as tokens are read batch by batch through a
memory map, whose pages the system takes back where it needs them. Two threads compute. Leaving one
out and similarities of pairs are for datasets of hundreds and thousands of videos, and not here.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import figures_file
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src")]

from videossl.downstream import features, tokens  # noqa: E402
from videossl.downstream.examples import Examples  # noqa: E402
from videossl.downstream.neighbours import nearest  # noqa: E402
from videossl.downstream.protocols import attentive, linear  # noqa: E402
from videossl.study.schema import Attentive, Linear  # noqa: E402

THREADS = 2
TRAIN, TEST, WIDTH, CLASSES = 220_000, 20_000, 2_048, 400
NEIGHBOURS, ITERATIONS, BLOCK = 50, 5, 4096
PLACES, HEADS, BATCH = 2, 16, 256  # of tokens, of the attention, of its training
TAKEN = 10  # the attentive probe trains on one of so many examples


def examples_of(train: int, test: int) -> Examples:
    """The examples of one split, the training part first."""
    count = train + test
    parts = ["train"] * train + ["test"] * test
    labels = np.arange(count, dtype=np.int64) % CLASSES
    videos = [f"class{k % CLASSES:03d}/video{k:07d}.mp4" for k in range(count)]
    return Examples(videos, labels, [f"class{k:03d}" for k in range(CLASSES)], {"1": parts})


def drawn(count: int, width: int) -> Iterator[NDArray[np.float32]]:
    """Features (n, width) of all examples, block by block."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, width), np.float32)
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        yield centres[rows % CLASSES] + 3 * rng.standard_normal((len(rows), width), np.float32)


# ------------------------------------------------------------------ steps


def features_written(base: Path, train: int, test: int, width: int) -> dict[str, float]:
    """What ``embed`` keeps of a dataset whose clips are through the network."""
    features.save(drawn(train + test, width), examples_of(train, test), base)
    return {}


def split_read(base: Path, train: int, test: int, width: int) -> dict[str, float]:
    """The training and the test part."""
    features.load(base, examples_of(train, test), 1)
    return {}


def neighbours_found(base: Path, train: int, test: int, width: int) -> dict[str, float]:
    """The nearest training videos of every test video."""
    gallery, queries = features.load(base, examples_of(train, test), 1)
    found, _ = nearest(queries.features, gallery.features, NEIGHBOURS)
    hits = gallery.labels[found[:, 0]] == queries.labels
    return {"right": float(hits.mean())}


def linear_fitted(base: Path, train: int, test: int, width: int) -> dict[str, float]:
    """Some iterations of the linear probe, and its scores."""
    return _fitted("lbfgs", base, train, test, width)


def linear_fitted_in_batches(base: Path, train: int, test: int, width: int) -> dict[str, float]:
    """The same by the solver that takes a GPU where there is one."""
    return _fitted("batched", base, train, test, width)


def _fitted(
    solver: Literal["lbfgs", "batched"], base: Path, train: int, test: int, width: int
) -> dict[str, float]:
    known, asked = features.load(base, examples_of(train, test), 1)
    names = [f"class{k:03d}" for k in range(CLASSES)]
    spec = Linear(solver=solver, regularization=1.0, iterations=ITERATIONS)
    scores = linear.fit(known.features, known.labels, asked.features, names, spec)
    return {"right": float((scores.argmax(axis=1) == asked.labels).mean())}


def tokens_written(base: Path, train: int, test: int, width: int) -> dict[str, float]:
    """What ``embed`` keeps besides for the attentive probe."""
    count = train + test
    with tokens.writing(base, count, "features") as writer:
        for block in drawn(count, width):
            writer.write(np.repeat(block[:, None, None], PLACES, axis=2))
    return {}


def attentive_trained(base: Path, train: int, test: int, width: int) -> dict[str, float]:
    """An epoch of one attentive probe, and its scores of the test part."""
    stored = tokens.read(base, train + test)
    found = examples_of(train, test)
    known, asked = found.part(1, "train"), found.part(1, "test")
    spec = Attentive(
        heads=HEADS, rates=[1e-3], decays=[0.01], epochs=1, batch_size=BATCH, validation=0.1
    )
    (model,) = attentive.fit(stored, found.targets, known[::TAKEN], spec, CLASSES, 0)
    scores = attentive.predict(model, stored, asked, BATCH)
    return {"right": float((scores.argmax(axis=1) == found.targets[asked]).mean())}


Step = Callable[[Path, int, int, int], dict[str, float]]
STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        *(features_written, split_read, neighbours_found),
        *(linear_fitted, linear_fitted_in_batches),
        *(tokens_written, attentive_trained),
    )
}


def measure(step: str, base: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Seconds and peak MiB of the whole process, and what the step says."""
    begin = time.monotonic()
    said = STEPS[step](base, *sizes)
    seconds = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"step": step, "seconds": round(seconds, 1), "mib": round(peak), **said}


def table(result: dict[str, Any]) -> str:
    """A line per step."""
    train, test, width = result["sizes"]
    head = f"| {train:,} + {test:,} videos x {width:,} | seconds | peak MiB |"
    lines = [head, "|---|---:|---:|"]
    for row in result["steps"]:
        name = row["step"].replace("_", " ")
        if row["step"].startswith(linear_fitted.__name__):
            name += f", {result['iterations']} iterations"
        if row["step"] == attentive_trained.__name__:
            name += f", 1 epoch over {train // TAKEN:,}, {PLACES} places"
        lines.append(f"| {name} | {row['seconds']:.0f} | {row['mib']:,} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--sizes", type=int, nargs=3, default=[TRAIN, TEST, WIDTH], metavar=("TRAIN", "TEST", "D")
    )
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(measure(args.step, args.base, args.sizes)))
        return
    steps = []
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(pools, str(THREADS))}
    with tempfile.TemporaryDirectory(prefix="frozen-") as folder:
        for step in args.only:
            command = [sys.executable, __file__, "--step", step, "--base", folder, "--sizes"]
            done = subprocess.run(
                [*command, *map(str, args.sizes)], env=env, capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(f"{step}: {done.stderr}")
            steps.append(json.loads(done.stdout.splitlines()[-1]))
            print(steps[-1], file=sys.stderr, flush=True)
    result = {"sizes": args.sizes, "threads": THREADS, "iterations": ITERATIONS, "steps": steps}
    print(table(result))
    figures_file.write(args.json, result)


if __name__ == "__main__":
    main()
