"""Kinds of labels: which stored videos are examples, with which class, part and pairs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from videossl.data.datasets.index import UNLABELLED
from videossl.data.shards.store import Video
from videossl.downstream import examples
from videossl.downstream.examples import Source
from videossl.downstream.kinds import pairs, scene, video_class

LABELS = {"a": 1, "b": 0, "c": UNLABELLED, "d": 1}
SPLITS = {"a": {"1": "train", "2": "test"}, "b": {"1": "test"}, "c": {"1": "train"}, "d": {}}
STORE = SimpleNamespace(
    videos=[Video(name, LABELS[name], SPLITS[name], 9, 8, 8, 10.0) for name in "abcd"],
    classes=["walk", "run"],
)
ANNOTATIONS = {
    "a": {"labels": {"shape": 0, "scene": 2}},
    "b": {"labels": {"scene": 1}},
    "c": {"labels": {"scene": 0}},
    "": {"classes": {"scene": ["sea", "wood", "town"], "shape": ["disc"]}},
}


def source(labels: str, annotations: dict = ANNOTATIONS) -> Source:
    return Source(STORE, annotations, labels)


def test_a_class_is_the_listed_one_where_the_dataset_names_no_others():
    found = video_class.examples(source("action"))
    assert (found.videos, found.targets.tolist()) == (["a", "b", "d"], [1, 0, 1])
    assert found.classes == ["walk", "run"]
    assert found.parts == {"1": ["train", "test", ""], "2": ["test", "", ""]}


def test_one_of_several_labels_is_in_the_annotations_and_never_the_listed_one():
    found = video_class.examples(source("shape"))
    assert (found.videos, found.targets.tolist(), found.classes) == (["a"], [0], ["disc"])


@pytest.mark.parametrize("annotations", [ANNOTATIONS, {}])
def test_scenes_are_all_in_one_part(annotations, tmp_path):
    found = scene.examples(source("scene", annotations))
    wanted = {"a": 2, "b": 1, "c": 0} if annotations else {"a": 1, "b": 0, "d": 1}
    assert dict(zip(found.videos, found.targets.tolist(), strict=True)) == wanted
    assert found.parts == {"1": ["all"] * 3}
    assert found.part(1, "all").tolist() == [0, 1, 2]
    examples.write(found, {}, tmp_path)
    again = examples.read(tmp_path)
    assert (again.videos, again.parts, again.classes) == (found.videos, found.parts, found.classes)


def test_a_video_of_several_pairs_is_one_example(tmp_path, capsys):
    listed = [["d", "a", 1, 1], ["a", "b", 0, 1], ["b", "gone", 1, 2], ["d", "b", 1, 2]]
    found = pairs.examples(source("pairs", {"": {"pairs": listed}}))
    assert found.videos == ["a", "b", "d"]
    assert found.facts == {"pairs": [[2, 0, 1, 1], [0, 1, 0, 1], [2, 1, 1, 2]]}
    assert capsys.readouterr().out == "1 of 4 pairs have a video that is not stored\n"
    examples.write(found, {}, tmp_path)
    again = examples.read(tmp_path)
    assert again == found
    np.testing.assert_array_equal(again.part(1, "all"), [0, 1, 2])


def test_a_dataset_without_pairs_has_no_examples_of_them():
    assert pairs.examples(source("pairs", {})).videos == []
