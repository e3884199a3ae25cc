"""How much of a linear probe is due to who speaks: the speakers known to nobody, or to somebody.

    python benchmarks/real.py lips --root TABLE --frozen
    python benchmarks/speakers.py --seeds 0 --json benchmarks/results/speakers.json

Reads the features of the study that ``real.py lips`` ran; nothing is trained but linear probes, as
``probe.lips.linear`` of the study says. ``apart`` is the study's own: test speakers, whom neither
the encoder nor the classifier ever saw. The other two are within the training part, which the
encoder saw without labels: ``encoder`` leaves speakers out of the classifier, two at a time,
``both`` leaves repetitions out. Files are named SPEAKER_WORD_REPETITION. ``rank`` is how many
dimensions the training features use (RankMe, Garrido et al., ICML 2023).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import figures_file
import numpy as np
from numpy.typing import NDArray

import study
from videossl.downstream import examples, spread
from videossl.downstream.protocols import linear
from videossl.study import graph as stages
from videossl.study.schema import Linear
from videossl.study.stages import instance

TEST = "lips"
KNOWN = {"apart": "nobody", "encoder": "the encoder", "both": "encoder and classifier"}
Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


def groups_of(names: Sequence[str], by: str, size: int) -> list[set[str]]:
    """Values that the names have for ``by``, speaker or repetition, some at a time.

    >>> groups_of(["F01_w01_02.mp4", "M02_w01_01.mp4", "F04_w01_02.mp4"], "speaker", 2)
    [{'F01', 'F04'}, {'M02'}]
    """
    found = sorted({_said(name)[by] for name in names})
    return [set(found[start : start + size]) for start in range(0, len(found), size)]


def _said(name: str) -> dict[str, str]:
    speaker, _, repetition = Path(name).stem.split("_")
    return {"speaker": speaker, "repetition": repetition}


def left_out(
    features: Floats, found: examples.Examples, numbers: Numbers, by: str, spec: Linear
) -> float:
    """Top-1 in per cent over ``numbers``, each tested by a classifier that never saw its group."""
    names = [found.videos[number] for number in numbers.tolist()]
    own = np.array([_said(name)[by] for name in names])
    hits = 0
    for group in groups_of(names, by, 2):
        out = np.isin(own, sorted(group))
        hits += right(features, found, (numbers[~out], numbers[out]), spec)
    return 100 * hits / len(numbers)


def right(
    features: Floats, found: examples.Examples, parts: tuple[Numbers, Numbers], spec: Linear
) -> int:
    """How many of the second part a classifier trained on the first names rightly."""
    train, test = parts
    x, queries = features[train], features[test]  # copies, which the fit overwrites
    scores = linear.fit(x, found.targets[train], queries, found.classes, spec)
    return int((scores.argmax(1) == found.targets[test]).sum())


def measured(target: Path, seeds: list[int] | None = None) -> dict[str, Any]:
    """Per row, and per measure, a value for each seed; of all seeds where none is named."""
    planned = stages.load(target)
    seeds = seeds or list(planned.params.seeds)
    runs, spec = target.parent / "runs", planned.params.probe[TEST].linear
    assert spec is not None
    found = examples.read(runs / planned.path(instance("select", "probe", TEST)))
    train, test = (found.part(1, part) for part in ("train", "test"))
    rows: dict[str, dict[str, list[float]]] = {}
    for row in planned.rows:
        for seed in seeds:
            node = planned.find("embed", {"row": row, "test": TEST, "seed": str(seed)})
            features = np.load(runs / planned.path(node) / "features.npy")
            values = {
                "apart": 100 * right(features, found, (train, test), spec) / len(test),
                "encoder": left_out(features, found, train, "speaker", spec),
                "both": left_out(features, found, train, "repetition", spec),
                "rank": spread.rankme(features[train]),
            }
            for name, value in values.items():
                rows.setdefault(row, {}).setdefault(name, []).append(value)
    return {"seeds": seeds, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """A line per row; in brackets points over random weights."""
    rows = found["rows"]
    lines = [
        f"| speakers known to | {' | '.join(KNOWN.values())} | rank |",
        "|---|---:|---:|---:|---:|",
    ]
    for row, values in sorted(rows.items(), key=lambda item: item[0] != "scratch"):
        cells = []
        for name in KNOWN:
            own, base = np.array(values[name]), np.array(rows["scratch"][name])
            gain = "" if row == "scratch" else f" ({(own - base).mean():+.1f})"
            cells.append(f"{own.mean():.1f}{gain}")
        cells.append(f"{np.mean(values['rank']):.0f}")
        title = "random weights" if row == "scratch" else study.title(row)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--directory", type=Path, default=study.ROOT / "benchmarks/study/lips")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the study; all by default")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    found = measured(args.directory / "params.yaml", args.seeds)
    print(table(found))
    figures_file.write(args.json, found)


if __name__ == "__main__":
    main()
