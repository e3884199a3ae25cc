"""Metrics once more from predictions: the same numbers, with intervals that mean what they say."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from videossl import remeasure
from videossl.downstream import average_precision, metrics, weighted
from videossl.study import publication, records


def top1(predictions):
    return metrics.topk(predictions["scores"], predictions["labels"], [1]), {}


def mean_ap(predictions):
    score = average_precision.of_videos(predictions["labels"], predictions["scores"])
    return {}, {"mAP": score}


def test_the_interval_of_a_share_is_that_of_a_mean():
    rng = np.random.default_rng(0)
    labels, n = rng.integers(2, size=400), 400
    right = rng.random(n) < 0.7
    scores = np.eye(2)[np.where(right, labels, 1 - labels)]
    found = {"examples": np.arange(n), "labels": labels, "scores": scores}
    low, high = remeasure.bootstrap(found, top1, 2000, rng)["top1"]
    share = right.mean()
    half = 1.96 * np.sqrt(share * (1 - share) / n)
    assert (low, high) == pytest.approx((share - half, share + half), abs=0.006)


@pytest.mark.parametrize("cells", [1, 100, 2**22])
@pytest.mark.parametrize("quick", [True, False])
def test_a_metric_that_is_no_mean_is_computed_anew_for_every_sample(monkeypatch, cells, quick):
    monkeypatch.setattr(remeasure, "CELLS", cells)
    if not quick:
        monkeypatch.setattr(weighted, "TOTALS", {})
    rng = np.random.default_rng(1)
    labels = rng.random((40, 3)) < 0.3
    scores = labels + rng.normal(size=(40, 3))
    found = {"examples": np.arange(40), "labels": labels, "scores": scores, "classes": np.eye(3)}
    interval = remeasure.bootstrap(found, mean_ap, 50, np.random.default_rng(2))["mAP"]
    again = np.random.default_rng(2)
    drawn = []
    for _ in range(50):
        picks = again.integers(40, size=40)
        drawn.append(average_precision.of_videos(labels[picks], scores[picks]))
    assert interval == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-12)


def test_what_gives_another_number_for_the_examples_themselves_measures_no_sample(monkeypatch):
    monkeypatch.setattr(weighted, "TOTALS", {"mAP": lambda found: lambda counts: counts[0] * 9.0})
    test_samples_without_the_metric_are_left_out()


def test_samples_without_the_metric_are_left_out():
    labels = np.array([[True], [False], [False]])
    found = {"examples": np.arange(3), "labels": labels, "scores": np.array([[3.0], [2.0], [1.0]])}
    assert remeasure.bootstrap(found, mean_ap, 60, np.random.default_rng(0))["mAP"] == (1.0, 1.0)


@pytest.mark.slow
def test_the_study_is_measured_again(tiny):
    shown = tiny.run("videossl", "metrics", "--samples", "20", "--csv", "again.csv").stdout
    with (tiny.root / "again.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(shown.splitlines()) == len(rows) + 1
    with (tiny.root / "runs/report/results.csv").open() as file:
        wanted = list(csv.DictReader(file))
    names = ("row", "test", "protocol", "seed", "split", "metric")
    values = {tuple(row[n] for n in names): float(row["value"]) for row in wanted}
    assert {tuple(row[n] for n in names) for row in rows} == set(values)
    for row in rows:
        value = values[tuple(row[n] for n in names)]
        assert float(row["value"]) == pytest.approx(value, abs=6e-5)
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])

    (folder,) = tiny.root.glob("runs/evaluate/rspnet/synthetic/knn/seed-0/split-1/*")
    path = folder / "metrics.json"
    record = json.loads(path.read_text())
    record["metrics"]["top1"] = 0.5
    path.write_text(json.dumps(record))
    refused = tiny.run("videossl", "metrics", "--samples", "1", check=False)
    assert refused.returncode == 2
    assert f"{path.relative_to(tiny.root)}: damaged" in refused.stderr
    sealed = records.read(folder)
    sealed["files"] = records.digests(folder)
    (folder / publication.RECORD).unlink()
    records.write(sealed, folder)
    refused = tiny.run("videossl", "metrics", "--samples", "1", check=False)
    assert refused.returncode == 2
    assert "top1 is stored as 0.5, its predictions give" in refused.stdout
