"""The built-in dataset's files: lists, layout, determinism, annotations."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videossl.data.builtin import labels, sprites, synthetic
from videossl.data.datasets import ucf101
from videossl.job import Job, UserError
from videossl.study.schema import SyntheticData

COUNTS = st.integers(6, 1000)


def small(**changes):
    values = {
        "seed": 3, "videos_per_class": 6, "frames": 12, "size": 32, "fps": 25, "flicker": 0.0,
        "scenes": "class",
    }  # fmt: skip
    return SyntheticData(format="synthetic", **(values | changes))


def make(out, data, threads=1):
    out.mkdir()
    modules = {"dataset": ucf101}
    job = Job("prepare", {"dataset": "synthetic"}, {}, out, out, threads, modules)
    synthetic.run(job, SimpleNamespace(data=data))
    return out


def digests(root):
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def pictures(video, data):
    """Frames (T, H, W, 3), opacity (T, H, W), boxes (T, 4) and centres (T, 2) of a video."""
    _, centre, chunks = synthetic.draw_video(video, data)
    return *(np.concatenate(parts) for parts in zip(*chunks, strict=True)), centre


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make(tmp_path_factory.mktemp("built") / "out", small())


# ------------------------------------------------------------------ lists


@given(COUNTS)
@settings(deadline=None, max_examples=25)
def test_every_split_tests_another_third_of_the_groups(count):
    videos = synthetic.list_videos(count)
    assert Counter(v.label for v in videos) == dict.fromkeys(range(12), count)
    assert len({v.name for v in videos}) == len(videos)
    assert max(v.clip for v in videos) <= 99
    tested = []
    for split in (1, 2, 3):
        train, test = synthetic.split_videos(videos, split)
        assert sorted(v.name for v in train + test) == sorted(v.name for v in videos)
        assert not {v.group for v in train} & {v.group for v in test}
        assert {v.label for v in train} == {v.label for v in test} == set(range(12))
        assert 0.25 <= len(test) / len(videos) <= 0.43
        tested += test
    assert sorted(v.name for v in tested) == sorted(v.name for v in videos)


@given(st.integers(6, 60), st.integers(0, 5), st.sampled_from(["class", "group"]))
@settings(deadline=None, max_examples=50)
def test_pairs_are_balanced_and_folds_share_no_video(count, seed, scenes):
    videos = synthetic.list_videos(count)
    pairs = synthetic.draw_pairs(videos, small(seed=seed, scenes=scenes))
    homes = {}
    for fold in range(10):
        mine = [p for p in pairs if p[0] == fold]
        assert sum(p[3] for p in mine) * 2 == len(mine)
        assert 6 <= len(mine) <= 2 * synthetic.PAIRS_PER_FOLD
        for _, a, b, same in mine:
            assert (a.label == b.label) == same
            assert a.group != b.group or (scenes == "class" and a.label != b.label)
            assert homes.setdefault(a, fold) == homes.setdefault(b, fold) == fold
    assert len({frozenset((a, b)) for _, a, b, _ in pairs}) == len(pairs)


# ------------------------------------------------------------------ files


def test_layout_is_ucf101s_own(built):
    lists = built / "ucfTrainTestlist"
    index = dict(line.split() for line in (lists / "classInd.txt").read_text().splitlines())
    assert [index[str(i)] for i in range(1, 13)] == sorted(sprites.MOTIONS)
    files = {str(p.relative_to(built / "UCF-101")) for p in built.rglob("*.mp4")}
    assert len(files) == 72
    for split in (1, 2, 3):
        train = [x.split() for x in (lists / f"trainlist0{split}.txt").read_text().splitlines()]
        test = (lists / f"testlist0{split}.txt").read_text().splitlines()
        assert {name for name, _ in train} | set(test) == files
        assert not {name for name, _ in train} & set(test)
        assert all(index[label] == name.split("/")[0] for name, label in train)
    assert all(f.split("/")[1].startswith(f"v_{f.split('/')[0]}_g0") for f in files)


def test_every_file_is_h264_and_decodes_to_what_was_drawn(built):
    data = small()
    for video in synthetic.list_videos(data.videos_per_class):
        with av.open(str(built / "UCF-101" / video.name)) as file:
            assert file.streams.video[0].codec_context.name == "h264"
            assert file.streams.video[0].average_rate == data.fps
            decoded = np.stack([f.to_ndarray(format="rgb24") for f in file.decode(video=0)])
        drawn = pictures(video, data)[0]
        assert decoded.shape == drawn.shape == (12, 32, 32, 3)
        # sensor noise is up to 5 grey levels, and colour is stored at half the resolution
        assert np.abs(decoded.astype(int) - drawn).mean() < 8
        assert np.corrcoef(decoded.mean(-1).ravel(), drawn.mean(-1).ravel())[0, 1] > 0.95


def test_bytes_depend_on_parameters_only(tmp_path, built):
    """Also in another process, with two workers, and with other garbage in fresh memory."""
    one = digests(make(tmp_path / "one", small(size=64, frames=16, flicker=0.2)))
    script = (
        "import sys; from pathlib import Path; from test_synthetic import make, small\n"
        "if __name__ == '__main__':\n"
        "    data = small(size=64, frames=16, flicker=0.2)\n"
        "    make(Path(sys.argv[1]), data, threads=2)"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "two")],
        check=True,
        env=os.environ | {"MALLOC_PERTURB_": "85", "PYTHONPATH": path},
    )
    assert digests(tmp_path / "two") == one
    seeded, other = digests(built), digests(make(tmp_path / "other", small(seed=4)))
    assert {n for n in seeded if seeded[n] == other[n]} == {
        n for n in seeded if n.startswith("ucfTrainTestlist/")
    }


def test_labels_say_what_was_drawn(built):
    known = json.loads((built / "annotations.json").read_text())
    classes = known[""]["classes"]
    for row in table(built / "annotations/appearance.csv"):
        labels = known[row["video"]]["labels"]
        assert classes["shape"][labels["shape"]] == row["shape"]
        assert classes["scene"][labels["scene"]] == row["background"]
    pairs = table(built / "annotations/pairs.csv")
    assert known[""]["pairs"] == [
        [row["video_a"], row["video_b"], int(row["same"]), int(row["fold"])] for row in pairs
    ]


def test_moments_are_about_what_was_drawn(built):
    known = json.loads((built / "annotations.json").read_text())
    classes = known[""]["classes"]
    boxes = {(r["video"], int(r["frame"])): r for r in table(built / "annotations/boxes.csv")}
    planes = Counter()
    for row in table(built / "annotations/appearance.csv"):
        own = known[row["video"]]
        (box,), (plane,), (gaze,) = own["boxes"], own["frames"], own["gaze"]
        assert (box["time"], plane[0], gaze[0]) == (6 / 25, 6, 6)
        edges = [int(boxes[row["video"], 6][edge]) for edge in ("x0", "y0", "x1", "y1")]
        assert box["box"] == pytest.approx([edge / 32 for edge in edges], abs=1e-6)
        named = {classes["boxes"][label] for label in box["actions"]}
        assert named == {row["video"].split("/")[0], row["shape"]}
        left, top, right, bottom = box["box"]
        assert left - 1 / 32 <= gaze[1] <= right + 1 / 32
        assert top - 1 / 32 <= gaze[2] <= bottom + 1 / 32
        plane = classes["plane"][plane[1]]
        cut = 0 in edges[:2] or 32 in edges[2:]
        assert (plane == "background") == cut
        if not cut:
            assert plane.split() == [
                "upper" if gaze[2] < 0.5 else "lower",
                "left" if gaze[1] < 0.5 else "right",
            ]
        planes[plane] += 1
    assert len(planes) == 5
    assert planes.most_common()[0][0] == "background"


@pytest.mark.parametrize(("frames", "moments"), [(12, [6]), (64, [10, 32, 53]), (25, [12])])
def test_there_is_about_a_moment_a_second(frames, moments):
    assert labels.moments(small(frames=frames)) == moments


def test_annotations_name_every_video_and_frame(built):
    names = [v.name for v in synthetic.list_videos(6)]
    looks = table(built / "annotations/appearance.csv")
    assert [row["video"] for row in looks] == names
    assert {row["shape"] for row in looks} == set(sprites.SHAPES)
    boxes = table(built / "annotations/boxes.csv")
    assert [(r["video"], int(r["frame"])) for r in boxes] == [
        (n, t) for n in names for t in range(12)
    ]
    pairs = table(built / "annotations/pairs.csv")
    assert {row["fold"] for row in pairs} == {str(i) for i in range(1, 11)}
    for row in pairs:
        alike = row["video_a"].split("/")[0] == row["video_b"].split("/")[0]
        assert row["same"] == str(int(alike))
    with np.load(built / "annotations/gaze.npz") as gaze:
        assert list(gaze["videos"]) == names
        x0, y0, x1, y1 = (
            np.array([int(r[k]) for r in boxes]).reshape(72, 12) for k in ("x0", "y0", "x1", "y1")
        )
        x, y = gaze["points"][..., 0], gaze["points"][..., 1]
        assert ((x0 - 1 <= x) & (x <= x1 + 1) & (y0 - 1 <= y) & (y <= y1 + 1)).all()
        assert 0 < float(gaze["sigma"]) < 32


def test_a_killed_process_is_one_line():
    with (
        pytest.raises(UserError, match="one of 2 processes that write videos was killed"),
        synthetic._mapper(2) as mapped,
    ):
        list(mapped(signal.raise_signal, [signal.SIGKILL] * 4))
