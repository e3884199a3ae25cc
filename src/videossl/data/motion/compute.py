"""Stage ``motion``: optical flow of stored videos, or its edges, in shards like theirs.

Frame ``t`` holds the motion from frame ``t - step`` to frame ``t``, in pixels of the stored frames;
the first ``step`` frames hold that of frame ``step``, the nearest that has a whole pair. Images are
gray, 8 bit:

- ``flow``: u above v, (2H, W); 128 is no motion, 1 and 255 are ``-bound`` and ``+bound`` pixels;
- ``edges``: (H, W), the Sobel gradient's length of the flow's length, 255 is ``bound`` and more
  (MoDist, Xiao et al., 2021, section 3.3, where flow is RAFT's and the bound is 10).

``store.py`` reads it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from videossl.data.decoding import isolate
from videossl.data.motion.store import SCALE, ZERO, planes
from videossl.data.shards import builder, recording, records
from videossl.data.shards.recording import Record, Recording
from videossl.data.shards.store import ClipStore
from videossl.job import Job, UserError
from videossl.study.schema import Motion

if TYPE_CHECKING:
    from videossl.study.reads import MotionParams

LIBRARIES = ("lmdb", "opencv-python-headless", "simplejpeg")
DEADLINE = 120.0  # seconds of CPU time for one frame, some thousand times what it takes
CHUNK_BYTES = 32 << 20  # of frames that are read at once
Gray = NDArray[np.uint8]  # (H, W)
Flow = NDArray[np.float32]  # (H, W, 2): u to the right, v down, in pixels


def run(job: Job, params: MotionParams) -> None:
    """Write the motion of every stored video; one whose motion cannot be computed is a reject.

    Raises:
        UserError: a stored video is damaged, none has motion, or the disk is full.
    """
    options = params.motion
    store = ClipStore(job.input("shards"))
    build = builder.ShardBuilder(job.scratch / "shards", options.shard_megabytes << 20)
    done = build.resume([video.name for video in store.videos], lambda facts: True)
    numbers = range(done, len(store))
    large = job.scratch / recording.FOLDER
    recording.clear(large)  # what a killed process left
    results = isolate.ordered(
        partial(record_of, store, options, large),
        numbers,
        children=job.threads,
        deadline=lambda number: DEADLINE,
    )
    progress = tqdm(results, desc="motion", total=len(numbers), unit="video", disable=None)
    for number, result in zip(numbers, progress, strict=True):
        video = store.videos[number]
        if isinstance(result, isolate.Failure):
            build.reject(video.name, result.reason)
        else:
            height = video.height * planes(options)
            build.add(result, {"name": video.name, "height": height, "width": video.width})
    late = build.close()
    rejects = [*late, *(reject for shard in build.finished for reject in shard.rejects)]
    if not build.finished:
        first = "".join(f"; first: {one['name']}: {one['reason']}" for one in rejects[:1])
        raise UserError(f"{store.path}: no motion of any of {len(store)} videos{first}")
    for shard in build.finished:
        for facts in shard.videos:
            source = store.videos[store.number(facts["name"])]
            facts.update(
                label=source.label, splits=source.splits, frames=source.frames, fps=source.fps
            )
    head = {
        "dataset": params.motion.data,
        "motion": options.model_dump(),
        "codec": options.codec,
        "channels": 1,
        "classes": store.classes,
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    builder.publish(job.out, build.finished, late, head)
    if rejects:
        print(f"{len(rejects)} of {len(store)} videos have no motion", file=sys.stderr)


def record_of(store: ClipStore, options: Motion, folder: Path, number: int, attempt: int) -> Record:
    """The record of one video's motion, in ``folder`` if it is large; runs in a child process.

    Raises:
        isolate.Refused: it has no pair of frames, or its motion is too large for a record.
        CorruptShard: the stored video is damaged.
        UserError: the disk is full.
    """
    cv2.setNumThreads(1)  # children work in parallel, one video each
    video = store.videos[number]
    if video.frames <= options.step:
        raise isolate.Refused(f"{video.frames} frames; motion.step is {options.step}")
    flow = estimator(options.algorithm)
    convert = edge_image if options.content == "edges" else flow_image
    encode = records.encoder(options.codec, options.quality, channels=1)
    before: deque[Gray] = deque(maxlen=options.step)  # the frames that later ones are compared to
    with Recording(folder) as recorded:
        stored: list[int] = []
        for gray in grays(store, number):
            if len(before) == options.step:
                image = encode(convert(flow(before[0], gray), options.bound)[..., None])
                stored.append(recorded.add(image))
                isolate.progress()
            before.append(gray)
        stored = [stored[0]] * options.step + stored
        try:
            height = video.height * planes(options)
            return recorded.record(stored, options.codec, height, video.width, 1)
        except records.TooLarge as error:
            raise isolate.Refused(str(error)) from None


def grays(store: ClipStore, number: int) -> Iterator[Gray]:
    """All frames of a video in gray, of which few are in memory: an hour of video is many GiB."""
    video = store.videos[number]
    chunk = max(1, CHUNK_BYTES // (3 * video.height * video.width))
    for start in range(0, video.frames, chunk):
        for frame in store.clip(number, range(start, min(start + chunk, video.frames))):
            yield cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def estimator(algorithm: str) -> Callable[[Gray, Gray], Flow]:
    """Dense optical flow from one gray frame to another.

    DIS (Kroeger et al., ECCV 2016) at its medium preset, or Farneback (SCIA 2003).
    """
    if algorithm == "dis":
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        calc: Any = dis.calc  # OpenCV's types do not know that None allocates
        return lambda first, second: np.asarray(calc(first, second, None), np.float32)
    return _farneback


def _farneback(first: Gray, second: Gray) -> Flow:
    calc: Any = cv2.calcOpticalFlowFarneback
    flow = calc(
        first,
        second,
        None,
        0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )
    return np.asarray(flow, np.float32)


def flow_image(flow: Flow, bound: float) -> Gray:
    """u above v in 8 bit, (2H, W)."""
    stacked = np.concatenate((flow[..., 0], flow[..., 1]))
    image: Gray = np.rint(ZERO + SCALE * np.clip(stacked / bound, -1, 1)).astype(np.uint8)
    return image


def edge_image(flow: Flow, bound: float) -> Gray:
    """Where motion changes in space, in 8 bit, (H, W)."""
    length = np.linalg.norm(flow, axis=2)
    down, right = cv2.Sobel(length, cv2.CV_32F, 0, 1), cv2.Sobel(length, cv2.CV_32F, 1, 0)
    image: Gray = np.rint(255 * np.clip(np.hypot(down, right) / bound, 0, 1)).astype(np.uint8)
    return image
