"""The engines run the study, rerun what changed and nothing else, and survive losses and kills."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest

from support import engines
from support.study import Study

AT = "rspnet/synthetic"
PROTOCOLS = ("linear", "attentive", "knn", "retrieval")  # of the default study
RSPNET = {
    "aggregate",
    f"embed/{AT}/seed-0",
    f"finetune/{AT}/seed-0/split-1",
    "pretrain/rspnet/seed-0",
    f"test/{AT}/seed-0/split-1",
    *(f"evaluate/{AT}/{p}/seed-0/split-1" for p in PROTOCOLS),
}
RSPNET_GROUPS = {
    "aggregate",
    "pretrain/rspnet",
    *(f"{stage}/{AT}" for stage in ("embed", "finetune", "test", "evaluate")),
}


@pytest.fixture
def ran(tiny):
    """The tiny study without .snakemake/, as a clone with its runs/ would be."""
    shutil.rmtree(tiny.root / ".snakemake")
    return tiny


@pytest.fixture
def quick(tiny, preloaded):
    """The tiny study's stages need no import of torch."""
    with tiny.preloaded(preloaded):
        yield


def snakemake(study: Study) -> set[str]:
    """Run Snakemake; returns the instances that ran."""
    done = study.run("snakemake", "--cores", "2")
    return engines.would_run_snakemake(done.stdout + done.stderr)


# what may go, and what is left of a row's results
GONE = {
    "the protocols": (
        "probe:\n  synthetic:\n" + "".join(f"    {name}: null\n" for name in PROTOCOLS),
        {"finetune/synthetic": {"recognition"}},
    ),
    "the probe": ("probe:\n  synthetic: null\n", {"finetune/synthetic": {"recognition"}}),
    "fine-tuning": (
        "finetune:\n  synthetic: null\n",
        {"probe/synthetic": {*PROTOCOLS}},
    ),
    "every test": ("finetune:\n  synthetic: null\nprobe:\n  synthetic: null\n", {}),
}


# DVC too, in a slow test
@pytest.mark.parametrize("what", ["fine-tuning", "every test"])
def test_a_study_may_do_without(ran, what):
    overlay, left = GONE[what]
    ran.overlay(overlay)
    assert snakemake(ran) == {"aggregate"}
    found = json.loads((ran.root / "runs/report/metrics.json").read_text()).get("rspnet", {})
    assert {test: set(protocols) for test, protocols in found.items()} == left


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_dvc_too(tiny):
    for overlay, left in (GONE[what] for what in ("the protocols", "the probe", "every test")):
        tiny.run("git", "checkout", "-q", "params.yaml")
        tiny.overlay(overlay)
        tiny.run("dvc", "repro")
        found = json.loads((tiny.root / "results/aggregate/metrics.json").read_text())
        assert set(found.get("rspnet", {})) == set(left)


def test_nothing_runs_twice(ran):
    assert snakemake(ran) == set()


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_margin_reruns_rspnet_only_and_setting_it_back_nothing(ran):
    ran.edit("margin: 0.15", "margin: 0.25")
    first = (ran.root / "runs/report").readlink()
    assert snakemake(ran) == RSPNET
    second = (ran.root / "runs/report").readlink()
    assert second != first
    said = ran.run("videossl", "compare", *(f"runs/{place}" for place in (first, second))).stdout
    sections = [block.splitlines() for block in said.split("\n\n")]
    assert [line.split() for line in sections[2][1:]] == [["task.margin", "0.15", "0.25"]]
    assert {line.split()[0] for line in sections[3][1:]} == {"rspnet"}
    ran.edit("margin: 0.25", "margin: 0.15")
    shutil.rmtree(ran.root / ".snakemake")
    assert snakemake(ran) == set()
    assert (ran.root / "runs/report").readlink() == first


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
@pytest.mark.parametrize(
    "lost", ["decode/synthetic", "pretrain/rspnet/seed-0", "embed/scratch/synthetic/seed-0"]
)
def test_a_lost_output_is_made_again_and_nothing_else(ran, lost):
    shutil.rmtree(ran.root / "runs" / lost)
    assert snakemake(ran) == {lost}
    assert snakemake(ran) == set()


def test_what_snakemake_remembers_decides_nothing(tiny):
    """Neither other inputs than last time, nor other code of a rule; lost outputs alone count."""
    assert (tiny.root / ".snakemake").is_dir()
    for lost in ("select/probe", "evaluate/rspnet"):
        shutil.rmtree(tiny.root / "runs" / lost)
    tiny.edit('"videossl embed {', '"videossl  embed {', "workflow/rules/transfer.smk")
    planned = engines.would_run_snakemake(tiny.run("snakemake", "-n", "--cores", "2").stdout)
    evaluations = {name for name in RSPNET if name.startswith("evaluate/")}
    assert planned == {"select/probe/synthetic", *evaluations}


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_what_is_damaged_is_named_and_made_again(ran):
    results = (ran.root / "runs/report/results.csv").read_bytes()
    (damaged,) = ran.root.glob("runs/embed/rspnet/synthetic/seed-0/*/features.npy")
    content = bytearray(damaged.read_bytes())
    content[-2] ^= 1
    damaged.unlink()  # DVC's cache has the same file
    damaged.write_bytes(content)
    shutil.rmtree(ran.root / "runs/evaluate/rspnet")
    assert ran.run("snakemake", "--cores", "2", check=False).returncode
    (log, *_) = ran.root.glob("logs/evaluate/rspnet/synthetic/knn/seed-0/split-1/*.log")
    said = re.fullmatch(r"error: (\S+): damaged .*: remove (\S+) and run .*\n", log.read_text())
    assert said is not None, log.read_text()
    assert ran.root / said[1] == damaged
    shutil.rmtree(ran.root / said[2])
    evaluations = {name for name in RSPNET if name.startswith("evaluate/")}
    assert snakemake(ran) == {f"embed/{AT}/seed-0", *evaluations}
    assert (ran.root / "runs/report/results.csv").read_bytes() == results


@pytest.mark.slow
def test_a_killed_stage_leaves_no_output_and_goes_on(ran):
    graph = engines.load(ran.root)
    node = graph.find("pretrain", {"row": "rho_moco", "seed": "0"})
    path = ran.root / "runs" / graph.path(node)
    names = ("encoder.safetensors", "batch.npz")
    whole = [(path / name).read_bytes() for name in names]
    shutil.rmtree(path)
    shards = f"runs/{graph.path(graph.find('decode', {'dataset': 'synthetic'}))}"
    command = [
        "videossl",
        "pretrain",
        "rho_moco",
        "--seed",
        "0",
        "--shards",
        shards,
        "--out",
        str(path),
    ]
    env = {**ran.env, "VIDEOSSL_CHECKPOINT_SECONDS": "0"}
    checkpoint = ran.root / "scratch" / graph.path(node) / "checkpoint.pt"
    process = subprocess.Popen(command, cwd=ran.root, env=env, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not path.exists()

    assert snakemake(ran) == {"pretrain/rho_moco/seed-0"}
    assert [(path / name).read_bytes() for name in names] == whole
    assert not checkpoint.exists()


@pytest.mark.slow
def test_dvc_reruns_rspnet_only_and_setting_it_back_nothing(tiny, tmp_path, preloaded):
    tiny.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    study = Study(tmp_path / "clone")
    tiny.run("dvc", "remote", "add", "-f", "-d", "--local", "store", str(tmp_path / "store"))
    tiny.run("dvc", "push", "-q", "--run-cache")
    study.run("dvc", "remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    study.run("dvc", "pull", "-q", "--run-cache")
    assert dvc_ran(study.run("dvc", "repro").stdout, study) == set()
    first = (study.root / "dvc.lock").read_bytes()

    with study.preloaded(preloaded):
        done = study.run("dvc", "exp", "run", "--temp", "-S", "task.margin=0.2").stdout
        assert dvc_ran(done, study) == RSPNET_GROUPS
        done = study.run("dvc", "exp", "run", "-S", "task.margin=0.25").stdout
        assert dvc_ran(done, study) == RSPNET_GROUPS
        done = study.run("dvc", "exp", "run", "-S", "task.margin=0.15").stdout
        assert dvc_ran(done, study) == set()
        assert (study.root / "dvc.lock").read_bytes() == first


def dvc_ran(output: str, study: Study) -> set[str]:
    """The groups that DVC ran."""
    return engines.ran_dvc(output, engines.load(study.root))


TABLE = """
seeds: [0]
methods:
  rho_moco: null
  rspnet_no_margin: {backbone: small_separable}
"""


@pytest.mark.slow
def test_a_seed_runs_only_itself_and_the_engines_agree_on_a_table(study, preloaded):
    """Seeds, splits, variants and backbones: equal bits, and one table."""
    for overlay in ("configs/tiny.yaml", "configs/table.yaml"):
        study.run("videossl", "configure", overlay)
    study.overlay(TABLE)
    study.commit("table")
    with study.preloaded(preloaded):
        study.run("snakemake", "--cores", "all")
        study.edit("seeds:\n- 0\n", "seeds:\n- 0\n- 1\n")
        ran_now = snakemake(study)
        assert "aggregate" in ran_now
        assert all("/seed-1" in name for name in ran_now - {"aggregate"})
        assert len(ran_now) > 10

        study.run("dvc", "repro")
    tables = [study.root / root / "results.csv" for root in ("runs/report", "results/aggregate")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    frame = pd.read_csv(tables[0])
    assert set(frame["seed"]) == {0, 1}
    assert set(frame["split"]) == {1, 2}
    assert {"rspnet", "rspnet_no_margin"} <= set(frame["row"])
    assert frame["backbone"].nunique() == 2


def test_dvc_shows_metrics_and_plots(tiny):
    metrics = json.loads(tiny.run("dvc", "metrics", "show", "--json").stdout)
    data = metrics[""]["data"]["results/aggregate/metrics.json"]["data"]
    assert set(data) == {"scratch", "rspnet", "rho_moco"}
    tiny.run("dvc", "plots", "show", "-o", "plots")
    page = (tiny.root / "plots/index.html").read_text()
    assert "pretrain-rspnet-seed-0.csv" in page
    assert "probe-synthetic-linear.csv" in page
    shown = tiny.run("dvc", "exp", "show", "--csv").stdout
    assert "rspnet" in shown.splitlines()[0]


def test_snakemakes_own_report(ran):
    ran.run("snakemake", "--report", "report.zip")
    assert (ran.root / "report.zip").stat().st_size > 10_000


def test_the_doctor_predicts_from_what_is_decoded(ran):
    lines = ran.run("videossl", "doctor").stdout.splitlines()
    words = [line.split()[0] for line in lines]
    machine = ["device", "versions", "disk", "convolution"]
    assert words == [*machine, "rspnet", "rho_moco", "pretraining"]
    assert "12 steps: 0.00 hours" in lines[4]


def test_results_of_snakemake_become_dvcs(ran):
    said = ran.run("videossl", "adopt").stdout
    assert "0 not there" in said
    ran.run("dvc", "commit", "-f", "-q")
    assert dvc_ran(ran.run("dvc", "repro").stdout, ran) == set()


def test_runs_lists_and_prune_removes(ran):
    ran.edit("margin: 0.15", "margin: 0.25")
    listed = ran.run("videossl", "runs").stdout.splitlines()
    (line,) = (x for x in listed if x.startswith("pretrain/rspnet/seed-0 "))
    assert "task.margin 0.15" in line
    ran.run("videossl", "prune", "--yes")
    left = {x.split()[0] for x in ran.run("videossl", "runs").stdout.splitlines()[1:]}
    assert left == set(engines.declared(engines.load(ran.root))) - RSPNET
