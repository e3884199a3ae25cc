"""Clip shards of made-up video, for machines without decoders: drifting texture, as JPEG.

A frame of 128 x 171 pixels takes about 8 KB, like one of Kinetics-400 at that size, so that reading
costs what it costs there. Motion is stored the same way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videossl.data.motion.store import planes
from videossl.data.shards import builder, records
from videossl.study.schema import Motion

FPS, QUALITY = 25.0, 85
FIELDS = {"label": -1, "splits": {"1": "train"}, "fps": FPS, "frames": 0}


def texture(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Noise (side, side, 3) in 0..255 whose strength falls with frequency, as in photographs."""
    shape = (side, side)
    waves = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None]) + 2 / side
    planes = [np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) / waves).real for _ in range(3)]
    image = np.stack(planes, axis=2)
    scaled = 128 + 48 * (image - image.mean()) / image.std()
    return np.clip(scaled, 0, 255).astype(np.float32)


def frames(seed: int, count: int, height: int, width: int) -> NDArray[np.uint8]:
    """A window (count, height, width, 3) that wanders over a texture."""
    rng = np.random.default_rng(seed)
    side = 2 * max(height, width)
    whole = np.tile(texture(rng, side), (2, 2, 1)).astype(np.uint8)
    steps = rng.uniform(-3, 3, 2) * np.arange(count)[:, None] + rng.uniform(0, side, 2)
    corners = steps.astype(int) % side
    return np.stack([whole[y : y + height, x : x + width] for y, x in corners])


def store(out: Path, videos: int, count: int, height: int, width: int) -> None:
    """Write a store of ``videos`` videos of ``count`` frames."""
    encode = records.encoder("jpeg", QUALITY)
    build = builder.ShardBuilder(out.with_name(f"{out.name}-made"), 1 << 30)
    for number in range(videos):
        stored = [encode(np.ascontiguousarray(f)) for f in frames(number, count, height, width)]
        _add(build, number, stored, count, height, width, 3)
    _publish(build, out, {"channels": 3})


def motion(out: Path, options: Motion, videos: int, count: int, height: int, width: int) -> None:
    """Write the motion of such a store: no flow's, but as large."""
    encode = records.encoder("jpeg", QUALITY, channels=1)
    build = builder.ShardBuilder(out.with_name(f"{out.name}-made"), 1 << 30)
    tall = height * planes(options)
    for number in range(videos):
        gray = frames(number, count, tall, width)[..., :1]
        stored = [encode(np.ascontiguousarray(image)) for image in gray]
        _add(build, number, stored, count, tall, width, 1)
    _publish(build, out, {"channels": 1, "motion": options.model_dump()})


def _add(
    build: builder.ShardBuilder,
    number: int,
    stored: list[bytes],
    count: int,
    height: int,
    width: int,
    channels: int,
) -> None:
    record = records.pack(stored, "jpeg", height, width, channels)
    size = {"height": height, "width": width}
    build.add(record, {"name": f"{number:05d}", **FIELDS, **size, "frames": count})


def _publish(build: builder.ShardBuilder, out: Path, head: builder.Facts) -> None:
    late = build.close()
    out.mkdir()
    facts = {"dataset": "made", "codec": "jpeg", "classes": [], "libraries": {}}
    builder.publish(out, build.finished, late, {**facts, **head})
