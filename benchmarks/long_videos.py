"""What decode and motion take for long videos, and for videos whose clock jumps by 20 hours.

    python benchmarks/long_videos.py                   # all; about an hour on two cores
    python benchmarks/long_videos.py jump_ahead jump_back
    python benchmarks/long_videos.py --json benchmarks/results/long_videos.json

Films are generated: a window moves over a texture, H.264 at a low bit rate; a segment is encoded
once and copied behind itself. Each is a dataset with one other video of two seconds. ``memory`` is
the most that all processes of a stage hold together, without files' pages that the system keeps in
memory for them; ``largest`` is the most that one of them holds. ``busy`` decodes again beside two
other processes per core, and says whether the shards are the same bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import figures_file
import numpy as np
from datapath_videos import texture

from videossl.data.shards import records
from videossl.study import overlay, params
from videossl.study.registry import METHODS

ROOT = Path(__file__).resolve().parents[1]
POLL = 0.05  # seconds between two looks at the memory of processes
JUMP = 20 * 3600  # seconds
ROW = "sts"  # it needs flow
COLUMNS = (
    *("film", "file, MiB", "frames", "stored, MiB"),
    *("decode, s", "memory, MiB", "flow, s", "memory, MiB", "busy: the same bytes"),
)


@dataclass(frozen=True)
class Film:
    """A film and how it is stored."""

    title: str
    height: int
    rate: int  # frames a second
    segment: int  # seconds that are encoded
    copies: int
    short_side: int
    fps: float | str = "native"
    jump: int = 0  # seconds, where the second half begins

    @property
    def seconds(self) -> int:
        """On screen."""
        return self.segment * self.copies


FILMS = {
    "hd_ready": Film("68 s of 720p, stored at 720 pixels", 720, 25, 17, 4, 720),
    "jump_ahead": Film(
        "60 s of MPEG-TS, the clock jumps 20 h ahead", 240, 25, 30, 2, 128, 10.0, JUMP
    ),
    "jump_back": Film(
        "60 s of MPEG-TS, the clock jumps 20 h back", 240, 25, 30, 2, 128, 10.0, -JUMP
    ),
    "hour": Film("1 h of 1080p, stored at 256 pixels", 1080, 24, 60, 60, 256),
}


# ------------------------------------------------------------------ films


def encode(path: Path, height: int, rate: int, seconds: float) -> None:
    """A window that moves over a texture, 16:9, with a key frame every ten seconds."""
    width = height * 16 // 9 // 2 * 2
    ground = texture(np.random.default_rng(0), 5 * height // 4, 5 * width // 4)
    ground = cv2.GaussianBlur(ground, (0, 0), height / 300).astype(np.uint8)  # a lens
    options = {"preset": "ultrafast", "crf": "34", "g": str(10 * rate)}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(seconds * rate)):
            y = int(height / 8 * (1 + np.cos(number / 57)))
            x = int(width / 8 * (1 + np.sin(number / 40)))
            window = np.ascontiguousarray(ground[y : y + height, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(window, format="rgb24")))
        container.mux(stream.encode(None))


def copied(segment: Path, path: Path, copies: int, begin: int = 0) -> None:
    """The segment behind itself, as often as asked; the clock begins at ``begin`` seconds."""
    with av.open(str(path), "w") as out:
        with av.open(str(segment)) as first:
            stream = out.add_stream_from_template(first.streams.video[0])
        for number in range(copies):
            with av.open(str(segment)) as source:
                film = source.streams.video[0]
                assert film.duration is not None
                assert film.time_base is not None
                later = number * film.duration + round(begin / film.time_base)
                for packet in source.demux(film):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + later, packet.dts + later
                    packet.stream = stream
                    out.mux(packet)


def make(film: Film, path: Path) -> Path:
    """Write the film beside ``path``; one whose clock jumps is two streams in one file."""
    segment = path.with_name("segment.mp4")
    encode(segment, film.height, film.rate, film.segment)
    if film.jump:
        path = path.with_suffix(".ts")
        halves = [path.with_name(f"half-{number}.ts") for number in range(2)]
        starts = (max(0, -film.jump), max(0, film.jump) + film.seconds // 2)
        for half, start in zip(halves, starts, strict=True):
            copied(segment, half, film.copies // 2, start)
        path.write_bytes(b"".join(half.read_bytes() for half in halves))
        for half in halves:
            half.unlink()
    else:
        copied(segment, path, film.copies)
    segment.unlink()
    return path


# ------------------------------------------------------------------ stages


def held(pid: int) -> list[int]:
    """Bytes that a process and each of its children hold for themselves."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it has ended
        return []
    own = sum(
        int(line.split()[1]) << 10
        for line in status.splitlines()
        if line.startswith(("RssAnon:", "RssShmem:"))
    )
    return [own, *(size for child in children for size in held(int(child)))]


def stage(words: Sequence[str], study: Path) -> dict[str, Any]:
    """Run ``videossl`` in the study's folder: seconds, and the memory of its processes."""
    begin, most, largest = time.monotonic(), 0, 0
    command = [sys.executable, "-m", "videossl", *words]
    with subprocess.Popen(command, cwd=study, stderr=subprocess.PIPE, text=True) as run:
        while run.poll() is None:
            sizes = held(run.pid)
            most, largest = max(most, sum(sizes)), max(largest, *sizes, 0)
            time.sleep(POLL)
        assert run.stderr is not None
        said = run.stderr.read()
    if run.returncode:
        sys.exit(f"{' '.join(words)}: {said}")
    seconds = time.monotonic() - begin
    return {
        "seconds": round(seconds, 1),
        "memory_mib": most >> 20,
        "largest_mib": largest >> 20,
    }


@contextmanager
def busy() -> Iterator[None]:
    """Twice as many processes as cores compute meanwhile."""
    context = multiprocessing.get_context("spawn")
    count = 2 * len(os.sched_getaffinity(0))
    others = [context.Process(target=_spin, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def _spin() -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # it ends with its parent, also where that is killed
        pass


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Store one film and compute its flow."""
    film = FILMS[name]
    root = folder / "root"
    for part in ("train", "test"):
        (root / part / "class").mkdir(parents=True)
    path = make(film, root / "train" / "class" / "film.mp4")
    encode(root / "test" / "class" / "short.mp4", 240, 25, 2.0)
    write_study(film, folder, root)
    stage(["prepare", "long", "--out", "listed"], folder)
    decoding = ["decode", "long", "--videos", "listed", "--out"]
    decode = stage([*decoding, "stored"], folder)
    motion = stage(["motion", "flow", "--shards", "stored", "--out", "flow"], folder)
    with busy():
        # in a folder of its own: finished shards of an output beside it would be taken over
        again = stage([*decoding, "busy/again"], folder)
    manifest = json.loads(manifest_of(folder / "stored"))
    stored = {video["name"]: video for video in manifest["videos"]}
    facts = stored.get(path.relative_to(root).as_posix(), {})
    return {
        "film": film.title,
        "source_mib": round(path.stat().st_size / 2**20, 1),
        "seconds": film.seconds,
        "frames": facts.get("frames", 0),
        "stored_mib": round(facts.get("length", 0) / 2**20, 1),
        "rejects": manifest["rejects"],
        "warnings": facts.get("warnings", []),
        "decode": decode,
        "motion": motion,
        "busy_seconds": again["seconds"],
        "same_bytes": manifest_of(folder / "stored") == manifest_of(folder / "busy" / "again"),
    }


def manifest_of(store: Path) -> bytes:
    """It holds the shards' SHA-256."""
    return (store / records.MANIFEST).read_bytes()


def write_study(film: Film, folder: Path, root: Path) -> None:
    """The default study with one row, which learns from the film and its flow."""
    target = folder / "params.yaml"
    target.write_bytes((ROOT / "params.yaml").read_bytes())
    others = {name: None for name in METHODS if name != ROW}
    change = {
        "data": {"long": {"format": "folder", "root": str(root), "missing": 0.0, "revision": 1}},
        "decode": {"short_side": film.short_side, "fps": film.fps},
        "motion": {"flow": {"data": "long"}},
        "methods": {**others, ROW: {"data": "long"}},
    }
    part = folder / "change.yaml"
    with part.open("w", encoding="utf-8") as file:
        params.yaml().dump(change, file)
    overlay.configure(part, target)


def table(found: Sequence[dict[str, Any]]) -> str:
    """A line per film."""
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        f"|---|{'---:|' * (len(COLUMNS) - 2)}---|",
    ]
    for one in found:
        cells = [one["film"], one["source_mib"], f"{one['frames']:,}", one["stored_mib"]]
        for name in ("decode", "motion"):
            cells += [f"{one[name]['seconds']:.0f}", f"{one[name]['memory_mib']:,}"]
        cells.append("yes" if one["same_bytes"] else "**no**")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="films; all where none is named")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    if unknown := set(args.names) - set(FILMS):
        sys.exit(f"no such film: {', '.join(unknown)}; there are: {', '.join(FILMS)}")
    found = []
    for name in args.names or FILMS:
        with tempfile.TemporaryDirectory(prefix="long-videos-") as folder:
            found.append(measure(name, Path(folder)))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    print(table(found))
    figures_file.merge(args.json, found, "film")


if __name__ == "__main__":
    main()
