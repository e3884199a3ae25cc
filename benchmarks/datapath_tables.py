"""The tables of ``datapath.py``, from what it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import harmonic_mean, mean
from typing import Any

FRAMES, STRIDES = 16, (1, 2, 4, 8)
DATASETS = {"UCF101": (2.43e6, "2.43 M"), "Kinetics-400": (67e6, "67 M")}  # frames
OURS, DECORD, RESIZING = "ours, JPEG q90", "decord", "decord, resizing to 128"
LIMIT = "limit: libjpeg-turbo"
BY_GROUP = (OURS, "ours, raw", "PyAV, seek", "torchcodec", "Lance, libjpeg-turbo", LIMIT)

Found = Mapping[str, Any]
Rates = dict[tuple[str, bool], list[float]]  # layout, whether crop and resize count: by stride


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, the first column to the left."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def _rates(found: Found, titles: Sequence[str]) -> Rates:
    """Of these groups, as many clips of each."""
    by: dict[tuple[str, bool, int], list[float]] = {}
    for line in found["warm"]:
        if line["group"] in titles:
            by.setdefault((line["layout"], line["cropped"], line["stride"]), []).append(
                line["rate"]
            )
    keys = dict.fromkeys((layout, cropped) for layout, cropped, _ in by)
    return {key: [harmonic_mean(by[*key, stride]) for stride in STRIDES] for key in keys}


def groups(found: Found) -> list[str]:
    """Titles of the groups of videos, in order."""
    return list(dict.fromkeys(line["group"] for line in found["warm"]))


def gains(rates: Rates, name: str, over: str) -> list[float]:
    """How many times the clips of another layout, per stride, crop and resize on both sides."""
    return [a / b for a, b in zip(rates[name, True], rates[over, True], strict=True)]


def warm(found: Found) -> str:
    """All layouts over all videos."""
    rates = _rates(found, groups(found))
    head = ["layout", *[f"stride {stride}" for stride in STRIDES], "x decord", "mean"]
    rows = []
    for name in dict.fromkeys(name for name, _ in rates):
        ratios = gains(rates, name, DECORD)
        row = [name, *[f"{value:.0f}" for value in rates[name, True]]]
        row += [" / ".join(f"{ratio:.1f}" for ratio in ratios), f"{mean(ratios):.1f}"]
        if (name, False) in rates:
            pairs = zip(rates[name, False], rates[LIMIT, False], strict=True)
            share = mean(own / limit for own, limit in pairs)
            row += [f"{mean(rates[name, False]):.0f}", f"{100 * share:.0f} %"]
        else:
            row += ["", ""]
        rows.append(row)
    return table([*head, "read only", "of libjpeg-turbo"], rows)


def by_group(found: Found) -> str:
    """Mean gain over decord per group of videos."""
    titles = groups(found)
    of = {title: _rates(found, [title]) for title in titles}
    shown = [name for name in BY_GROUP if (name, True) in of[titles[0]]]
    rows = []
    for title, rates in of.items():
        cells = []
        for name in shown:
            ratios = gains(rates, name, DECORD)
            each = " / ".join(f"{ratio:.1f}" for ratio in ratios)
            cells.append(f"{mean(ratios):.1f} ({each})" if name == OURS else f"{mean(ratios):.1f}")
        rows.append([title, *cells])
    return table(["x decord, videos", *shown], rows)


def cold(found: Found) -> str:
    """Reads from disk."""
    if not found["cold"]:
        return "Not measured: this file system keeps the file in memory when told to drop it."
    by = {(line["reader"], line["stride"]): line for line in found["cold"]}
    rows = []
    for name in dict.fromkeys(name for name, _ in by):
        lines = [by[name, stride] for stride in STRIDES]
        ratios = [by["ours", line["stride"]]["rate"] / line["rate"] for line in lines]
        cells = [f"{line['rate']:.0f} ({line['kilobytes']:.0f} KB)" for line in lines]
        rows.append([name, *cells, " / ".join(f"{ratio:.1f}" for ratio in ratios)])
    return table(["reader", *[f"stride {stride}" for stride in STRIDES], "ours is x"], rows)


def loading(found: Found) -> str:
    """Loaders, with the share of what reading in process gives."""
    by = {(line["loader"], line["processes"]): line["rate"] for line in found["loading"]}
    names = dict.fromkeys(name for name, _ in by)
    rows = []
    for name in names:
        cells = [f"{by[name, n]:.0f}" for n in (1, 2)]
        if name != "in process":
            shares = [100 * by[name, n] / by["in process", n] for n in (1, 2)]
            cells = [f"{c} ({share:.0f} %)" for c, share in zip(cells, shares, strict=True)]
        title = "reading in process, no workers" if name == "in process" else name
        rows.append([title, *cells])
    return table(["", "1 process", "2 processes"], rows)


def decoding(found: Found) -> str:
    """The stage as a whole."""
    kinds = {"only": "decode only, PyAV"}
    kinds |= {
        f"{b} {n}": f"{b}, {n} core{'s' * (n > 1)}" for b in ("pyav", "decord") for n in (1, 2)
    }
    rows = [
        [line["group"], *[f"{line['rates'][kind]:.0f}" for kind in kinds]]
        for line in found["decoding"]
    ]
    return table(["frames/s", *kinds.values()], rows)


def datasets(found: Found) -> str:
    """What whole datasets take."""
    rows = []
    for line in found["decoding"]:
        total, shown = DATASETS[line["dataset"]]
        hours = [total / line["rates"][f"{backend} 1"] / 3600 for backend in ("pyav", "decord")]
        row = [line["group"], f"{line['frames']:.0f}", f"{line['source'] / 1e3:.2f}"]
        row += [f"{line['stored'] / 1e3:.2f}", f"{line['stored'] / line['source']:.1f}", shown]
        row += [f"{line['stored'] * total / 1e9:.0f} GB"]
        rows.append([*row, " / ".join(f"{hour:.2f}" for hour in hours)])
    head = ["", "frames/video", "KB/frame, source", "KB/frame, stored", "stored/source"]
    return table([*head, "all frames", "all stored", "core-hours, pyav / decord"], rows)


ALL = (warm, by_group, cold, loading, decoding, datasets)
