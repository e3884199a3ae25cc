"""Stage ``motion``: optical flow of stored videos, or its edges, in shards like theirs.

Frame ``t`` holds the motion from frame ``t - step`` to frame ``t``, in pixels of the stored frames;
the first ``step`` frames hold that of frame ``step``, the nearest that has a whole pair. Images are
gray, 8 bit:

- ``flow``: u above v, (2H, W); 128 is no motion, 1 and 255 are ``-bound`` and ``+bound`` pixels;
- ``edges``: (H, W), the Sobel gradient's length of the flow's length, 255 is ``bound`` and more
  (MoDist, Xiao et al., 2021, section 3.3, where flow is RAFT's and the bound is 10).

``motion_store.py`` reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from videossl.data.decoding import isolate
from videossl.data.motion.store import SCALE, ZERO, planes
from videossl.data.shards import builder, records
from videossl.data.shards.store import ClipStore
from videossl.job import Job, UserError
from videossl.study.schema import Motion

if TYPE_CHECKING:
    from videossl.study.reads import MotionParams

LIBRARIES = ("lmdb", "opencv-python-headless", "simplejpeg")
SECONDS_PER_FRAME = 1.0  # a deadline, some hundred times what a frame takes
Gray = NDArray[np.uint8]  # (H, W)
Flow = NDArray[np.float32]  # (H, W, 2): u to the right, v down, in pixels


def run(job: Job, params: MotionParams) -> None:
    """Write the motion of every stored video.

    Raises:
        UserError: a stored video cannot be read, or the disk is full.
    """
    options = params.motion
    store = ClipStore(job.input("shards"))
    deadlines = [120 + SECONDS_PER_FRAME * video.frames for video in store.videos]
    build = builder.Building(job.scratch / "shards", options.shard_megabytes << 20)
    done = build.resume([video.name for video in store.videos], lambda facts: True)
    numbers = range(done, len(store))
    results = isolate.ordered(
        partial(record_of, store, options),
        numbers,
        children=job.threads,
        deadline=deadlines.__getitem__,
    )
    progress = tqdm(results, desc="motion", total=len(numbers), unit="video", disable=None)
    for number, result in zip(numbers, progress, strict=True):
        video = store.videos[number]
        if isinstance(result, isolate.Failure):
            raise UserError(f"{store.path}: {video.name}: {result.reason}")
        height = video.height * planes(options)
        build.add(result, {"name": video.name, "height": height, "width": video.width})
    build.close()
    for portion in build.portions:
        for facts in portion.videos:
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
    builder.publish(job.out, build.portions, [], head)


def record_of(store: ClipStore, options: Motion, number: int, attempt: int) -> bytes:
    """The record of one video's motion; runs in a child process."""
    cv2.setNumThreads(1)  # children work in parallel, one video each
    video = store.videos[number]
    frames = store.clip(number, range(video.frames))
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    flow = estimator(options.algorithm)
    convert = edge_image if options.content == "edges" else flow_image
    encode = records.encoder(options.codec, options.quality, channels=1)
    images = [
        convert(flow(gray[t - options.step], gray[t]), options.bound)
        for t in range(options.step, len(gray))
    ]
    stored = [encode(image[..., None]) for image in images]
    stored = [stored[0]] * options.step + stored
    return records.pack(stored, options.codec, video.height * planes(options), video.width, 1)


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
