"""What ``datapath.py`` reads: generated videos, and the same clips in the layouts of others."""

from __future__ import annotations

import io
import os
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import decord
import lmdb
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from videossl.data.decoding.video import target_size
from videossl.data.loading.loader import TrainBatches
from videossl.data.shards.records import HEADER, U32
from videossl.data.shards.store import ClipStore

Images = NDArray[np.uint8]  # (T, H, W, 3), RGB
Reader = Callable[[int, Sequence[int]], Images]  # frames of a video, given by its number
NOISE = 16  # different noise images per video
MAP_BYTES = 16 << 30
CHOSEN = ("v_SoccerJuggling*", "R6llTwEh07w.*", "SOX5yA1l24A.*", "flipping_a_pancake.*")


# ------------------------------------------------------------------------------------ videos


def _texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
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
    ground, disk = (_texture(rng, 2 * height, 2 * width) for _ in range(2))
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


# ------------------------------------------------------------------------------------ originals


class Decord:
    """Decord on the fly, as most code does: a reader per clip; with ``short_side``, it resizes."""

    def __init__(self, paths: Sequence[Path], short_side: int | None = None) -> None:
        self.paths, self.short_side = paths, short_side
        shapes = [decord.VideoReader(str(path), num_threads=1)[0].shape for path in paths]
        self.sizes = [target_size(h, w, short_side or min(h, w)) for h, w, _ in shapes]

    def __call__(self, video: int, frames: Sequence[int]) -> Images:
        """Open, seek and read."""
        size = {}
        if self.short_side is not None:
            size["height"], size["width"] = self.sizes[video]
        reader = decord.VideoReader(str(self.paths[video]), num_threads=1, **size)
        return reader.get_batch(list(frames)).asnumpy()


class PyAV:
    """PyAV: seek to the keyframe before the clip and decode to its end.

    Which time stamp a frame has is known beforehand; finding out takes a pass over the file.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.stamps: list[list[int]] = []
        for path in paths:
            with av.open(str(path)) as container:
                self.stamps.append([frame.pts for frame in container.decode(video=0)])

    def __call__(self, video: int, frames: Sequence[int]) -> Images:
        """Open, seek and decode."""
        wanted = {self.stamps[video][frame] for frame in frames}
        last = max(wanted)
        found = []
        with av.open(str(self.paths[video])) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            container.seek(min(wanted), stream=stream)
            for frame in container.decode(stream):
                if frame.pts in wanted:
                    found.append(frame.to_ndarray(format="rgb24"))
                if frame.pts >= last:
                    break
        return np.stack(found)


# ------------------------------------------------------------------------------------ stored


def stored_frames(store: ClipStore, video: int) -> list[bytes]:
    """The stored bytes of each frame of a video."""
    table = store._table(video)  # no public way: readers want pixels
    return [bytes(data) for data in store._stored(video, table, range(len(table.checksums)))]


class Ours:
    """Our shards, into one array that is used again and again, as the loader does."""

    def __init__(self, store: ClipStore) -> None:
        self.store = store
        self.outs: dict[tuple[int, ...], Images] = {}

    def out(self, video: int, count: int) -> Images:
        """Where that many frames of a video go."""
        facts = self.store.videos[video]
        shape = (count, facts.height, facts.width, 3)
        return self.outs.setdefault(shape, np.zeros(shape, np.uint8))

    def __call__(self, video: int, frames: Sequence[int]) -> Images:
        """Read."""
        return self.store.clip(video, frames, out=self.out(video, len(frames)))


class InMemory(Ours):
    """The limit: bytes that lie in memory, nothing checked; decoded, or copied if raw."""

    def __init__(self, store: ClipStore, raw: bool) -> None:
        super().__init__(store)
        self.raw = raw
        self.frames = [stored_frames(store, video) for video in range(len(store))]

    def __call__(self, video: int, frames: Sequence[int]) -> Images:
        """Decode or copy."""
        out, stored = self.out(video, len(frames)), self.frames[video]
        for target, frame in zip(out, frames, strict=True):
            if self.raw:
                target.reshape(-1)[:] = np.frombuffer(stored[frame], np.uint8)
            else:
                simplejpeg.decode_jpeg(stored[frame], "RGB", buffer=target)
        return out


class Loose:
    """The same JPEG frames as files of their own, read with PIL."""

    def __init__(self, store: ClipStore, folder: Path) -> None:
        self.folder = folder
        for video in range(len(store)):
            (folder / str(video)).mkdir(parents=True)
            for number, data in enumerate(stored_frames(store, video)):
                self._path(video, number).write_bytes(data)

    def _path(self, video: int, frame: int) -> Path:
        return self.folder / str(video) / f"{frame:05d}.jpg"

    def __call__(self, video: int, frames: Sequence[int]) -> Images:
        """Open each file."""
        return np.stack([np.asarray(Image.open(self._path(video, frame))) for frame in frames])


class WholeValue:
    """CoCLR's layout: one LMDB value per video, a list of JPEGs that is unpacked whole; PIL."""

    def __init__(self, store: ClipStore, path: Path) -> None:
        with lmdb.open(str(path), subdir=False, lock=False, map_size=MAP_BYTES) as writer:
            for video in range(len(store)):
                with writer.begin(write=True) as transaction:
                    value = pickle.dumps(stored_frames(store, video))
                    transaction.put(b"%08d" % video, value)
        self.env = lmdb.open(str(path), subdir=False, lock=False, readonly=True, readahead=False)

    def __call__(self, video: int, frames: Sequence[int]) -> Images:
        """Get, unpack and decode."""
        with self.env.begin() as transaction:
            stored = pickle.loads(transaction.get(b"%08d" % video))
        return np.stack([np.asarray(Image.open(io.BytesIO(stored[frame]))) for frame in frames])


def cropped(read: Reader, side: int = 112) -> Callable[[int, Sequence[int]], Images]:
    """The reader, followed by the same crop and resize for all: four fifths of the short side."""
    out: dict[int, Images] = {}

    def reader(video: int, frames: Sequence[int]) -> Images:
        images = read(video, frames)
        height, width = images.shape[1:3]
        size = 4 * min(height, width) // 5
        top, left = (height - size) // 2, (width - size) // 2
        target = out.setdefault(len(frames), np.zeros((len(frames), side, side, 3), np.uint8))
        for place, image in zip(target, images, strict=True):
            cv2.resize(image[top : top + size, left : left + size], (side, side), dst=place)
        return target

    return reader


class Rows(Dataset[tuple[list[NDArray[np.uint8]], NDArray[np.float32]]]):
    """The rows of a source's batches, one after another, for torch's ``DataLoader``."""

    def __init__(self, source: TrainBatches) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.steps()) * self.source.batch_size

    def __getitem__(self, index: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
        step, row = divmod(index, self.source.batch_size)
        sample = self.source.sample_of(step, row)
        video = int(self.source.videos_of(step)[row])
        clips = [self.source.store.clip(video, request.frames) for request, _ in sample]
        return clips, np.stack([drawn for _, drawn in sample])


# ------------------------------------------------------------------------------------ from disk


def _bytes_read() -> int:
    """From the disk, by this process, so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


def _drop(path: Path) -> None:
    """Take a file out of the page cache; nobody may have it mapped."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


class Cold:
    """Reads clips of a store whose shard is dropped before each; notes what came from disk."""

    def __init__(self, store: ClipStore, clips: Callable[[int], list[tuple[int, range]]]) -> None:
        self.store, self.clips = store, clips
        self.shard = store.path / store.shards[0]["file"]
        self.read: list[int] = []

    def measure(self, turn: int) -> float:
        """Clips per second."""
        start, passed = len(self.read), 0.0
        for video, frames in self.clips(turn):
            _drop(self.shard)
            passed += self.time(video, frames)
        return len(self.read[start:]) / passed

    def timed(self, work: Callable[[], object]) -> float:
        """Seconds that it takes."""
        before, begin = _bytes_read(), time.perf_counter()
        work()
        passed = time.perf_counter() - begin
        self.read.append(_bytes_read() - before)
        return passed

    def time(self, video: int, frames: range) -> float:
        """Ours, which has read nothing of the file before."""
        self.store.close()
        return self.timed(lambda: self.store.clip(video, frames))


class ColdValue(Cold):
    """LMDB's ``get`` on the same file, which is one value per video."""

    def __init__(
        self,
        store: ClipStore,
        clips: Callable[[int], list[tuple[int, range]]],
        readahead: bool,
    ) -> None:
        super().__init__(store, clips)
        self.readahead = readahead

    def time(self, video: int, frames: range) -> float:
        """That of the whole value."""
        options = {"subdir": False, "readonly": True, "lock": False, "readahead": self.readahead}
        with lmdb.open(str(self.shard), **options) as env, env.begin(buffers=True) as transaction:
            return self.timed(lambda: self._clip(transaction.get(b"%08d" % video), frames))

    def _clip(self, value: memoryview, frames: range) -> Images:
        count = HEADER.unpack_from(value)[3]
        offsets = np.frombuffer(value, U32, count + 1, HEADER.size)
        images = [
            simplejpeg.decode_jpeg(value[offsets[frame] : offsets[frame + 1]]) for frame in frames
        ]
        return np.stack(images)
