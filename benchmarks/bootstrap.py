"""Seconds of ``videossl metrics`` for one row of a large made-up test part: 1,000 samples.

    python benchmarks/bootstrap.py
    python benchmarks/bootstrap.py --json benchmarks/results/bootstrap.json

A line per metric, each measured in a process of its own. *One by one* is what as many samples would
take, each with arrays of its own: of three, times what they are to all.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src")]

from videossl import remeasure  # noqa: E402
from videossl.downstream import average_precision, metrics  # noqa: E402
from videossl.downstream.objectives import detection  # noqa: E402

SAMPLES, DIRECT = 1000, 3
MOMENTS, BOXES, CLASSES = 57_000, 100_000, 60  # about AVA's validation part
VIDEOS, ACTIONS = 1_814, 157  # Charades' test part


def frames() -> metrics.Predictions:
    """Boxes of moments, each true box found a little beside its place, with some wrong besides."""
    rng = np.random.default_rng(0)
    corners = rng.random((BOXES, 2)) * 0.6
    true = np.concatenate([corners, corners + 0.1 + rng.random((BOXES, 2)) * 0.3], axis=1)
    labels = rng.random((BOXES, CLASSES)) < 2.4 / np.arange(1, CLASSES + 1) / 4.7
    scores = labels * 1.5 - 4 + rng.normal(size=labels.shape)
    ends = np.sort(rng.integers(0, BOXES + 1, MOMENTS - 1))
    places = np.stack([np.append(0, ends), np.append(ends, BOXES)], axis=1)
    return {
        "examples": np.arange(MOMENTS), "found_range": places, "true_range": places,
        "found_places": (true + rng.normal(size=true.shape) * 0.02)[None],
        "true_places": true[None], "labels": labels[None],
        "scores": (1 / (1 + np.exp(-scores))).astype(np.float32)[None],
        "evaluated": np.arange(CLASSES)[None],
    }  # fmt: skip


def videos() -> metrics.Predictions:
    """Videos of several classes each."""
    rng = np.random.default_rng(0)
    labels = rng.random((VIDEOS, ACTIONS)) < 0.04
    scores = (labels + rng.normal(size=labels.shape)).astype(np.float32)
    return {"examples": np.arange(VIDEOS), "labels": labels, "scores": scores}


def frame_map(predictions: metrics.Predictions) -> tuple[metrics.Values, metrics.Totals]:
    """As the objective ``detection``."""
    return {}, {"frame_mAP": detection.frame_map(predictions)}


def video_map(predictions: metrics.Predictions) -> tuple[metrics.Values, metrics.Totals]:
    """As the objective ``multi_label``."""
    score = average_precision.of_videos(predictions["labels"], predictions["scores"])
    return {}, {"mAP": score}


Case = tuple[Callable[[], metrics.Predictions], remeasure.Measure]
CASES: dict[str, Case] = {"frame_mAP": (frames, frame_map), "mAP": (videos, video_map)}


def measured(name: str) -> dict[str, Any]:
    """Seconds both ways, and the memory at the most."""
    make, measure = CASES[name]
    predictions = make()
    begin = time.perf_counter()
    low, high = remeasure.bootstrap(predictions, measure, SAMPLES, np.random.default_rng(0))[name]
    seconds = time.perf_counter() - begin
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rng, count = np.random.default_rng(0), len(predictions["examples"])
    begin = time.perf_counter()
    for _ in range(DIRECT):
        measure(metrics.resampled(predictions, rng.integers(count, size=count)))
    direct = (time.perf_counter() - begin) * SAMPLES / DIRECT
    return {
        "metric": name, "examples": count, "classes": predictions["scores"].shape[-1],
        "samples": SAMPLES, "seconds": round(seconds, 1), "direct": round(direct), "mib": mib,
        "interval": [round(low, 4), round(high, 4)],
    }  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    """What the page shows."""
    lines = [
        "| metric | examples | classes | samples | seconds | one by one | memory, MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['metric']} | {r['examples']:,} | {r['classes']} | {r['samples']:,} | "
        f"{r['seconds']:.1f} | {r['direct']:,} | {r['mib']:,} |"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--metric", choices=CASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.metric:
        print(json.dumps(measured(args.metric)))
        return
    results = []
    for name in CASES:
        words = [sys.executable, __file__, "--metric", name]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout))
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps(results) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
