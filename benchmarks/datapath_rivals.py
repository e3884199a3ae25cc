"""How others read the clips that ``datapath.py`` asks for: from the videos, and from stored frames.

torchcodec (and FFmpeg's libraries, which it does not bring) and pylance are no dependencies of this
project: what is not installed is left out and named.

    pip install torchcodec==0.17.0 pylance==14.0.2      # and: apt-get install ffmpeg
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import lmdb
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from videossl.data.decoding.video import target_size
from videossl.data.shards.store import ClipStore

Images = NDArray[np.uint8]  # (T, H, W, 3), RGB
Reader = Callable[[int, Sequence[int]], Images]  # frames of a video, given by its number
MAP_BYTES = 16 << 30
COLUMN = "image"  # of a Lance table


def optional(module: str) -> Any:
    """A package that is compared if it is there, else None."""
    try:
        return import_module(module)
    except (ImportError, RuntimeError, OSError):  # torchcodec without FFmpeg's libraries raises one
        return None


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


class TorchCodec:
    """torchcodec: a decoder per clip; ``approximate`` finds frames by their rate, unscanned."""

    def __init__(self, paths: Sequence[Path], mode: str) -> None:
        self.make = optional("torchcodec.decoders").VideoDecoder
        self.paths, self.mode = paths, mode

    def __call__(self, video: int, frames: Sequence[int]) -> Images:
        """Open, seek and decode."""
        decoder = self.make(
            str(self.paths[video]),
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            seek_mode=self.mode,
        )
        return decoder.get_frames_at(list(frames)).data.numpy()


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


def _decode_pil(data: bytes) -> Images:
    return np.asarray(Image.open(io.BytesIO(data)))


def _decode_turbo(data: bytes) -> Images:
    return simplejpeg.decode_jpeg(data)


DECODERS: dict[str, Callable[[bytes], Images]] = {
    "PIL": _decode_pil,
    "libjpeg-turbo": _decode_turbo,
}


class Lance:
    """A Lance table with a row per frame, its JPEG in a column: a clip is one ``take`` of rows."""

    def __init__(self, path: Path, first: Sequence[int], decoder: str) -> None:
        self.path, self.first, self.decode = path, first, DECODERS[decoder]
        self.table: Any = None  # opened where it is read: it does not survive a fork

    def stored(self, rows: Sequence[int]) -> list[bytes]:
        """The values of the rows, in their order."""
        if self.table is None:
            self.table = optional("lance").dataset(str(self.path))
        return self.table.take(list(rows), columns=[COLUMN])[COLUMN].to_pylist()

    def __call__(self, video: int, frames: Sequence[int]) -> Images:
        """Take and decode."""
        first = self.first[video]
        return np.stack([self.decode(x) for x in self.stored([first + f for f in frames])])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "table": None}


def write_lance(store: ClipStore, path: Path) -> list[int]:
    """The stored frames of all videos as a table; returns each video's first row."""
    arrow, lance = optional("pyarrow"), optional("lance")
    schema = arrow.schema([(COLUMN, arrow.large_binary())])
    counts = [video.frames for video in store.videos]

    def batches() -> Any:
        for video in range(len(store)):
            yield arrow.record_batch([stored_frames(store, video)], schema=schema)

    lance.write_dataset(batches(), str(path), schema=schema)
    return [sum(counts[:video]) for video in range(len(store))]


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
