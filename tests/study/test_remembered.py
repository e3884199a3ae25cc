"""What is kept between commands is believed only if it is as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.study import ROOT
from videossl.study import code_digest, graph, params, remembered


def test_what_was_kept_comes_back(tmp_path):
    path = tmp_path / "scratch" / "kept.json"
    assert remembered.read(path) == {}
    remembered.write(path, {"a": [1, "ρ"]})
    assert remembered.read(path) == {"a": [1, "ρ"]}
    assert [file.name for file in path.parent.iterdir()] == ["kept.json"]


def test_a_damaged_file_counts_for_nothing(tmp_path):
    path = tmp_path / "kept.json"
    remembered.write(path, {"a": "0123456789"})
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert remembered.read(path) == {}
    for end in range(len(data)):
        path.write_bytes(data[:end])
        assert remembered.read(path) == {}


def test_what_a_killed_process_left_is_gone_after_the_next(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    path = tmp_path / "kept.json"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            remembered.write(path, {"a": 1})
    assert remembered.read(path) == {}
    remembered.write(path, {"a": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["kept.json"]


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "scratch").write_text("a file in the folder's place")
    remembered.write(tmp_path / "scratch" / "kept.json", {"a": 1})
    assert remembered.read(tmp_path / "scratch" / "kept.json") == {}


@pytest.fixture
def forgotten(monkeypatch, tmp_path):
    """Nothing of the code is known yet; what will be lies below ``tmp_path``."""
    monkeypatch.setattr(graph, "CODE", tmp_path / "code.json")
    monkeypatch.setattr(code_digest, "known", {})
    cached = (code_digest._facts, code_digest.digest, code_digest.imports)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_remembered_code_gives_the_fingerprints_that_parsed_code_gives(forgotten):
    parsed = graph.load(ROOT / "params.yaml")
    first = {node: parsed.fingerprint(node) for node in parsed.instances}
    assert remembered.read(graph.CODE)
    for function in (code_digest._facts, code_digest.digest, code_digest.imports):
        function.cache_clear()
    code_digest.known.clear()
    kept = graph.load(ROOT / "params.yaml")
    sources = len(code_digest.known)
    assert sources > 50
    assert {node: kept.fingerprint(node) for node in kept.instances} == first
    assert len(code_digest.known) == sources  # nothing was parsed again


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is parsed from now on."""
    seen: list[str] = []
    parse = params.parse

    def counting(text: str, name: str) -> params.Raw:
        seen.append(text)
        return parse(text, name)

    monkeypatch.setattr(params, "parse", counting)
    return seen


def test_params_are_parsed_once_for_each_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = counted(monkeypatch)
    for text in ("a: [1, 1.0, true, 1e-4, x]\n", "a: 2\n"):
        params.DEFAULT.write_text(text)
        first = params.read(params.DEFAULT)
        again = params.read(params.DEFAULT)
        assert repr(again) == repr(first)
        assert seen == [text]
        seen.clear()


@pytest.mark.parametrize("text", ["1: a\n", "a: 2020-01-01\n"])
def test_params_that_json_would_change_are_parsed_each_time(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    seen = counted(monkeypatch)
    params.DEFAULT.write_text(text)
    assert repr(params.read(params.DEFAULT)) == repr(params.read(params.DEFAULT))
    assert seen == [text, text]


def test_damaged_params_that_were_parsed_are_parsed_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params.DEFAULT.write_text("a: 1\n")
    params.read(params.DEFAULT)
    params.PARSED.write_text(params.PARSED.read_text().replace('"a": 1', '"a": 7'))
    assert params.read(params.DEFAULT) == {"a": 1}
