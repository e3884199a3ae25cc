"""All methods on real labelled video, beside random weights and beside the pixels themselves.

    python benchmarks/real.py lips --root TABLE             # configs/lips.yaml, seeds 0 1 2
    python benchmarks/real.py ultrasound --root TABLE --seeds 0
    python benchmarks/real.py lips --root TABLE --json benchmarks/results/lips.json
    python benchmarks/real.py lips --root TABLE --frozen    # without fine-tuning

TABLE is a CSV file beside its videos (docs/data.md, `format: csv`). The study runs in a folder of
its own (``--directory``), and running the script again runs nothing that is done. ``pixels`` are
the same clips without any network, as gray pictures of 8 x 8, under the same protocols.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import figures_file
import numpy as np
import pandas as pd
from numpy.typing import NDArray

import study
from videossl.data.loading.loader import CentralBatches
from videossl.data.shards.store import ClipStore
from videossl.downstream import examples
from videossl.downstream.protocols import knn, linear
from videossl.study import graph as stages
from videossl.study import params
from videossl.study.schema import Params, Probe
from videossl.study.stages import instance

SIDE = 8  # pixels of a picture
PIXELS = "pixels"
PROTOCOLS = {"recognition": "fine-tuned", "linear": "linear probe", "knn": "kNN"}


def pixels(target: Path, test: str) -> dict[str, float]:
    """Top-1 in per cent of both protocols on the clips' own pixels, mean over splits."""
    planned = stages.load(target)
    spec = planned.params.probe[test]
    runs = target.parent / "runs"
    found = examples.read(runs / planned.path(instance("select", "probe", test)))
    store = ClipStore(runs / planned.path(instance("decode", spec.data)))
    everything = _pictures(store, found.stored(store, range(len(found.videos))), spec)
    by_split = [_scores(everything, found, split, spec) for split in spec.splits]
    return {name: float(np.mean([one[name] for one in by_split])) for name in by_split[0]}


def _scores(
    everything: NDArray[np.float32], found: examples.Examples, split: int, spec: Probe
) -> dict[str, float]:
    train, test = (found.part(split, name) for name in ("train", "test"))
    x, y, queries = everything[train], found.targets[train], everything[test]
    scores = {}
    if (near := spec.knn) is not None:
        how = (near.neighbours, near.temperature, len(found.classes))
        scores["knn"] = knn.vote(x, y, queries, *how)
    if (probe := spec.linear) is not None:  # last: it overwrites features
        scores["linear"] = linear.fit(x, y, queries, found.classes, probe)
    truth = found.targets[test]
    return {name: 100 * float((s.argmax(1) == truth).mean()) for name, s in scores.items()}


def _pictures(store: ClipStore, videos: Sequence[int], spec: Probe) -> NDArray[np.float32]:
    """The gray pictures of each video's clips, mean over clips: (N, frames * SIDE * SIDE)."""
    source = CentralBatches(store, videos, spec.clip, spec.features.clips, 1)
    rows = []
    for position in range(len(videos) * spec.features.clips):
        ((request, _),) = source.sample_of(position, 0)
        clip = store.clip(videos[position // spec.features.clips], request.frames)
        gray = clip.astype(np.float32).mean(axis=-1)
        small = [cv2.resize(g, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for g in gray]
        rows.append(np.stack(small).ravel())
    return np.stack(rows).reshape(len(videos), spec.features.clips, -1).mean(axis=1)


def measured(target: Path, test: str) -> dict[str, Any]:
    """The results: per row and protocol the top-1 of each seed, in per cent."""
    found = study.results(target)
    rows = {
        row: {name: own[name] for name in own if name in PROTOCOLS}
        for row, own in study.values(found, test).items()
    }
    loaded = params.load(target)
    store = pd.read_csv(next((target.parent / "runs/select/probe" / test).rglob("examples.csv")))
    counts = store["split_1"].value_counts()
    return {
        "test": test,
        "seeds": list(loaded.seeds),
        "budgets": {row: _budget(loaded, row) for row in loaded.methods},
        "splits": len(loaded.probe[test].splits),
        "examples": {name: int(counts[name]) for name in ("train", "test")},
        "classes": int(store["target"].nunique()),
        "rows": {**rows, PIXELS: {k: [v] for k, v in pixels(target, test).items()}},
    }


def _budget(loaded: Params, row: str) -> list[int]:
    """Epochs, frames of a clip and videos of a batch that a row is pretrained with."""
    budget = loaded.pretrain[loaded.methods[row].pretrain]
    return [budget.epochs, budget.clip.frames, budget.batch_size]


def table(found: dict[str, Any]) -> str:
    """A line per row: means over seeds with their deviation, and points over random weights."""
    rows = found["rows"]
    baseline = rows["scratch"]
    shown = [name for name in PROTOCOLS if name in baseline]
    lines = [
        f"| | epochs, frames, batch | {' | '.join(PROTOCOLS[name] for name in shown)} |",
        f"|---|---|{'---:|' * len(shown)}",
    ]
    for row, values in sorted(rows.items(), key=lambda item: item[0] not in ("scratch", PIXELS)):
        cells = [", ".join(map(str, found["budgets"].get(row, []))) or "–"]
        for name in shown:
            over = () if row in ("scratch", PIXELS) else baseline[name]
            cells.append(study.cell(values[name], over) if name in values else "–")
        name = "random weights" if row == "scratch" else study.title(row)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    counts, splits = found["examples"], found["splits"]
    seeds = ", ".join(map(str, found["seeds"]))
    about = (
        f"Per cent of {counts['test']} test videos in {found['classes']} classes "
        f"({100 / found['classes']:.1f} by chance); {counts['train']} training videos"
        + (f" (of the first of {splits} splits, over which all numbers are means)" * (splits > 1))
        + f"; seeds {seeds}; in brackets points over random weights."
    )
    return "\n".join([*lines, "", about])


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", choices=["lips", "ultrasound"], help="an overlay of configs/")
    parser.add_argument("--root", type=Path, required=True, help="CSV file of the videos")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--frozen", action="store_true", help="no fine-tuning")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    directory = args.directory or study.ROOT / "benchmarks/study" / args.name
    root = {"data": {args.name: {"root": str(args.root.resolve())}}}
    overlay = study.ROOT / "configs" / f"{args.name}.yaml"
    changes = [root, {"seeds": args.seeds}]
    if args.frozen:
        changes.append({"finetune": {args.name: None}})
    target = study.run(directory, changes, [overlay])
    found = measured(target, args.name)
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
