"""What is declared of metrics and protocols: enough for every protocol that a study can name."""

import subprocess
import sys

import pytest

from videossl.downstream import declarations
from videossl.study import schema


@pytest.mark.parametrize(
    ("name", "title"), [("top1", "top-1"), ("top10", "top-10"), ("R@5", "R@5"), ("R@50", "R@50")]
)
def test_a_metric_has_the_number_of_its_name(name: str, title: str) -> None:
    declared = declarations.metric(name)
    assert (declared.title, declared.share, declared.better) == (title, True, "high")


@pytest.mark.parametrize("name", ["top", "atop1", "top1x", "mean"])
def test_an_undeclared_metric_is_not_guessed(name: str) -> None:
    with pytest.raises(LookupError, match=f"metric '{name}' is not declared"):
        declarations.metric(name)


def test_every_protocol_of_the_schema_is_declared() -> None:
    assert set(schema.Probe.protocols) < set(declarations.PROTOCOLS)
    with pytest.raises(LookupError, match="protocol 'zeta' is not declared"):
        declarations.protocol("zeta")


def test_import_needs_no_torch() -> None:
    code = "import sys, videossl.downstream.declarations; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
