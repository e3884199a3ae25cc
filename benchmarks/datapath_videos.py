"""Videos that ``datapath.py`` reads: real ones, and generated ones like UCF101's and Kinetics'."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import decord
import numpy as np
from numpy.typing import NDArray

NOISE = 16  # different noise images per video
CHOSEN = ("v_SoccerJuggling*", "R6llTwEh07w.*", "SOX5yA1l24A.*", "flipping_a_pancake.*")


def texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """(H, W, 3) in 0..255 whose power falls with frequency as in photographs; mostly grey."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1.0
    planes = np.fft.ifft2(np.fft.fft2(rng.normal(size=(4, height, width))) / frequency**1.4).real
    planes /= planes.std(axis=(1, 2), keepdims=True)
    image = 120 + 50 * planes[0, :, :, None] + 14 * planes[1:].transpose(1, 2, 0)
    return image.clip(0, 255).astype(np.float32)


def frames_of(seed: int, count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """A textured disk moves over a textured ground under a moving camera, with sensor noise."""
    rng = np.random.default_rng(seed)
    ground, disk = (texture(rng, 2 * height, 2 * width) for _ in range(2))
    noise = rng.normal(0, 2.5, (NOISE, height, width, 1)).astype(np.float32)
    turn, zoom = rng.uniform(-0.2, 0.2, 2)
    drift, speed = rng.uniform(-0.6, 0.6, 2), rng.uniform(1, 3)
    rows, columns = np.mgrid[:height, :width]
    images = []
    for number in range(count):
        part = number / count
        camera = cv2.getRotationMatrix2D((width, height), 30 * turn * part, 1.2 + zoom * part)
        camera[:, 2] -= (0.5 * width, 0.5 * height) + drift * number
        image = cv2.warpAffine(ground, camera, (width, height), borderMode=cv2.BORDER_REFLECT)
        y = height * (0.5 + 0.25 * np.sin(speed * number / 30))
        x = width * (0.5 + 0.3 * np.cos(0.7 * speed * number / 30))
        mask = (rows - y) ** 2 + (columns - x) ** 2 < (height / 5) ** 2
        moved = cv2.warpAffine(disk, np.float32([[1, 0, x - width], [0, 1, y - height]]),
                               (width, height))  # fmt: skip
        image = np.where(mask[:, :, None], moved, image) + noise[rng.integers(NOISE)]
        images.append(image.clip(0, 255).astype(np.uint8))
    return images


def write_video(
    path: Path, images: Sequence[NDArray[np.uint8]], codec: str, rate: int, options: dict[str, str]
) -> None:
    """Encode; with more than one thread the bytes could differ between machines."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def write_like_ucf101(path: Path, seed: int) -> None:
    """MPEG-4 part 2 in AVI, 320x240, 25 fps, a keyframe every 12."""
    options = {"g": "12", "qmin": "5", "qmax": "5", "bf": "0"}
    write_video(path, frames_of(seed, 180, 240, 320), "mpeg4", 25, options)


def write_like_kinetics(path: Path, seed: int) -> None:
    """H.264 in MP4, 340x256, 30 fps, a keyframe every 250."""
    options = {"g": "250", "crf": "20", "preset": "medium"}
    write_video(path, frames_of(seed, 300, 256, 340), "libx264", 30, options)


@dataclass(frozen=True)
class Group:
    """Videos of one kind; ``first`` counts those of the groups before."""

    title: str
    dataset: str
    files: list[Path]
    first: int

    @property
    def numbers(self) -> range:
        """Of the videos, in a store of all groups."""
        return range(self.first, self.first + len(self.files))


def _frames_for_all(path: Path) -> int:
    """Frames that every reader finds; 0 where decord or PyAV cannot read the file or seek in it."""
    try:
        decord.VideoReader(str(path), num_threads=1)
        with av.open(str(path)) as container:
            stamps = [frame.pts for frame in container.decode(video=0)]
            reordered = container.streams.video[0].codec_context.has_b_frames
    except (RuntimeError, decord.DECORDError, av.error.FFmpegError, UnicodeDecodeError):
        return 0
    if path.suffix == ".avi" and reordered:  # seeking there ends anywhere
        return 0
    return len(stamps) if len(set(stamps)) == len(stamps) and None not in stamps else 0


def groups_of(folder: Path, real: Path, every: bool, least: int) -> list[Group]:
    """Generated videos, and the real ones of a folder of at least ``least`` frames."""
    made = {"UCF101": [], "Kinetics-400": []}
    for seed in range(4):
        made["UCF101"].append(folder / f"ucf-{seed}.avi")
        write_like_ucf101(made["UCF101"][-1], seed)
        made["Kinetics-400"].append(folder / f"kinetics-{seed}.mp4")
        write_like_kinetics(made["Kinetics-400"][-1], seed)
    found: dict[str, list[Path]] = {"UCF101": [], "Kinetics-400": []}
    masks = ("*",) if every else CHOSEN
    for path in sorted(path for mask in masks for path in real.glob(mask)):
        if (count := _frames_for_all(path)) < least:
            text = f"left out: {count} frames that every reader finds, {least} needed"
            print(f"{path.name}: {text}", file=sys.stderr)
        else:
            found["UCF101" if path.suffix == ".avi" else "Kinetics-400"].append(path)
    groups, first = [], 0
    for kind, chosen in (("generated", made), ("real", found)):
        for dataset, files in chosen.items():
            if files:
                groups.append(Group(f"{dataset}, {kind}", dataset, files, first))
                first += len(files)
    return groups
