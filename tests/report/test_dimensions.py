"""The page says how many dimensions the features of each row use."""

from __future__ import annotations

import re

import pytest

from support.fake_study import finetune, probe, run
from videossl.job import UserError


def lines(page: str) -> dict[str, list[str]]:
    """Row -> its cells."""
    table = page.partition('<table class="wide dimensions">')[2].partition("</table>")[0]
    found = re.findall(r'<tr><th scope="row">(.+?)</th>(.+?)</tr>', table)
    return {name: re.findall("<td>(.+?)</td>", cells) for name, cells in found}


def test_rows_by_tests_with_seeds_and_over_how_many_examples(study, tmp_path):
    study.finetune = {"synthetic": finetune()}
    study.probe = {"synthetic": probe(), "other": probe()}
    for seed, rank in enumerate((30.0, 34.0)):
        study.embedding("rspnet", rank, seed=seed)
    study.embedding("scratch", 1.2345)
    study.embedding("rspnet", 7.0, test="other", examples=90_000, rankme_examples=8192)
    page = (run(study, tmp_path / "out") / "report.html").read_text()
    assert lines(page) == {
        "scratch": ["1.2 of 512", "–"],
        "RSPNet": ["32.0 ±2.8 of 512", "7.0 of 512"],
    }
    said = "Over 720 examples of synthetic and 8,192 evenly spread of 90,000 examples of other."
    assert said in page
    training = page.partition('<h2 id="training">')[2].partition("</section>")[0]
    assert "Dimensions that features use" in training
    assert '<th scope="col">embed</th>' in page  # its duration is counted


def test_without_features_there_is_no_table(finished):
    assert "Dimensions that features use" not in (finished / "report.html").read_text()


def test_features_that_say_nothing_of_it_are_one_line(study, tmp_path):
    study.embedding("rspnet", 3.0)
    (path,) = study.root.glob("embed/**/metrics.json")
    path.write_text('{"examples": 720, "dimensions": 512}')
    with pytest.raises(UserError, match=r"metrics.json: has no rankme, rankme_examples"):
        run(study, tmp_path / "out")
