"""Steps of large datasets run on a small one, and what was measured becomes a table."""

from __future__ import annotations

from support.benchmarks import load

VIDEOS = 800  # two of a class, so that each is in both parts


def test_every_step_runs(tmp_path):
    scale = load("scale")
    scale.take_up()
    scale.make_files(tmp_path, VIDEOS)
    for step in scale.STEPS.values():
        step(tmp_path, VIDEOS)
    assert (tmp_path / "index" / "index.json").is_file()
    assert len(list(tmp_path.glob("selected/examples.*"))) == 2


def test_a_line_per_step_and_size():
    lines = load("scale").table([{"step": "a_b", "videos": 2000, "seconds": 0.1, "mib": 7}])
    assert lines.splitlines()[2:] == ["| a b | 2,000 | 0.1 | 7 | 50 |"]
