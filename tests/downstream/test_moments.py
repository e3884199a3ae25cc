"""Kinds of labels about a moment: which stored frame an example is about, and its target."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from videossl.data.shards.store import Video
from videossl.downstream import examples
from videossl.downstream.choice import choose_grouped
from videossl.downstream.examples import Examples, Source
from videossl.downstream.kinds import boxes, frame_class, gaze_points, moments

BOX, OTHER, THIRD = [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]


def video(
    name: str, part: str = "train", frames: int = 40, fps: float = 10.0, source: float = 0.0
) -> Video:
    return Video(name, -1, {"1": part}, frames, 20, 40, fps, source)


def source(videos: list[Video], annotations: dict[str, Any], labels: str) -> Source:
    own = {"classes": {labels: ["x", "y", "z"]}}
    annotations = {**annotations, "": {**annotations.get("", {}), **own}}
    return Source(SimpleNamespace(videos=videos, classes=["other"]), annotations, labels)


def box(time: float, place: list[float], *actions: int) -> dict[str, Any]:
    return {"time": time, "box": place, "actions": list(actions), "person": 1}


def detection(time: float, place: list[float], score: float) -> dict[str, Any]:
    return {"time": time, "box": place, "actions": [], "score": score}


@pytest.mark.parametrize(
    ("frame", "fps", "rate", "stored"),
    [
        (39, 10.0, 0.0, 39),  # nobody knows the file's rate
        (40, 10.0, 10.0, None),  # too short
        (7, 10.0, 25.0, 3),  # at 0.28 s; 0.3 is nearer than 0.2
        (6, 10.0, 25.0, 2),  # at 0.24 s
        (5, 20.0, 10.0, 10),
        (98, 10.0, 25.0, 39),  # at 3.92 s
        (99, 10.0, 25.0, 39),  # at 3.96 s, and nothing is stored at 4 s
        (100, 10.0, 25.0, None),  # at 4 s
        (3, 0.1 + 0.2, 0.3, 3),  # rates that are equal but for rounding
    ],
)
def test_frames_of_the_file_are_found_in_the_store(
    frame: int, fps: float, rate: float, stored: int | None
) -> None:
    assert moments.at_frame(video("a", fps=fps, source=rate), frame) == stored


def test_seconds_are_found_in_the_store() -> None:
    one = video("a", fps=29.97, frames=120)
    assert [moments.at_second(one, time) for time in (0, 1, 2, 3.99, 4, 5)] == [
        *(0, 30, 60, 119),  # 3.99 s is frame 119.58, and 119 is the last
        *(119, None),  # 4 s is 119.88
    ]
    assert moments.at_second(video("a", fps=0.0), 0) is None


def read_back(found: Examples, folder: Path) -> Examples:
    examples.write(found, {}, folder)
    return examples.read(folder)


def same(a: Examples, b: Examples) -> bool:
    assert a.frames is not None
    assert b.frames is not None
    assert np.array_equal(a.frames, b.frames)
    assert np.array_equal(a.targets, b.targets)
    return (a.videos, a.classes, a.parts, a.facts) == (b.videos, b.classes, b.parts, b.facts)


def test_boxes_of_training_and_of_testing(tmp_path: Path) -> None:
    own = {
        "boxes": [box(1, BOX, 0, 2), box(1, OTHER, 1), box(2, BOX, 1), box(9, BOX, 1)],
        "excluded": [2],
        "detections": [detection(1, OTHER, 0.9), detection(2, BOX, 0.8), detection(3, THIRD, 0.4)],
    }
    annotations = {"a": own, "b": own, "c": {"frames": []}, "": {"evaluated": [0, 2]}}
    videos = [video("b", "test"), video("c"), video("a")]
    found = boxes.examples(source(videos, annotations, "boxes"))
    assert found.videos == ["b", "b", "a"]
    assert found.frames is not None
    assert found.frames.tolist() == [10, 30, 10]
    true = {"boxes": [BOX, OTHER], "classes": [[0, 2], [1]]}
    assert found.targets == [
        {**true, "detections": [OTHER], "scores": [0.9]},
        {"boxes": [], "classes": [], "detections": [THIRD], "scores": [0.4]},
        true,  # only testing asks for a detector's boxes
    ]
    assert found.parts == {"1": ["test", "test", "train"]}
    assert found.facts == {"evaluated": [0, 2], "detector": True}
    assert same(read_back(found, tmp_path), found)
    assert "x; y; z" in (tmp_path / "examples.csv").read_text()


def test_nothing_is_learnt_from_a_moment_without_a_true_box() -> None:
    own = {
        "boxes": [box(1, BOX, 0)],
        "excluded": [],
        "detections": [detection(1, BOX, 0.9), detection(2, BOX, 0.9)],
    }
    both = Video("a", -1, {"1": "train", "2": "test"}, 40, 20, 40, 10.0)
    found = boxes.examples(source([both], {"a": own}, "boxes"))
    assert found.parts == {"1": ["train", ""], "2": ["test", "test"]}
    assert found.facts["evaluated"] == [0, 1, 2]


def test_a_dataset_without_a_detector() -> None:
    own = {"boxes": [box(0.5, BOX, 0)], "excluded": [], "detections": []}
    found = boxes.examples(source([video("a", "test")], {"a": own}, "boxes"))
    assert found.facts["detector"] is False
    assert "detections" not in found.targets[0]
    assert found.frames is not None
    assert found.frames.tolist() == [5]


def test_classes_of_frames(tmp_path: Path) -> None:
    annotations = {"a": {"frames": [[0, 2], [39, 1], [40, 0]]}, "b": {"frames": []}}
    found = frame_class.examples(source([video("a"), video("b")], annotations, "plane"))
    assert found.videos == ["a", "a"]
    assert found.targets.tolist() == [2, 1]
    assert found.classes == ["x", "y", "z"]
    assert same(read_back(found, tmp_path), found)


def test_points_of_a_stored_frame_belong_together(tmp_path: Path) -> None:
    gaze = [[0, 0.1, 0.2], [0, 0.3, 0.4], [5, 0.5, 0.5], [6, 0.6, 0.6], [900, 0.1, 0.1]]
    half = video("a", fps=5.0, source=10.0)
    found = gaze_points.examples(source([half, video("b")], {"a": {"gaze": gaze}}, "gaze"))
    assert found.videos == ["a", "a"]  # a frame that nobody looked at is none
    assert found.frames is not None
    assert found.frames.tolist() == [0, 3]
    assert found.targets == [
        {"points": [[0.1, 0.2], [0.3, 0.4]], "sigma": [0.034, 0.068]},  # twice as wide as high
        {"points": [[0.5, 0.5], [0.6, 0.6]], "sigma": [0.034, 0.068]},
    ]
    assert same(read_back(found, tmp_path), found)
    own = {"a": {"gaze": gaze}, "": {"sigma": 0.1}}
    assert gaze_points.examples(source([half], own, "gaze")).targets[0]["sigma"] == [0.1, 0.2]


def test_moments_beyond_the_end_of_their_video_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    short = video("a", "test")  # 4 s
    own = {
        "boxes": [box(1, BOX, 0), box(902, BOX, 0), box(903, BOX, 0), box(903, OTHER, 0)],
        "excluded": [905],
        "detections": [detection(903, BOX, 0.9), detection(904, BOX, 0.9)],
        "frames": [[39, 1], [40, 0]],
        "gaze": [[39, 0.1, 0.1], [40, 0.1, 0.1], [41, 0.1, 0.1], [41, 0.2, 0.1]],
    }
    where = ((boxes, "boxes", "3 of 4"), (frame_class, "x", "1 of 2"), (gaze_points, "", "3 of 4"))
    for kind, labels, lost in where:
        assert len(kind.examples(source([short], {"a": own}, labels)).videos) == 1
        said = f"{lost} annotated moments are left out: their video ends before"
        assert capsys.readouterr().out.startswith(said)
    gaze_points.examples(source([short], {"a": {"gaze": own["gaze"][:1]}}, ""))
    assert not capsys.readouterr().out


def test_moments_are_counted_before_anything_is_stored() -> None:
    own = {
        "boxes": [box(1, BOX, 0), box(1, OTHER, 0), box(2, BOX, 0)],
        "excluded": [2],
        "frames": [[0, 1], [3, 1]],
        "gaze": [[3, 0.1, 0.1], [3, 0.2, 0.2]],
    }
    assert moments.counts(own) == {"boxes": 1, "frame_class": 2, "gaze": 1}
    assert moments.counts({"actions": []}) == {}


def test_moments_of_one_video_are_on_one_side() -> None:
    names = ["a", "a", "b", "b", "c", "d", "d"]
    train, kept = choose_grouped(names, 1.0, 0.25, 0)
    assert sorted(train + kept) == list(range(7))
    assert not {names[n] for n in train} & {names[n] for n in kept}
