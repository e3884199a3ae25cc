"""The aggregate stage on made-up results: files, numbers, order, and gaps."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fake_study import CORRECT, ROWS, FakeStudy, N, probe, run
from support.read_page import Page, html
from videossl.report import curves, layout, results
from videossl.study import registry


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_writes_all_outputs(finished: Path) -> None:
    assert sorted(contents(finished)) == [
        "bars.csv",
        "curves.csv",
        "examples.npz",
        "figures/bars-finetune-synthetic-recognition.svg",
        "figures/bars-probe-synthetic-knn.svg",
        "figures/bars-probe-synthetic-linear.svg",
        "figures/bars-probe-synthetic-retrieval.svg",
        "figures/finetuning-synthetic-loss.svg",
        "figures/finetuning-synthetic-score.svg",
        "figures/pretraining-rho_moco.svg",
        "figures/pretraining-rspnet.svg",
        "metrics.json",
        "params.json",
        "plots/bars/finetune-synthetic-recognition.csv",
        "plots/bars/probe-synthetic-knn.csv",
        "plots/bars/probe-synthetic-linear.csv",
        "plots/bars/probe-synthetic-retrieval.csv",
        "plots/curves/finetune-rho_moco-synthetic-seed-0-split-1.csv",
        "plots/curves/finetune-rspnet-synthetic-seed-0-split-1.csv",
        "plots/curves/finetune-scratch-synthetic-seed-0-split-1.csv",
        "plots/curves/pretrain-rho_moco-seed-0.csv",
        "plots/curves/pretrain-rspnet-seed-0.csv",
        "published.csv",
        "report.html",
        "results.csv",
        "results.md",
        "results.tex",
    ]


def test_results_hold_every_number_in_order_and_in_full(finished: Path) -> None:
    header, *lines = (finished / "results.csv").read_text().splitlines()
    assert header == (
        "row,method,backbone,test,form,dataset,labels,protocol,seed,split,metric,value,n"
    )
    retrieval = ["R@1", "R@5", "R@10", "R@20", "R@50"]
    expected = []
    for place, row in enumerate(ROWS):
        method = "none" if row == "scratch" else row
        for protocol in ("recognition", "linear", "knn", "retrieval"):
            form = "finetune" if protocol == "recognition" else "probe"
            for metric in retrieval if protocol == "retrieval" else ("top1", "top5"):
                value = CORRECT[protocol][metric][place] / N
                expected.append(
                    f"{row},{method},small,synthetic,{form},synthetic,action,{protocol},0,1,"
                    f"{metric},{value!r},{N}"
                )
    assert lines == expected


def test_results_keep_a_line_per_seed_and_split(empty_study: FakeStudy, tmp_path: Path) -> None:
    for seed, split in ((1, 2), (0, 2), (1, 1), (0, 1)):
        value = 0.1 * seed + 0.01 * split
        empty_study.evaluation("rspnet", "linear", {"top1": value}, seed=seed, split=split)
    frame = pd.read_csv(run(empty_study, tmp_path / "out") / "results.csv")
    assert frame[["seed", "split"]].values.tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    assert frame["value"].tolist() == pytest.approx([0.01, 0.02, 0.11, 0.12])


def test_metrics_and_bars_repeat_the_results(finished: Path) -> None:
    nested = json.loads((finished / "metrics.json").read_text())
    assert nested["rspnet"]["probe/synthetic"]["linear"] == {"top1": 135 / N, "top5": 172 / N}
    bars = pd.read_csv(finished / "bars.csv")
    assert set(zip(bars["protocol"], bars["metric"], strict=True)) == {
        ("recognition", "top1"),
        ("linear", "top1"),
        ("knn", "top1"),
        ("retrieval", "R@1"),
    }
    for bar in bars.itertuples():
        by_protocol = nested[bar.row][f"{bar.form}/{bar.test}"]
        assert bar.value == pytest.approx(by_protocol[bar.protocol][bar.metric])


def test_metrics_of_several_seeds_have_deviations(tmp_path: Path) -> None:
    out = run(FakeStudy(tmp_path / "study", seeds=(0, 1)).fill(), tmp_path / "out")
    found = json.loads((out / "metrics.json").read_text())["rho_moco"]["probe/synthetic"]["knn"]
    assert found["top1"] == pytest.approx((121 + 119) / 2 / N)
    assert found["top1_sd"] == pytest.approx(pd.Series([121 / N, 119 / N]).std())


def test_curves_hold_both_kinds_of_training(tmp_path: Path) -> None:
    out = run(FakeStudy(tmp_path / "study", seeds=(0, 3)).fill(), tmp_path / "out")
    frame = pd.read_csv(out / "curves.csv")
    assert list(frame.columns) == [
        "stage",
        "row",
        "test",
        "seed",
        "split",
        "step",
        "epoch",
        "loss",
        "lr",
    ]
    counts = frame.groupby(["row", "stage", "seed"]).size().to_dict()
    assert counts == {
        (row, stage, seed): rows
        for row in ROWS
        for stage, rows in (("pretrain", 400), ("finetune", 12))
        for seed in (0, 3)
        if (row, stage) != ("scratch", "pretrain")
    }  # fmt: skip
    one = pd.read_csv(out / "plots/curves/finetune-rspnet-synthetic-seed-3-split-1.csv")
    assert one["epoch"].tolist() == list(range(12))


def test_curves_of_alike_names_stay_apart() -> None:
    keys = [
        ("finetune", "a", "b_c", "0", "1"),
        ("finetune", "a_b", "c", "0", "1"),
        ("pretrain", "a", None, "0", None),
    ]
    frame = pd.DataFrame(keys, columns=list(curves.KEY), dtype=object)
    names = [name for name, _ in curves.one_by_one(frame)]
    assert names == [
        "finetune-a-b_c-seed-0-split-1",
        "finetune-a_b-c-seed-0-split-1",
        "pretrain-a-seed-0",
    ]


@settings(deadline=None)  # the first example takes longer where other work goes on
@given(rows=st.integers(1, 500), limit=st.integers(1, 60))
def test_thinned_curve_keeps_its_end_and_its_level(rows: int, limit: int) -> None:
    curve = pd.DataFrame({"step": range(rows), "loss": [2.0] * rows})
    thinned = curves.thin(curve, limit)
    assert len(thinned) == min(rows, limit)
    assert thinned["step"].iloc[-1] == rows - 1
    assert thinned["step"].is_monotonic_increasing
    assert (thinned["loss"] == 2.0).all()


def test_same_bytes_whatever_the_order_of_inputs(study: FakeStudy, tmp_path: Path) -> None:
    first = contents(run(study, tmp_path / "a"))
    assert contents(run(study, tmp_path / "b")) == first
    study.inputs["evaluations"].reverse()
    study.inputs["classifiers"].reverse()
    shuffled = contents(run(study, tmp_path / "c"))
    same = [name for name in first if name != "report.html"]  # which lists stages as they come
    assert {name: shuffled[name] for name in same} == {name: first[name] for name in same}
    assert not any(str(tmp_path).encode() in data for data in first.values())


# ------------------------------------------------------------------ gaps


def test_nothing_evaluated_gives_a_page(empty_study: FakeStudy, tmp_path: Path) -> None:
    out = run(empty_study, tmp_path / "out")
    assert "No evaluation has finished yet." in Page(html(out)).text
    assert (out / "results.csv").read_text().splitlines() == [",".join(results.COLUMNS)]
    assert json.loads((out / "metrics.json").read_text()) == {}


def test_a_study_without_tests_is_reported(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study", finetune={}, probe={})
    study.decoding("synthetic", 0)
    study.encoders()
    out = run(study, tmp_path / "out")
    text = Page(html(out)).text
    assert "The study has no tests." in text
    assert "RSPNet, pretraining loss" in text
    assert (out / "results.md").read_text() == ""
    study.probe = {"empty": probe(protocols=())}
    assert "The study has no tests." in Page(html(run(study, tmp_path / "again"))).text


def test_a_study_without_methods_is_reported(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study", methods={})
    study.evaluation("scratch", "linear", {"top1": 0.5})
    out = run(study, tmp_path / "out")
    assert "| scratch | 50.0 |" in (out / "results.md").read_text()
    assert "scratch is alone in linear probe (50.0 %)" in Page(html(out)).text


def test_missing_evaluations_are_dashes(empty_study: FakeStudy, tmp_path: Path) -> None:
    empty_study.evaluation("rspnet", "linear", {"top1": 0.5})
    empty_study.evaluation("rho_moco", "linear", {"top1": 0.25})
    empty_study.evaluation("rho_moco", "knn", {"top1": 0.25})
    out = run(empty_study, tmp_path / "out")
    lines = (out / "results.md").read_text().splitlines()
    assert "| scratch | – | – |" in lines
    assert "| RSPNet | **50.0** | – |" in lines
    assert "| ρMoCo | 25.0 | 25.0 |" in lines
    assert any("Bold is the best number, which may be so by chance" in line for line in lines)
    assert "RSPNet not evaluated" in html(out)


def test_names_that_are_not_utf8_are_written_out(study: FakeStudy, tmp_path: Path) -> None:
    """Python keeps such bytes of a file's name as surrogates, which UTF-8 cannot hold."""
    study.datasets = ("synthetic", "odd")
    study.decoding(
        "odd",
        0,
        classes=["plain", "cl\udcffss"],
        rejects=[{"name": "v_\udce9.avi", "reason": "no frame in v_\udce9.avi"}],
    )
    folder = study.decoding("raw", 0)
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"OrbitLeft", b"Orbit\xffLeft"))
    study.datasets = (*study.datasets, "raw")
    text = Page(html(run(study, tmp_path / "out"))).text
    for shown in (r"v_\udce9.avi", r"cl\udcffss", r"Orbit\udcffLeft"):
        assert shown in text


# ------------------------------------------------------------------ the code


def test_import_stays_light_and_apart() -> None:
    """No torch, and nothing of ``study``, whose code is not in fingerprints."""
    code = (
        "import sys, videossl.report.aggregate; names = set(sys.modules);"
        "print([n for n in ('torch', 'matplotlib.pyplot', 'videossl.study') if n in names])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_method_has_a_title() -> None:
    assert set(layout.METHOD_TITLES) == set(registry.METHODS)
