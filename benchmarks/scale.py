"""Seconds and memory of what looks at every video of a dataset, for large ones that are made up.

    python benchmarks/scale.py                       # 24,000, 240,000 and 1,000,000 videos
    python benchmarks/scale.py --json benchmarks/results/scale.json

A line per step and size, each measured in a process of its own: listing a folder of empty files
(the first two sizes), reading and writing the manifest, opening the store, an epoch's order, the
examples of a test, and the choice of a tenth of the labels. No frame is stored.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import figures_file

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src")]

from videossl import durable  # noqa: E402
from videossl.data.datasets import folder as folders  # noqa: E402
from videossl.data.datasets import prepare  # noqa: E402
from videossl.data.loading.loader import TrainBatches  # noqa: E402
from videossl.data.shards import builder, records  # noqa: E402
from videossl.data.shards.builder import FinishedShard  # noqa: E402
from videossl.data.shards.store import ClipStore  # noqa: E402
from videossl.downstream import examples  # noqa: E402
from videossl.downstream.finetune import choose_labelled  # noqa: E402
from videossl.downstream.kinds import video_class  # noqa: E402
from videossl.train.pretrain import training_videos  # noqa: E402

CLASSES, PER_SHARD, FRAMES = 400, 2000, 250
LISTED = 240_000  # above that, making the files takes longer than all else
SIZES = [24_000, 240_000, 1_000_000]


def facts(number: int) -> dict[str, Any]:
    """What the manifest says of a video."""
    return {
        "name": f"train/class{number % CLASSES:03d}/video{number:07d}_000010_000020.mp4",
        "label": number % CLASSES, "splits": {"1": "val" if number % 13 == 0 else "train"},
        "frames": FRAMES, "height": 128, "width": 171, "fps": 25.0, "codec": "h264",
        "backend": "decord", "warnings": [], "source_bytes": 500_000,
        "source_sha256": f"{number:064x}", "offset": 4096 * (number % PER_SHARD), "length": 4000,
        "table_crc32": number,
    }  # fmt: skip


def write_manifest(out: Path, videos: int) -> None:
    """As ``decode`` writes it; shards are files without content of the right size."""
    shards = []
    for first in range(0, videos, PER_SHARD):
        path = out.parent / f"{first:07d}.lmdb"
        path.touch()
        numbers = range(first, min(first + PER_SHARD, videos))
        shards.append(FinishedShard(path, 0, "0" * 64, [facts(n) for n in numbers], []))
    names = [f"class{number:03d}" for number in range(CLASSES)]
    head = {"dataset": "made", "codec": "jpeg", "channels": 3, "classes": names, "libraries": {}}
    builder.publish(out, shards, [], head)


# ------------------------------------------------------------------ steps


def manifest_written(base: Path, videos: int) -> None:
    """Make and write the manifest."""
    out = base / "stored"
    out.mkdir()
    write_manifest(out, videos)


def manifest_digest(base: Path, videos: int) -> None:
    """What a stage does with every input: read all bytes once."""
    durable.sha256(base / "stored" / records.MANIFEST)


def store_opened(base: Path, videos: int) -> ClipStore:
    """Open the store."""
    store = ClipStore(base / "stored")
    assert len(store) == videos
    return store


def epoch_ordered(base: Path, videos: int) -> None:
    """Open the store, and read which videos and clips the first batch of the second epoch has."""
    store = store_opened(base, videos)
    source = TrainBatches(store, training_videos(store, 1), lambda rng, n: [], AUGMENT, 64, 0)
    source.videos_of(source.steps_per_epoch)
    source.sample_of(source.steps_per_epoch, 0)


def examples_selected(base: Path, videos: int) -> None:
    """The examples of a test: found, written, read; a tenth of the labels chosen."""
    found = video_class.examples(examples.Source(store_opened(base, videos), {}, "action"))
    out = base / "selected"
    out.mkdir()
    examples.write(found, {"data": "made", "labels": "action", "manifest": ""}, out)
    again = examples.read(out)
    numbers = again.part(1, "train")
    choose_labelled(again.targets[numbers].tolist(), 0.1, 0.1, 0)


def folder_listed(base: Path, videos: int) -> None:
    """List a folder per class, and write the index."""
    root, out = base / "files", base / "index"
    out.mkdir()
    prepare.write(folders.read(root, 0.0), root, out)


def make_files(base: Path, videos: int) -> None:
    """Empty files, in folders per part and class."""
    for number in range(videos):
        part = "test" if number % 13 == 0 else "train"
        path = base / "files" / part / f"class{number % CLASSES:03d}" / f"video{number:07d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


STEPS: dict[str, Callable[[Path, int], object]] = {
    step.__name__: step
    for step in (
        *(folder_listed, manifest_written, manifest_digest),
        *(store_opened, epoch_ordered, examples_selected),
    )
}
AUGMENT: Any = None


def take_up() -> None:
    """What the steps take for granted."""
    global AUGMENT
    from videossl.study import params

    study = params.load(ROOT / "params.yaml")
    AUGMENT = next(iter(study.pretrain.values())).augment


def measure(step: str, base: Path, videos: int) -> None:
    """Print seconds and peak MiB of one step beyond what the imports take."""
    take_up()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    STEPS[step](base, videos)
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": round(seconds, 2), "mib": round(peak / 1024)}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--videos", type=int, nargs="+", default=SIZES)
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        measure(args.step, args.base, args.videos[0])
        return
    found: list[dict[str, Any]] = []
    for videos in args.videos:
        with tempfile.TemporaryDirectory() as folder:
            if videos <= LISTED:
                make_files(Path(folder), videos)
            for step in STEPS:
                if step == "folder_listed" and videos > LISTED:
                    continue
                command = [sys.executable, __file__, "--step", step, "--base", folder]
                done = subprocess.run(
                    [*command, "--videos", str(videos)], capture_output=True, text=True
                )
                if done.returncode:
                    sys.exit(done.stderr)
                measured = json.loads(done.stdout.splitlines()[-1])
                found.append({"step": step, "videos": videos, **measured})
                print(found[-1], file=sys.stderr, flush=True)
    print(table(found))
    figures_file.write(args.json, found)


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line per step and number of videos."""
    lines = ["| step | videos | CPU s | MiB | µs per video |", "|---|---:|---:|---:|---:|"]
    for line in found:
        each = 1e6 * line["seconds"] / line["videos"]
        figures = f"{line['seconds']:.1f} | {line['mib']:.0f} | {each:.0f}"
        lines.append(f"| {line['step'].replace('_', ' ')} | {line['videos']:,} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
