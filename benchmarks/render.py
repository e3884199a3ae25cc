"""Tables of what ``gpu.sh`` measured.

    python benchmarks/render.py gpu.jsonl             # Markdown

A share is of the floor: of the same network, fed from one batch that is there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column left, the others right; empty without rows."""
    body = [f"| {' | '.join(row)} |" for row in rows]
    if not body:
        return ""
    rule = f"|---|{'---:|' * (len(head) - 1)}"
    return "\n".join([f"| {' | '.join(head)} |", rule, *body])


def of(lines: Sequence[Line], part: str) -> list[Line]:
    """The figures of a part; not that it failed."""
    return [line for line in lines if line["part"] == part and line["name"] != "failed"]


def machine(lines: Sequence[Line]) -> str:
    """What was measured on, in a sentence."""
    (facts,) = of(lines, "what")
    gpu = f"{facts['gpu']}, {facts['gib']} GiB, CUDA {facts['cuda']}; " if "gpu" in facts else ""
    return f"{gpu}{facts['cores']} CPU cores, torch {facts['torch']}, Python {facts['python']}."


def tests(lines: Sequence[Line]) -> str:
    """How the tests ended."""
    said = []
    for line in of(lines, "tests"):
        counts = [f"{line[k]} {k}" for k in ("passed", "failed", "error", "skipped") if k in line]
        said.append(f"`{line['name']}`: {', '.join(counts) or 'none'}.")
        said += [f"Failed: {name}" for name in line["which"]]
    return "\n".join(said)


def device(lines: Sequence[Line]) -> str:
    """Peak speed and 3D convolutions."""
    rows = []
    for line in of(lines, "device"):
        if "tflops" in line:
            rows.append([line["name"], "", f"{line['tflops']:.1f}", "", ""])
        else:
            gradients = [f"{line[f'error_{g}_gradient']:.1e}" for g in ("input", "weight")]
            rows.append([line["name"], f"{line['ms']:.2f}", "", *gradients])
    head = ("", "ms", "TFLOP/s", "error of input's gradient", "of weight's gradient")
    return table(head, rows)


def compiled(line: Line) -> str:
    """A network's name, and whether it was compiled."""
    return f"{line['name']}{', compiled' if line['compiled'] else ''}"


def floors(lines: Sequence[Line]) -> str:
    """The networks alone."""
    rows = (
        [compiled(line), f"{line['clips_per_second']:.0f}", f"{line['tflops']:.1f}"]
        if "tflops" in line
        else [compiled(line), f"{line['clips_per_second']:.0f}", ""]
        for line in of(lines, "floor")
    )
    return table(("network alone", "clips/s", "TFLOP/s"), rows)


def training(lines: Sequence[Line]) -> str:
    """Whole steps of RSPNet, beside the network alone and the loader alone."""
    floor = {(f["name"], f["compiled"]): f["clips_per_second"] for f in of(lines, "floor")}
    rows = []
    for line in of(lines, "training"):
        speed = line["clips_per_second"]
        if "compiled" not in line:
            rows.append([line["name"], str(line["readers"]), f"{speed:.0f}", "", "", ""])
            continue
        network = line["name"].partition(" ")[2]
        best = floor.get((network, line["compiled"]))
        share = f"{speed / best:.0%}" if best else ""
        facts = [f"{speed:.0f}", share, f"{line['waiting_share']:.0%}"]
        rows.append(
            [compiled(line), str(line["readers"]), *facts, f"{line['kinetics400_hours']:.0f}"]
        )
    head = ("", "readers", "clips/s", "of the floor", "waiting", "hours, Kinetics-400 x 200")
    return table(head, rows)


def methods(lines: Sequence[Line]) -> str:
    """Every method by shape."""
    rows = []
    for line in of(lines, "methods"):
        where = [line["name"], line["shape"], str(line["batch"])]
        if "failed" in line:
            rows.append([*where, line["failed"], "", "", ""])
            continue
        speed = f"{line['clips_per_second']:.0f}"
        memory, share = f"{line['peak_mib']:.0f}", f"{line['augmentation_share']:.0%}"
        rows.append([*where, speed, memory, share, "yes" if line["host_waits"] else "no"])
    head = ("method", "network", "videos", "clips/s", "MiB", "augmentation", "host waits")
    return table(head, rows)


def failures(lines: Sequence[Line]) -> str:
    """Parts that did not end in order."""
    return "\n".join(
        f"Not measured: {line['part']} ({line['reason']})."
        for line in lines
        if line["name"] == "failed"
    )


def render(lines: Sequence[Line]) -> str:
    """All tables, in Markdown."""
    parts = (machine, tests, device, floors, training, methods, failures)
    return "\n\n".join(filter(None, (part(lines) for part in parts))) + "\n"


def read(path: Path) -> list[Line]:
    """The lines of a file; a last line that was cut is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if text.endswith("\n"):
            lines.append(json.loads(text))
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    print(render(read(parser.parse_args().file)), end="")


if __name__ == "__main__":
    main()
