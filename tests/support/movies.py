"""Videos made here, and the stage ``decode`` run over a folder of them."""

from __future__ import annotations

import json
import types
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from videossl.data.datasets import prepare, ucf101
from videossl.data.decoding import decode, video
from videossl.job import Job
from videossl.study.schema import Decode, FolderData

REAL = next(
    (
        p
        for p in (up / "shared" / "videos" for up in Path(__file__).resolve().parents)
        if p.is_dir()
    ),
    None,
)
OPTIONS = Decode(
    backend="decord",
    fps="native",
    short_side=48,
    codec="jpeg",
    quality=90,
    min_frames=8,
    shard_megabytes=1,
)


def scene(frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """(T, H, W, 3): brightness tells a frame's number, the left half is redder."""
    images = np.empty((frames, height, width, 3), np.uint8)
    images[...] = (20 + 7 * np.arange(frames) % 200)[:, None, None, None]
    images[:, :, : width // 2, 0] += 20
    return images


def write_video(
    path: Path, frames: int, size: tuple[int, int] = (48, 64), codec: str = "", **options: str
) -> None:
    """H.264, or MPEG-4 part 2 for .avi."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = codec or ("mpeg4" if path.suffix == ".avi" else "libx264")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = size
        stream.pix_fmt = options.pop("pix_fmt", "yuv420p")
        stream.bit_rate = 800_000
        stream.options = {"g": "12", "threads": "1", **options}
        for image in scene(frames, *size):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def write_stamped(path: Path, stamps: list[int]) -> None:
    """Frames that appear at ``stamps`` milliseconds; the file says that its rate is 25."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"bf": "0", "threads": "1"}
        for stamp, image in zip(stamps, scene(len(stamps), 48, 64), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def reference(path: Path) -> NDArray[np.uint8]:
    """All frames by a plain sequential read."""
    with av.open(str(path)) as container:
        frames = [
            frame.reformat(format="rgb24", interpolation=video.AREA).to_ndarray()
            for frame in container.decode(video=0)
        ]
    return np.stack(frames).astype(np.uint8)


def decode_dataset(
    root: Path, out: Path, threads: int = 1, adapter: Any = ucf101, **options: Any
) -> dict[str, Any]:
    """Run the stage and return the manifest."""
    out.mkdir()
    prepared = out.with_name(f"{out.name}-prepared")
    prepared.mkdir(exist_ok=True)
    index = adapter.read(root)
    prepare.write(index, index.root, prepared)
    job = Job(
        stage="decode",
        key={"dataset": "toy"},
        inputs={"videos": (prepared,)},
        out=out,
        scratch=out.with_name(f"{out.name}-scratch"),
        threads=threads,
        modules={},
    )
    data = FolderData(format="folder", root=str(index.root), missing=0.0, revision=1)
    params = types.SimpleNamespace(decode=OPTIONS.model_copy(update=options), data=data)
    decode.run(job, params)
    return manifest_of(out)


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest
