"""The command line: what a user sees when something is wrong, and outputs whole or absent."""

from __future__ import annotations

import re
import subprocess

import pytest

from videossl import cli


def test_help_names_every_stage(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for verb in ("prepare", "decode", "pretrain", "finetune", "embed", "evaluate", "aggregate"):
        assert verb in shown


def test_bad_parameters_stop_both_engines_before_anything_runs(study):
    study.edit("margin: 0.15", "margin: -1")
    line = "params.yaml: task.margin = -1: must be greater than or equal to 0"
    for command in (["snakemake", "--cores", "1"], ["dvc", "repro"], ["videossl", "check"]):
        done = study.run(*command, check=False)
        assert done.returncode != 0
        assert (done.stdout + done.stderr).count(line) == 1, command
    assert not (study.root / "runs").exists()
    assert not any((study.root / "results").glob("*"))


def test_a_method_without_code_is_named(study):
    study.edit("    method: vtdl\n", "    method: byol\n")
    done = study.run("videossl", "check", check=False)
    assert done.returncode == cli.EXIT_USER
    assert "methods.vtdl.method = 'byol': must be 'rspnet', 'vtdl', 'rho_moco'" in done.stderr


def test_config_is_refused(study):
    done = study.run("snakemake", "-n", "--config", "seed=1", check=False)
    assert done.returncode != 0
    assert "--config has no effect" in done.stdout + done.stderr


LEFT_OVER = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "",
    "PYTHONOPTIMIZE": "2",
    "VIDEOSSL_CHECKPOINT_SECONDS": "",
    "VIDEOSSL_TENSORBOARD": "",
    "VIDEOSSL_DVCLIVE": "",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "",
    "PYTHONPATH": "",
}


def test_settings_of_other_tools_change_nothing(study):
    plain = study.run("videossl", "check").stdout
    study.env.update(LEFT_OVER)
    assert study.run("videossl", "check").stdout == plain
    study.run("videossl", "initialize", "scratch", "--seed", "0", "--out", "made")
    assert (study.root / "made/encoder.safetensors").is_file()


def test_too_little_memory_is_one_line(study):
    """As `ulimit -v` of a cluster's login node gives."""
    limited = "ulimit -v 900000; exec videossl initialize scratch --seed 0 --out made"
    done = study.run("bash", "-c", limited, check=False)
    assert done.returncode == cli.EXIT_FAILED  # no user's error: with more memory it may run
    assert re.fullmatch(r"error: there is not enough memory: .*; give it more\n", done.stderr)
    assert not (study.root / "made").exists()


def test_a_changed_plan_is_refused(study):
    done = study.run(
        *("videossl", "initialize", "scratch", "--seed", "0", "--out", "x", "--expect", "0" * 12),
        check=False,
    )
    assert done.returncode == cli.EXIT_USER
    assert "initialize/scratch/seed-0: planned as 000000000000, but params.yaml" in done.stderr
    assert not (study.root / "x").exists()


def test_an_absent_input_is_named(study):
    done = study.run("videossl", "decode", "synthetic", "--videos", "no", "--out", "x", check=False)
    assert done.stderr.strip() == "error: decode/synthetic: its videos is not there: no"
    done = study.run("videossl", "decode", "synthetic", "--out", "x", check=False)
    assert "decode/synthetic: needs --videos" in done.stderr
    assert not (study.root / "x").exists()


def test_a_failing_stage_leaves_no_output(study):
    study.edit("root: /datasets/ucf101", "root: /nowhere")
    text = (study.root / "params.yaml").read_text()
    for line in ("ucf101:  ", "format: ucf101", "root: /nowhere", "missing:", "revision:"):
        (whole,) = (x for x in text.splitlines() if line in x)
        text = text.replace(whole, whole.replace("# ", "", 1))
    (study.root / "params.yaml").write_text(text)
    done = study.run("videossl", "prepare", "ucf101", "--out", "x/y", check=False)
    assert done.returncode == cli.EXIT_USER
    assert "/nowhere" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (study.root / "x/y").exists()


@pytest.mark.parametrize(
    "names",
    [
        ("tiny",),
        ("tiny", "table"),
        ("ucf101",),
        ("ucf101", "hmdb51"),
        ("ucf101", "kinetics400"),
        ("ucf101", "kinetics400", "hmdb51"),
    ],
    ids="+".join,
)
def test_every_overlay_is_a_study(shipped, capsys, names):
    for name in names:
        assert cli.main(["configure", f"configs/{name}.yaml"]) == 0
    assert cli.main(["check"]) == 0
    stages = capsys.readouterr().out
    for name in names:
        dataset = "synthetic" if name in ("tiny", "table") else name
        assert f"decode/{dataset}\n" in stages


def test_configure_keeps_comments_and_refuses_bad_overlays(study):
    before = (study.root / "params.yaml").read_text()
    (study.root / "o.yaml").write_text("task:\n  margin: 0.3\n")
    study.run("videossl", "configure", "o.yaml")
    after = (study.root / "params.yaml").read_text()
    # a shorter value leaves one more space before its comment
    words = [re.sub(" +", " ", text) for text in (after, before)]
    assert words[0].replace("margin: 0.3", "margin: 0.15") == words[1]

    (study.root / "o.yaml").write_text("report:\n  titel: New\n")
    done = study.run("videossl", "configure", "o.yaml", check=False)
    assert "report.titel: no such key" in done.stderr
    assert (study.root / "params.yaml").read_text() == after


def test_the_workspaces_code_runs(study):
    """An installed command in a copy of the study runs the copy's code."""
    init = study.root / "src/videossl/__init__.py"
    init.write_text(init.read_text().replace('"0.1.0"', '"9.9.9"'))
    shown = subprocess.run(
        ["videossl", "--version"], cwd=study.root, env=study.env, capture_output=True, text=True
    )
    assert shown.stdout.strip() == "9.9.9"


def test_a_reader_that_has_seen_enough_is_no_error(study):
    done = study.run("bash", "-c", "set -o pipefail; videossl check | head -n 1", check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
