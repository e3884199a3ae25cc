"""What methods need of a video is declared once, and parameters are checked by it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from support import pretext
from support.study import ROOT
from videossl import needs
from videossl.data.loading import sampling
from videossl.methods.base import Method
from videossl.study import params, schema
from videossl.study.registry import METHODS

STUDY = params.load(ROOT / "params.yaml")


def class_of(name: str) -> type[Method]:
    """The method in a module: the last class that is one."""
    module = import_module(METHODS[name])
    found = [
        x
        for x in vars(module).values()
        if isinstance(x, type) and issubclass(x, Method) and x.__module__ == METHODS[name]
    ]
    return found[-1]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_parameters_are_checked_by_what_the_method_computes_with(name: str) -> None:
    block = STUDY.methods[name]
    kind = block.needs
    method = class_of(name)
    assert issubclass(method, kind)
    task, clip = STUDY.task[block.task], STUDY.pretrain[block.pretrain].clip
    assert method.reach(block, task, clip) == kind.reach(block, task, clip)
    assert method.content == kind.content
    wanted = getattr(STUDY.motion.get(block.motion), "content", "none")
    assert method.content == wanted  # params.yaml gives each method what it needs


@pytest.mark.parametrize("name", sorted(METHODS))
def test_no_clip_of_a_video_as_long_as_needed_wraps(name: str) -> None:
    method = pretext.build(name)
    block: Any = method.params
    task = STUDY.task[block.task]
    reach = method.reach(block, task, pretext.CLIP)
    longest = 0
    for seed in range(200):
        for request in method.requests(np.random.default_rng(seed), reach.frames):
            longest = max(longest, int(request.frames.max() - request.frames.min()))
            steps = np.diff(np.sort(request.frames))
            assert (steps > 0).all()
            assert len(set(steps.tolist())) == 1 or name == "v3s"  # which speeds up and slows down
    assert longest <= reach.frames - 1
    if name != "vtdl":  # its reach holds two clips
        assert longest == reach.frames - 1


@pytest.mark.parametrize(
    ("kind", "block", "task", "expected"),
    [
        (needs.OneClip, {}, {}, ("clip", "stride", 3, 22)),
        (needs.FastestClip, {"speeds": [1, 4, 2]}, {}, ("method", "speeds", [1, 4, 2], 85)),
        (needs.TwoIntervals, {"least_gap": -5}, {}, ("method", "least_gap", -5, 39)),
        (needs.OrderedFrames, {}, {"frames": 4, "stride": 2}, ("task", "stride", 2, 19)),
        (needs.FastestRate, {}, {"rates": [1, 9]}, ("task", "rates", [1, 9], 64)),
    ],
)
def test_reach_by_hand(
    kind: type[needs.OneClip], block: dict[str, Any], task: dict[str, Any], expected: Any
) -> None:
    clip = schema.Clip(frames=8, stride=3, size=16)
    made = [type("Block", (), values)() for values in (block, task)]
    assert kind.reach(*made, clip) == needs.Reach(*expected)


def test_a_span_counts_both_ends() -> None:
    assert [needs.span(8, 4), needs.span(1, 9), sampling.span(2, 1)] == [29, 1, 2]


def test_checking_parameters_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from pathlib import Path; from videossl.study import params; "
        "params.load(Path('params.yaml')); "
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
