"""Inputs that other parameters made are refused; damaged ones are named."""

import re
from pathlib import Path
from typing import Any

import pytest

from support.fake_study import FakeStudy, finetune, method, run
from videossl.job import UserError


def refused(study: FakeStudy, tmp_path: Path) -> str:
    with pytest.raises(UserError) as error:
        run(study, tmp_path / "out")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("recorded", "given", "said"),
    [
        ({"methods__rspnet__speeds": [1]}, {"speeds": [4]}, "[1], but params.yaml has [4]"),
        ({"methods__rspnet__dim": 128}, {"dim": 256}, "128, but params.yaml has 256"),
        ({"methods__rspnet__as_released": True}, {"as_released": 1}, "True, but params.yaml has 1"),
        ({"methods__rspnet__gone": 1}, {}, "1, but params.yaml has no such key"),
        ({"methods__rspnet__copy": 1}, {}, "1, but params.yaml has no such key"),
        ({"methods__removed__dim": 1}, {}, "1, but params.yaml has no such key"),
    ],
)  # fmt: skip
def test_a_method_made_otherwise(
    empty_study: FakeStudy,
    tmp_path: Path,
    recorded: dict[str, Any],
    given: dict[str, Any],
    said: str,
) -> None:
    empty_study.methods["rspnet"] = method("rspnet", **given)
    folder = empty_study.pretraining("rspnet", 3.0, 2.0, **recorded)
    key = next(iter(recorded)).replace("__", ".")
    found = refused(empty_study, tmp_path)
    assert found.startswith(f"{folder}: made with {key} = {said}")


def test_tests_made_otherwise(study: FakeStudy, tmp_path: Path) -> None:
    study.finetune["synthetic"] = finetune(share=0.5)
    assert re.search(
        r"finetune/scratch/\S+: made with finetune\.synthetic\.share = 0\.2, .* 0\.5;",
        refused(study, tmp_path),
    )


@pytest.mark.parametrize(
    "leaf", ["probe__synthetic__linear__regularization", "baselines__scratch__weights"]
)
def test_probes_and_baselines_are_compared_too(
    empty_study: FakeStudy, tmp_path: Path, leaf: str
) -> None:
    key = {"row": "scratch", "test": "synthetic"}
    empty_study.stage("initialize", "encoders", 1.0, key, **{leaf: 7.5})
    assert f"made with {leaf.replace('__', '.')} = 7.5" in refused(empty_study, tmp_path)


def test_outputs_that_disagree_with_one_another(empty_study: FakeStudy, tmp_path: Path) -> None:
    """What aggregate is not given as a parameter is still of one file of parameters."""
    empty_study.pretraining("rspnet", 3.0, 2.0, task__margin=0.15)
    other = empty_study.pretraining("rho_moco", 3.0, 2.0, task__margin=0.1)
    found = refused(empty_study, tmp_path)
    assert found.startswith(f"{other}: made with task.margin = 0.1, but ")
    assert "with 0.15;" in found


def test_equal_numbers_of_other_types_agree(empty_study: FakeStudy, tmp_path: Path) -> None:
    empty_study.methods["rspnet"] = method("rspnet", motion_weight=14.0, speeds=[1, 2])
    empty_study.pretraining("rspnet", 3.0, 2.0, methods__rspnet__motion_weight=14,
                            methods__rspnet__speeds=[1.0, 2.0])  # fmt: skip
    run(empty_study, tmp_path / "out")


def test_damaged_files_are_named(study: FakeStudy, tmp_path: Path) -> None:
    folder = study.inputs["evaluations"][3]
    (folder / "predictions.npz").write_bytes(b"PK\x03\x04 cut short")
    assert f"{folder / 'predictions.npz'}: cannot be read" in refused(study, tmp_path)
    (folder / "metrics.json").write_text("{")
    assert f"{folder / 'metrics.json'}: cannot be read" in refused(study, tmp_path)
    (folder / "metrics.json").write_text('{"row": "rspnet"}')
    assert "has no form, test, protocol, seed, split, n, metrics" in refused(study, tmp_path)
    (folder / "stage.json").write_text("[]")
    assert f"{folder / 'stage.json'}: expected an object" in refused(study, tmp_path)
