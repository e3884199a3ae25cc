"""The aggregate stage on made-up results: files, numbers, order, and gaps."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from support.fake_study import CORRECT, FOLDER, RHO_MOCO, SYNTHETIC, FakeStudy, N, run
from support.read_page import Page, html
from videossl.job import UserError
from videossl.report import tables
from videossl.study import schema


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
        "figures/bars_synthetic_knn.svg",
        "figures/bars_synthetic_linear.svg",
        "figures/bars_synthetic_recognition.svg",
        "figures/bars_synthetic_retrieval.svg",
        "figures/finetuning_synthetic_loss.svg",
        "figures/finetuning_synthetic_validation_top1.svg",
        "figures/pretraining_rho_moco.svg",
        "figures/pretraining_rspnet.svg",
        "metrics.json",
        "plots/bars/synthetic_knn.csv",
        "plots/bars/synthetic_linear.csv",
        "plots/bars/synthetic_recognition.csv",
        "plots/bars/synthetic_retrieval.csv",
        "plots/curves/finetune_rho_moco_synthetic.csv",
        "plots/curves/finetune_rspnet_synthetic.csv",
        "plots/curves/finetune_scratch_synthetic.csv",
        "plots/curves/pretrain_rho_moco.csv",
        "plots/curves/pretrain_rspnet.csv",
        "report.html",
        "results.csv",
        "results.md",
        "results.tex",
    ]


def test_results_hold_every_number_in_order_and_in_full(finished: Path) -> None:
    text = (finished / "results.csv").read_text()
    header, *lines = text.splitlines()
    assert header == "method,dataset,protocol,split,metric,value,n,seed"
    retrieval = ["R@1", "R@5", "R@10", "R@20", "R@50"]
    expected = []
    for place, row in enumerate(("scratch", "rspnet", "rho_moco")):
        for protocol in ("recognition", "linear", "knn", "retrieval"):
            for metric in retrieval if protocol == "retrieval" else ("top1", "top5"):
                value = CORRECT[protocol][metric][place] / N
                expected.append(f"{row},synthetic,{protocol},1,{metric},{value!r},{N},0")
    assert lines == expected


def test_metrics_and_bars_repeat_the_results(finished: Path) -> None:
    nested = json.loads((finished / "metrics.json").read_text())
    assert nested["rspnet"]["synthetic"]["linear"] == {"top1": 135 / N, "top5": 172 / N}
    bars = pd.read_csv(finished / "bars.csv")
    assert set(zip(bars["protocol"], bars["metric"], strict=True)) == {
        ("recognition", "top1"),
        ("linear", "top1"),
        ("knn", "top1"),
        ("retrieval", "R@1"),
    }
    for bar in bars.itertuples():
        assert bar.value == pytest.approx(nested[bar.method][bar.dataset][bar.protocol][bar.metric])


def test_curves_hold_both_kinds_of_training(finished: Path) -> None:
    curves = pd.read_csv(finished / "curves.csv")
    assert list(curves.columns[:6]) == ["method", "stage", "step", "epoch", "loss", "lr"]
    counts = curves.groupby(["method", "stage"]).size().to_dict()
    assert counts == {
        ("rspnet", "pretrain"): 400,
        ("rho_moco", "pretrain"): 400,
        ("scratch", "finetune"): 12,
        ("rspnet", "finetune"): 12,
        ("rho_moco", "finetune"): 12,
    }


def test_same_bytes_however_the_inputs_are_passed(study: FakeStudy, tmp_path: Path) -> None:
    named = contents(run(study, tmp_path / "a"))
    assert contents(run(study, tmp_path / "b")) == named
    assert contents(run(study, tmp_path / "c", **study.parents())) == named
    both = {role: (*study.job(tmp_path / f"x{role}").inputs[role], *paths, *paths)
            for role, paths in study.parents().items()}  # fmt: skip
    assert contents(run(study, tmp_path / "d", **both)) == named
    assert not any(str(tmp_path).encode() in data for data in named.values())


def test_leftovers_and_unfinished_outputs_are_left_out(study: FakeStudy, tmp_path: Path) -> None:
    before = contents(run(study, tmp_path / "a"))
    study.evaluation("removed", "synthetic", "linear", {"top1": 1.0})
    study.evaluation("rspnet", "removed_data", "linear", {"top1": 1.0})
    study.pretraining("removed", 50, 3.0, 2.0)
    study.finetuning("removed", "synthetic", 0.5)
    study.decoding("removed_data", 1)
    unfinished = study.root / "evaluate" / ".rspnet.tmp"
    shutil.copytree(study.root / "evaluate" / "rspnet" / "synthetic" / "linear", unfinished)
    assert contents(run(study, tmp_path / "b", **study.parents())) == before


def test_a_removed_method_leaves_every_output(study: FakeStudy, tmp_path: Path) -> None:
    study.methods = schema.Methods.model_construct(rho_moco=RHO_MOCO)
    out = run(study, tmp_path / "out", **study.parents())
    assert not any(b"rspnet" in data.lower() for name, data in contents(out).items()
                   if name != "report.html")  # fmt: skip
    assert "rspnet" not in Page(html(out)).text.replace(study.title, "").lower()


def test_two_datasets_have_a_table_each(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study", datasets={"ucf101": FOLDER, "synthetic": SYNTHETIC})
    out = run(study.fill(), tmp_path / "out")
    heads = re.findall(r"^## (.*)$", (out / "results.md").read_text(), re.MULTILINE)
    assert heads == ["ucf101", "synthetic"]
    assert (out / "results.tex").read_text().count("\\begin{tabular}") == 2
    names = [attrs.get("class") for tag, attrs in Page(html(out)).tags if tag == "table"]
    assert names.count("wide results") == 2


# ------------------------------------------------------------------ gaps


def test_nothing_evaluated_gives_a_page(empty_study: FakeStudy, tmp_path: Path) -> None:
    out = run(empty_study, tmp_path / "out")
    assert "No evaluation has finished yet." in Page(html(out)).text
    assert (out / "results.csv").read_text().splitlines() == [",".join(tables.COLUMNS)]
    assert json.loads((out / "metrics.json").read_text()) == {}


def test_missing_evaluations_are_dashes(empty_study: FakeStudy, tmp_path: Path) -> None:
    empty_study.evaluation("rspnet", "synthetic", "linear", {"top1": 0.5})
    empty_study.evaluation("rho_moco", "synthetic", "knn", {"top1": 0.25})
    out = run(empty_study, tmp_path / "out")
    lines = (out / "results.md").read_text().splitlines()
    assert "| scratch | – | – |" in lines
    assert "| RSPNet | **50.0** | – |" in lines
    assert "| ρMoCo | – | **25.0** |" in lines
    assert "ρMoCo not evaluated" in html(out)


def test_unknown_baseline_is_the_users_error(study: FakeStudy, tmp_path: Path) -> None:
    study.baseline = "imagenet"
    message = r"report\.baseline = 'imagenet'.*scratch, rspnet, rho_moco"
    with pytest.raises(UserError, match=message):
        run(study, tmp_path / "out")


def test_a_method_may_be_the_baseline(study: FakeStudy, tmp_path: Path) -> None:
    study.baseline = "rho_moco"
    lines = (run(study, tmp_path / "out") / "results.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith("| RSPNet"))
    assert row.startswith("| RSPNet | 82.2 (−5.0) | 97.8 (−1.1) | 75.0 (−7.8)")


def test_import_stays_light() -> None:
    code = "import sys, videossl.report.aggregate as a; print('torch' in sys.modules)"
    code += "; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
