"""The built-in dataset: layout, determinism, and that only motion tells its classes apart."""

import csv
import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, kstest
from sklearn.linear_model import LogisticRegression
from torch import nn

from videossl.data import sprites, synthetic
from videossl.job import Job
from videossl.schema import SyntheticData

COUNTS = st.integers(6, 1000)


def small(**changes):
    values = {"seed": 3, "videos_per_class": 6, "frames": 12, "size": 32, "fps": 25}
    return SyntheticData(format="synthetic", **(values | changes))


def make(out, data, threads=1):
    out.mkdir()
    job = Job("prepare", {"dataset": "synthetic"}, {}, out, out, threads, {})
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


@given(st.integers(6, 60), st.integers(0, 5))
@settings(deadline=None, max_examples=25)
def test_pairs_are_balanced_and_folds_share_no_video(count, seed):
    videos = synthetic.list_videos(count)
    pairs = synthetic.draw_pairs(videos, seed)
    homes = {}
    for fold in range(10):
        mine = [p for p in pairs if p[0] == fold]
        assert sum(p[3] for p in mine) * 2 == len(mine)
        assert 6 <= len(mine) <= 2 * synthetic.PAIRS_PER_FOLD
        for _, a, b, same in mine:
            assert (a.label == b.label) == same
            assert (a.label, a.group) != (b.label, b.group)
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


def test_bytes_depend_on_parameters_only(tmp_path):
    """Also in another process, with two workers, and with other garbage in fresh memory."""
    data = small(size=64, frames=24)
    one = digests(make(tmp_path / "one", data))
    script = (
        "import sys; from pathlib import Path; from test_synthetic import make, small\n"
        "if __name__ == '__main__': make(Path(sys.argv[1]), small(size=64, frames=24), threads=2)"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "two")],
        check=True,
        env=os.environ | {"MALLOC_PERTURB_": "85", "PYTHONPATH": path},
    )
    assert digests(tmp_path / "two") == one
    other = digests(make(tmp_path / "other", small(size=64, frames=24, seed=4)))
    assert {n for n in one if one[n] == other[n]} == {
        n for n in one if n.startswith("ucfTrainTestlist/")
    }


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


@pytest.mark.parametrize("size", [32, 90])
def test_boxes_hold_the_sprite_and_no_more(size):
    data = small(size=size, frames=8)
    inside = 0
    for video in synthetic.list_videos(data.videos_per_class):
        _, opacity, boxes, centre = pictures(video, data)
        grid = np.arange(size) + 0.5
        for solid, (x0, y0, x1, y1), (x, y) in zip(opacity > 0.5, boxes, centre, strict=True):
            rows, columns = np.nonzero(solid)
            near = (abs(grid[columns] - x) <= size / 2) & (abs(grid[rows] - y) <= size / 2)
            rows, columns = rows[near], columns[near]
            assert (columns.min(), columns.max() + 1) == (x0, x1)
            assert (rows.min(), rows.max() + 1) == (y0, y1)
            inside += bool(near.all())
    assert inside > 100  # else the part that came around the torus was all that was tested


# ------------------------------------------------------------------ motion


def still(**changes):
    """An appearance in the frame's middle, without jitter or noise."""
    scene = sprites.Backdrop("plain", (20, 20, 20), (40, 40, 40), 0.0, 2.0, (0.0, 0.0))
    values = {
        "shape": "disc", "texture": "halves", "color": "white", "backdrop": scene, "speed": 0.5,
        "x": 0.5, "y": 0.5, "angle": 0.1, "level": 0.3, "phase": 0.2, "jitter": 0.0, "noise": 0.0,
    }  # fmt: skip
    return sprites.Appearance(**(values | changes))


def track(name, look):
    """Of 8 frames: the opacity's centroid, the bright half's centroid seen from it, and area."""
    path = sprites.trajectory(sprites.MOTIONS[name], look, 8, np.random.default_rng(0))
    (frames, opacity, _), *_ = sprites.render(look, path, 64, np.random.default_rng(0))
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1)  # x, y
    area = opacity.sum((1, 2))
    centre = (opacity[..., None] * grid).sum((1, 2)) / area[:, None]
    bright = (frames[..., 0] > 150).astype(float)
    half = (bright[..., None] * grid).sum((1, 2)) / bright.sum((1, 2))[:, None]
    return centre, half - centre, area


def turning(steps):
    """Signs of the turn from one step to the next: positive is clockwise on the screen."""
    (x, y), (next_x, next_y) = steps[:-1].T, steps[1:].T
    return np.sign(x * next_y - y * next_x)


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [("MoveLeft", 0, -1), ("MoveRight", 0, 1), ("MoveUp", 1, -1), ("MoveDown", 1, 1)],
)
def test_translations_go_where_they_say(name, axis, sign):
    steps = np.diff(track(name, still())[0], axis=0)
    assert (sign * steps[:, axis] > 0.9).all()
    assert np.allclose(steps[:, 1 - axis], 0, atol=1e-3)


@pytest.mark.parametrize(("name", "sign"), [("Clockwise", 1), ("Counterclockwise", -1)])
def test_spins_and_orbits_turn_as_they_say(name, sign):
    centre, half, _ = track(f"Spin{name}", still())
    assert np.allclose(centre, centre[0], atol=0.1)
    assert (turning(half) == sign).all()
    centre, half, _ = track(f"Orbit{name}", still())
    assert (turning(np.diff(centre, axis=0)) == sign).all()
    assert np.allclose(half, half[0], atol=0.3)


@pytest.mark.parametrize(("name", "sign"), [("Grow", 1), ("Shrink", -1)])
def test_size_follows_its_cycle(name, sign):
    _, _, area = track(name, still(level=0.0 if sign > 0 else 0.99))
    assert (sign * np.diff(area) > 0).all()


@pytest.mark.parametrize(("name", "axis"), [("ShakeHorizontal", 0), ("ShakeVertical", 1)])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.75])
@pytest.mark.parametrize("speed", [0.0, 1.0])
def test_shakes_turn_back_within_a_clip(name, axis, phase, speed):
    look = still(phase=phase, speed=speed)
    path = sprites.trajectory(sprites.MOTIONS[name], look, 15, np.random.default_rng(0))
    moving, resting = (path.x, path.y) if axis == 0 else (path.y, path.x)
    assert len({*np.sign(np.diff(moving))} - {0}) == 2
    assert np.ptp(resting) == 0


def test_no_motion_aliases_at_stride_four_played_twice_as_fast():
    half_cycle = 0.5
    for limits in (sprites.TRAVEL, sprites.SPIN, sprites.ORBIT, sprites.RESIZE):
        assert 8 * limits[1] < half_cycle


# ------------------------------------------------------------------ appearance


def test_appearance_does_not_depend_on_motion():
    data = small(videos_per_class=200)
    videos = synthetic.list_videos(data.videos_per_class)
    looks = [synthetic.draw_video(v, data)[0] for v in videos]
    labels = [v.label for v in videos]
    for name, values in (
        ("shape", sprites.SHAPES),
        ("texture", sprites.TEXTURES),
        ("color", sprites.COLORS),
    ):
        counts = np.zeros((12, len(values)))
        for label, look in zip(labels, looks, strict=True):
            counts[label, list(values).index(getattr(look, name))] += 1
        assert chi2_contingency(counts).pvalue > 1e-3, name
    speeds = np.array([look.speed for look in looks]).reshape(12, 200)
    assert all(kstest(row, "uniform").pvalue > 1e-3 for row in speeds)


@pytest.mark.parametrize("frame", [0, 17, 47])
def test_a_single_frame_has_one_distribution_in_every_class(frame):
    rng = np.random.default_rng(frame)
    scene = sprites.draw_backdrop(rng)
    low, high = np.log(sprites.RADIUS)
    for name, motion in sprites.MOTIONS.items():
        paths = [
            sprites.trajectory(motion, sprites.draw_appearance(rng, scene), frame + 1, rng)
            for _ in range(300)
        ]
        state = {
            "x": [p.x[-1] for p in paths],
            "y": [p.y[-1] for p in paths],
            "angle": [p.angle[-1] for p in paths],
            "level": [(np.log(p.radius[-1]) - low) / (high - low) for p in paths],
        }
        for key, values in state.items():
            assert kstest(values, "uniform").pvalue > 1e-4, (name, key)


def test_single_frames_do_not_show_the_class():
    """Logistic regression on held-out pixels: chance for motion, far above it for position."""
    data = small(videos_per_class=45, frames=8)
    videos = synthetic.list_videos(data.videos_per_class)
    train, test = (
        [(v, *_thumbnail(v, data)) for v in part] for part in synthetic.split_videos(videos, 1)
    )
    pixels, held_out = (np.stack([p for _, p, _ in part]) for part in (train, test))

    def accuracy(label):
        model = LogisticRegression(C=1e-3, max_iter=2000)
        model.fit(pixels, [label(v, look) for v, _, look in train])
        return model.score(held_out, [label(v, look) for v, _, look in test])

    assert accuracy(lambda video, look: video.label) < 2 / 12
    assert accuracy(lambda video, look: look.x > 0.5) > 0.7  # where the sprite was 4 frames ago


def _thumbnail(video, data):
    """The fifth frame at half size, standardised and flat; and the video's appearance."""
    look, _, chunks = synthetic.draw_video(video, data)
    frame = next(iter(chunks))[0][4].astype(np.float64)
    size = data.size // 2
    return (frame.reshape(size, 2, size, 2, 3).mean((1, 3)).ravel() - 60) / 60, look


# ------------------------------------------------------------------ learnable


class Block(nn.Module):
    """Two 3x3x3 convolutions around a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.Conv3d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm3d(outputs)
        )
        self.shortcut = nn.Sequential(
            nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs)
        )

    def forward(self, x):
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


def small_network(width=16):
    """A 3D residual network of 0.23 M parameters for grey clips."""
    return nn.Sequential(
        nn.Conv3d(1, width, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(),
        Block(width, width, 1),
        Block(width, 2 * width, (1, 2, 2)),
        Block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4 * width, len(synthetic.CLASSES)),
    ).to(memory_format=torch.channels_last_3d)


def grey(videos, data):
    """Grey frames (N, T, H, W) as float32 around 0, and labels (N,)."""
    frames = [pictures(v, data)[0].mean(-1, dtype=np.float32) / 60 - 1 for v in videos]
    return torch.from_numpy(np.stack(frames)), torch.tensor([v.label for v in videos])


def clip(frames, start, top, left):
    """8 frames at stride 2, cropped to 56x56: (1, 8, 56, 56)."""
    return frames[None, start : start + 15 : 2, top : top + 56, left : left + 56]


@pytest.mark.slow
def test_a_small_network_learns_the_classes_from_all_labels():
    """Held-out videos of split 1, mean over single clips: at least 90 %."""
    data = small(seed=0, videos_per_class=45, frames=48, size=64)
    train, test = synthetic.split_videos(synthetic.list_videos(data.videos_per_class), 1)
    (frames, labels), (held_out, truth) = grey(train, data), grey(test, data)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network, epochs, batch = small_network(), 36, 24
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 4e-3, total_steps=epochs * (len(train) // batch), pct_start=0.2
    )
    for _ in range(epochs):
        for chosen in rng.permutation(len(train)).reshape(-1, batch):
            places = rng.integers((34, 9, 9), size=(batch, 3))
            clips = torch.stack([clip(frames[i], *p) for i, p in zip(chosen, places, strict=True)])
            contrast = torch.from_numpy(rng.uniform(0.5, 1.5, (batch, 1, 1, 1, 1))).float()
            loss = nn.functional.cross_entropy(network(clips * contrast), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        scores = [
            network(torch.stack([clip(f, start, 4, 4) for f in held_out])) for start in (0, 16, 33)
        ]
    accuracy = np.mean([(s.argmax(1) == truth).double().mean() for s in scores])
    print("ACC", accuracy); assert accuracy > 0.9
