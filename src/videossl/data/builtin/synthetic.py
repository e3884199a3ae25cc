"""``prepare`` of the built-in dataset: it is written as real H.264 files in UCF101's own layout.

Under the stage's output::

    UCF-101/<Class>/v_<Class>_gXX_cYY.mp4     gXX: group; cYY: clip
    ucfTrainTestlist/classInd.txt             "1 Grow", classes from 1 in alphabetical order
    ucfTrainTestlist/trainlist0N.txt          "Grow/v_Grow_g01_c01.mp4 1", N = 1, 2, 3
    ucfTrainTestlist/testlist0N.txt           "Grow/v_Grow_g01_c01.mp4"
    annotations/appearance.csv                what each video shows besides its motion
    annotations/boxes.csv                     video,frame,x0,y0,x1,y1 in pixels, ends exclusive
    annotations/pairs.csv                     fold,video_a,video_b,same: 10 folds share no video
    annotations/gaze.npz                      ``videos`` (N,), ``points`` (N, T, 2), ``sigma`` ()
    index.json                                what ``decode`` reads of any dataset

A frame's gaze map is a Gaussian around its point (x, y in pixels: the sprite's centre), ``sigma``
pixels wide. Videos are named in every file as in the split lists, relative to ``UCF-101/``. As in
UCF101 a group is never on both sides of a split; each split tests another third of the groups.
Videos of one group share a scene, of one class or of all classes (``data.scenes``).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.video.reformatter import Interpolation
from tqdm import tqdm

from videossl.data.builtin import labels
from videossl.data.builtin.sprites import (
    MOTIONS,
    Appearance,
    Bytes,
    Floats,
    draw_appearance,
    draw_backdrop,
    flicker,
    render,
    trajectory,
)
from videossl.data.datasets import prepare
from videossl.job import Job, UserError
from videossl.study.schema import SyntheticData

CLASSES = tuple(sorted(MOTIONS))
SPLITS = 3
FOLDS = 10
PAIRS_PER_FOLD = 300  # at most, of each kind: as in ASLAN (Kliper-Gross et al., PAMI 2012)
VIDEO, SCENE, PAIRS, LIGHT = range(4)  # streams of random numbers
# Rounding that does not depend on the processor's vector instructions.
EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
# No B-frames and no lookahead: with both, x264 (core 165, AVX-512) reads memory that it did not
# write, and half of the files came out differently from run to run with one thread.
ENCODER = {
    "preset": "veryfast",
    "crf": "20",
    "g": "12",
    "threads": "1",
    "bf": "0",
    "rc-lookahead": "0",
    "mbtree": "0",
    "sc_threshold": "0",
}


class Params(Protocol):
    """What this stage reads."""

    @property
    def data(self) -> SyntheticData: ...  # noqa: D102


@dataclass(frozen=True)
class Video:
    """One video of the dataset: ``label`` counts classes from 0, ``group`` and ``clip`` from 1."""

    label: int
    group: int
    clip: int

    @property
    def name(self) -> str:
        """The video as the split lists name it."""
        motion = CLASSES[self.label]
        return f"{motion}/v_{motion}_g{self.group:02d}_c{self.clip:02d}.mp4"


@dataclass(frozen=True)
class Written:
    """What is known of a video once it is written."""

    look: Appearance
    boxes: Floats  # (T, 4)
    gaze: Floats  # (T, 2)


def run(job: Job, params: Params) -> None:
    """Write the dataset into ``job.out``; the bytes depend on ``params`` only."""
    videos = list_videos(params.data.videos_per_class)
    for name in CLASSES:
        (job.out / "UCF-101" / name).mkdir(parents=True)
    tasks = [(job.out / "UCF-101" / v.name, v, params.data) for v in videos]
    with _mapper(min(job.threads, len(tasks))) as mapped:
        bar = tqdm(mapped(_write_video, tasks), "prepare", len(tasks), unit="video", disable=None)
        written = list(bar)
    _write_splits(job.out / "ucfTrainTestlist", videos)
    drawn = draw_pairs(videos, params.data)
    pairs: list[labels.Pair] = [[a.name, b.name, int(same), fold + 1] for fold, a, b, same in drawn]
    _write_annotations(job.out / "annotations", videos, written, pairs, params)
    known = {video.name: one for video, one in zip(videos, written, strict=True)}
    index = labels.annotate(job.modules["dataset"].read(job.out), known, params.data, pairs)
    prepare.write(index, job.out, job.out)


@contextmanager
def _mapper(processes: int) -> Iterator[Any]:
    """An ordered map over ``processes`` processes.

    Raises:
        UserError: one of them was killed from outside.
    """
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        try:
            yield lambda function, items: pool.map(function, items, chunksize=4)
        except BrokenProcessPool:
            raise UserError(
                f"one of {processes} processes that write videos was killed; was memory short?"
            ) from None


# ------------------------------------------------------------------------------- the list


def list_videos(videos_per_class: int) -> list[Video]:
    """Every video, by class, group and clip; the number of groups is a multiple of the splits."""
    groups = SPLITS * min(max(round(videos_per_class / 9), 1), 8)
    return [
        Video(label, group + 1, clip + 1)
        for label in range(len(CLASSES))
        for group in range(groups)
        for clip in range(len(range(group, videos_per_class, groups)))
    ]


def is_test(video: Video, split: int, groups: int) -> bool:
    """Whether ``video`` is on the test side of ``split`` (1, 2, 3) when there are ``groups``."""
    return (video.group - 1) * SPLITS // groups == split - 1


def split_videos(videos: Sequence[Video], split: int) -> tuple[list[Video], list[Video]]:
    """Train and test videos of ``split`` (1, 2, 3)."""
    groups = max(v.group for v in videos)
    train = [v for v in videos if not is_test(v, split, groups)]
    test = [v for v in videos if is_test(v, split, groups)]
    return train, test


def draw_pairs(
    videos: Sequence[Video], data: SyntheticData
) -> list[tuple[int, Video, Video, bool]]:
    """Same/not-same pairs ``(fold, a, b, same)``, as many of each kind in each fold.

    Folds share no video. Videos of one scene are never paired: it would tell "same" (one class) or
    "not same" (another class of the group) without a look at the motion.
    """
    rng = np.random.default_rng([data.seed, PAIRS])
    pairs = []
    for fold, members in enumerate(_folds(videos)):
        every = [
            (a, b)
            for i, a in enumerate(members)
            for b in members[i + 1 :]
            if scene_of(a, data) != scene_of(b, data)
        ]
        same = [(a, b) for a, b in every if a.label == b.label]
        other = [(a, b) for a, b in every if a.label != b.label]
        count = min(len(same), len(other), PAIRS_PER_FOLD)
        for kind, truth in ((same, True), (other, False)):
            chosen = sorted(rng.choice(len(kind), count, replace=False))
            pairs += [(fold, *kind[i], truth) for i in chosen]
    return pairs


def _folds(videos: Sequence[Video]) -> list[list[Video]]:
    """Deal the videos to folds, couple by couple of one class, so that each fold has both kinds."""
    classes = [[v for v in videos if v.label == label] for label in range(len(CLASSES))]
    folds: list[list[Video]] = [[] for _ in range(FOLDS)]
    dealt = 0
    for i in range(len(classes[0]) // 2):
        for j in range(len(CLASSES)):
            # The couple's partner is half the class away: in another group. The class that comes
            # first moves on with i, as a fold would else see every second class only.
            members = classes[(j + 3 * i) % len(CLASSES)]
            half = len(members) // 2
            folds[dealt % FOLDS] += [members[i], members[i + half]]
            dealt += 1
    return folds


# ------------------------------------------------------------------------------- one video


def scene_of(video: Video, data: SyntheticData) -> list[int]:
    """The numbers that a video's scene is drawn from: videos with equal ones share it."""
    return [video.group] if data.scenes == "group" else [video.label, video.group]


def draw_video(
    video: Video, data: SyntheticData
) -> tuple[Appearance, Floats, Iterable[tuple[Bytes, Floats, Floats]]]:
    """A video's appearance, the sprite's centre in pixels (T, 2), and its chunks of frames."""
    scene = np.random.default_rng([data.seed, SCENE, *scene_of(video, data)])
    rng = np.random.default_rng([data.seed, VIDEO, video.label, video.group, video.clip])
    look = draw_appearance(rng, draw_backdrop(scene))
    path = trajectory(MOTIONS[CLASSES[video.label]], look, data.frames, rng)
    centre = np.stack([path.x, path.y], axis=1) * np.float32(data.size)
    light = np.random.default_rng([data.seed, LIGHT, video.label, video.group, video.clip])
    levels = flicker(data.frames, data.flicker, light)
    return look, centre, render(look, path, levels, data.size, rng)


def _write_video(task: tuple[Path, Video, SyntheticData]) -> Written:
    path, video, data = task
    look, centre, chunks = draw_video(video, data)
    boxes = []
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream("libx264", rate=data.fps, options=ENCODER)
        stream.width = stream.height = data.size
        stream.pix_fmt = "yuv420p"
        for frames, _, around in chunks:
            boxes.append(around)
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                file.mux(
                    stream.encode(frame.reformat(format="yuv420p", interpolation=EXACT, threads=1))
                )
        file.mux(stream.encode())
    return Written(look, np.concatenate(boxes), centre)


# ------------------------------------------------------------------------------- the lists' files


def _write_splits(folder: Path, videos: Sequence[Video]) -> None:
    folder.mkdir()
    _write_lines(folder / "classInd.txt", (f"{i} {name}" for i, name in enumerate(CLASSES, 1)))
    for split in range(1, SPLITS + 1):
        train, test = split_videos(videos, split)
        labelled = (f"{v.name} {v.label + 1}" for v in train)
        _write_lines(folder / f"trainlist{split:02d}.txt", labelled)
        _write_lines(folder / f"testlist{split:02d}.txt", (v.name for v in test))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_annotations(
    folder: Path,
    videos: Sequence[Video],
    written: Sequence[Written],
    pairs: Sequence[labels.Pair],
    params: Params,
) -> None:
    folder.mkdir()
    rows = [_describe(v, w.look) for v, w in zip(videos, written, strict=True)]
    _write_table(folder / "appearance.csv", list(rows[0]), (r.values() for r in rows))
    boxes = (
        (v.name, t, *(int(edge) for edge in box))
        for v, w in zip(videos, written, strict=True)
        for t, box in enumerate(w.boxes)
    )
    _write_table(folder / "boxes.csv", ["video", "frame", "x0", "y0", "x1", "y1"], boxes)
    rows_of_pairs = ((fold, a, b, same) for a, b, same, fold in pairs)
    _write_table(folder / "pairs.csv", ["fold", "video_a", "video_b", "same"], rows_of_pairs)
    np.savez_compressed(
        folder / "gaze.npz",
        videos=np.array([v.name for v in videos]),
        points=np.stack([w.gaze for w in written]),
        sigma=np.float32(labels.SIGMA * params.data.size),
    )


def _describe(video: Video, look: Appearance) -> dict[str, str]:
    """A row of ``appearance.csv``: lengths as shares of the frame's side, angles in turns."""
    texts = {
        "video": video.name,
        "shape": look.shape,
        "texture": look.texture,
        "colour": look.color,
        "background": look.backdrop.pattern,
    }
    names = ("speed", "x", "y", "angle", "level", "phase", "jitter", "noise")
    return texts | {name: f"{getattr(look, name):.5f}" for name in names}


def _write_table(path: Path, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
