"""Several classes of a video: targets of clips, the metric against a plain loop, the best view."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videossl.data.shards.store import Video
from videossl.downstream import average_precision, examples
from videossl.downstream.examples import Examples, Source
from videossl.downstream.kinds import several_classes
from videossl.downstream.objectives import multi_label
from videossl.job import UserError
from videossl.study import schema

VIEWS = schema.Views(clips=2, crops=1, batch_size=4)
TARGETS = [
    {"classes": [2, 0], "frames": [[0, 9], [20, 30]]},
    {"classes": [], "frames": []},
    {"classes": [1], "frames": [[5, 5]]},
]
FOUND = Examples(["a", "b", "c"], TARGETS, ["x", "y", "z"], {"1": ["train", "test", "test"]})


def batch(numbers: list[int], reach: list[tuple[float, float]]) -> SimpleNamespace:
    return SimpleNamespace(example=torch.tensor(numbers), labels=torch.tensor(reach))


def test_a_clip_has_the_classes_whose_time_meets_it():
    objective = multi_label.build(FOUND)
    rows = batch([0, 0, 0, 1, 2, 2], [(0, 8), (9, 20), (10, 19), (0, 9), (5, 6), (6, 9)])
    assert objective.target(rows).tolist() == [
        *([0, 0, 1], [1, 0, 1], [0, 0, 0]),
        *([0, 0, 0], [0, 1, 0], [0, 0, 0]),
    ]


def average_precision_of(labels: list[bool], scores: list[float]) -> float:
    """Mean of the precision at every true video; scores differ."""
    order = sorted(range(len(scores)), key=lambda n: -scores[n])
    hits = [labels[n] for n in order]
    return float(np.mean([np.mean(hits[: k + 1]) for k in range(len(hits)) if hits[k]]))


@given(st.integers(0, 10_000))
def test_mean_average_precision_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    labels = rng.random((12, 4)) < 0.3
    scores = rng.permutation(48).reshape(12, 4) / 48
    ranked = np.where(labels.any(axis=1)[:, None], scores, scores - 2)  # no class: last
    each = [
        average_precision_of(labels[:, c].tolist(), ranked[:, c].tolist())
        for c in range(4)
        if labels[:, c].any()
    ]
    found = average_precision.of_videos(labels, scores)
    assert found == pytest.approx(np.mean(each), abs=1e-9) if each else np.isnan(found)


def test_a_constant_predictor_has_the_share_of_true_videos():
    labels = np.zeros((10, 2), bool)
    labels[:3, 0] = labels[3:, 1] = True
    assert average_precision.of_videos(labels, np.ones((10, 2))) == pytest.approx(0.5)


def test_scores_that_are_no_numbers_are_one_line():
    labels, scores = np.eye(3, dtype=bool), np.eye(3, dtype=np.float32)
    scores[1, 2] = np.nan
    with pytest.raises(UserError, match="scores: some are not a number"):
        average_precision.of_videos(labels, scores)


def test_the_best_view_of_a_class_counts():
    objective = multi_label.build(FOUND)
    outputs = torch.tensor([[3.0, -1, 0], [-2, 4, 0], [0, 0, -5], [0, 0, 5]])
    found = objective.predictions(outputs, np.array([0, 2]), VIEWS)
    np.testing.assert_allclose(found["scores"][0], torch.tensor([3.0, 4, 0]).sigmoid())
    np.testing.assert_allclose(found["scores"][1], torch.tensor([0.0, 0, 5]).sigmoid())
    assert found["labels"].tolist() == [[True, False, True], [False, True, False]]
    assert objective.measure(found, VIEWS)[1].keys() == {"mAP"}


def test_a_network_without_any_true_video_is_ranked_by_its_loss():
    objective = multi_label.build(FOUND)
    score, seen = objective.validate(torch.zeros(1, 3), np.array([1]))
    assert score == [0.0, pytest.approx(-np.log(2))]
    assert seen["validation_mAP"] == 0.0


def test_seconds_become_frames_and_the_table_is_read_back(tmp_path):
    videos = [Video(n, -1, {"1": "train"}, 40, 8, 8, 10.0) for n in ("b", "a", "c")]
    action = {"class": 1, "start": 0.25, "end": 1.21}
    annotations = {
        "a": {"actions": [action, {"class": 0, "start": 0.0, "end": 9.0}], "length": 4.0},
        "b": {"actions": [], "length": 4.0},
        "c": {"gaze": []},
        "": {"classes": {"tags": ["x", "y"]}},
    }
    store = SimpleNamespace(videos=videos, classes=["other"])
    found = several_classes.examples(Source(store, annotations, "tags"))
    assert found.videos == ["b", "a"]
    assert found.targets[1] == {"classes": [1, 0], "frames": [[2, 13], [0, 90]]}
    examples.write(found, {}, tmp_path)
    assert examples.read(tmp_path) == found
    assert "x; y" in (tmp_path / "examples.csv").read_text()
    known = found.knowing([1])
    assert (known.targets[0], known.targets[1]) == (None, found.targets[1])


def test_seconds_count_from_the_beginning_of_the_file():
    videos = [Video("a", -1, {"1": "train"}, 40, 8, 8, 10.0, begin=0.2)]
    action = {"class": 0, "start": 0.25, "end": 1.21}
    store = SimpleNamespace(videos=videos, classes=["x"])
    found = several_classes.examples(Source(store, {"a": {"actions": [action]}}, "action"))
    assert found.targets[0]["frames"] == [[0, 11]]


def test_a_video_without_a_rate_has_no_frames_for_its_actions(capsys):
    videos = [Video(n, -1, {"1": "train"}, 40, 8, 8, fps) for n, fps in (("a", 0.0), ("b", 10.0))]
    videos.append(Video("c", -1, {"1": "train"}, 40, 8, 8, 0.0))
    action = {"class": 0, "start": 1.0, "end": 2.0}
    annotations = {name: {"actions": [action]} for name in ("a", "b")}
    annotations |= {"c": {"actions": []}, "": {"classes": {"tags": ["x"]}}}
    store = SimpleNamespace(videos=videos, classes=["other"])
    found = several_classes.examples(Source(store, annotations, "tags"))
    assert found.videos == ["b", "c"]
    assert "1 of 3 annotated videos are left out" in capsys.readouterr().out
