"""Films that jump in time are what they are said to be, and what was measured becomes a table."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise

import pytest

from support.benchmarks import load
from videossl.data.decoding.probe import probe

long_videos = load("long_videos")
WRAP = 2**33 / 90_000  # seconds: a clock of MPEG-TS that jumps back is taken for one that wrapped
SMALL = replace(long_videos.FILMS["jump_back"], height=64, segment=1, copies=4, short_side=32)


@pytest.mark.parametrize(("jump", "found"), [(0, []), (100, [100]), (-100, [WRAP - 100])])
def test_a_film_has_its_frames_and_its_jump(tmp_path, jump, found):
    film = replace(SMALL, jump=jump)
    path = long_videos.make(film, tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == [path]
    facts = probe(path)
    assert facts.packets == len(facts.clock) == film.seconds * film.rate
    gaps = [after - before for before, after in pairwise(facts.clock)]
    assert [gap for gap in gaps if gap > 1] == pytest.approx(found, abs=0.1)


def test_a_line_per_film():
    stage = {"seconds": 12.4, "memory_mib": 1234, "largest_mib": 1000}
    film = {
        "film": "an hour", "source_mib": 0.5, "frames": 86400, "stored_mib": 2000.1,
        "decode": stage, "motion": stage, "same_bytes": True,
    }  # fmt: skip
    lines = long_videos.table([film, {**film, "same_bytes": False}]).splitlines()
    cells = "| an hour | 0.5 | 86,400 | 2000.1 | 12 | 1,234 | 12 | 1,234 |"
    assert lines[2:] == [f"{cells} yes |", f"{cells} **no** |"]
    assert len({line.count("|") for line in lines}) == 1


def test_memory_is_that_of_a_process_and_its_children():
    sizes = long_videos.held(os.getpid())
    assert sizes[0] > 1 << 20
    assert long_videos.held(2**22 + 1) == []  # beyond the largest number of a process
