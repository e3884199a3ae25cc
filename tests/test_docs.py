"""What the documentation names is there: keys of params.yaml, files, links and commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.study import ROOT
from videossl.study import json_schema, params
from videossl.study.stages import STAGES

DOCS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
SCHEMA = json_schema.build()
WRITTEN = [params.read(path) for path in [ROOT / "params.yaml", *ROOT.glob("configs/*.yaml")]]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
KEY = re.compile(r"([a-z]+(?:\.(?:[a-z0-9_]+|<[a-z]+>))+)(?:: \S+)?")
FILE = re.compile(r"\w+\.(?:csv|md|tex|json|html)")
TREES = ("src", "tests", "docs", "configs", "benchmarks", "workflow", ".ci")
FOREIGN = {"contrastive.py"}  # files of others' code
VERBS = {
    *STAGES,
    *("check", "shards", "doctor", "plan", "schema", "configure", "runs", "status"),
    *("metrics", "compare", "prune", "adopt"),
}
OLD = ("our reading", "<who>", "going on from", "sync_bn", "evaluate.datasets", "pretrain.dataset")


def spans(path: Path) -> list[str]:
    """What stands in backticks within the text of a page."""
    return SPAN.findall(FENCE.sub("", path.read_text(encoding="utf-8")))


def options(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The blocks that a part of the schema allows, references followed."""
    if "$ref" in block:
        yield from options(SCHEMA["$defs"][block["$ref"].rsplit("/", 1)[1]])
    elif "anyOf" in block or "oneOf" in block:
        for one in [*block.get("anyOf", []), *block.get("oneOf", [])]:
            yield from options(one)
    else:
        yield block


def fits(parts: list[str], block: dict[str, Any], written: list[Any]) -> bool:
    """Whether a key may stand there; the name of an entry is a placeholder, or one that is used."""
    if not parts:
        return True
    first, *rest = parts
    below = [w[first] for w in written if isinstance(w, dict) and first in w]
    for one in options(block):
        inside = one.get("properties", {}).get(first)
        named = one.get("patternProperties", {}).values()
        entries = next(iter(named), one.get("additionalProperties"))
        if inside is None and isinstance(entries, dict) and (first.startswith("<") or below):
            inside = entries
            if first.startswith("<"):
                below = [v for w in written if isinstance(w, dict) for v in w.values()]
        if inside is not None and fits(rest, inside, below):
            return True
    return False


def is_key(text: str) -> list[str]:
    """The parts of a dotted key of params.yaml; none of what is something else."""
    match = KEY.fullmatch(text)
    if match is None or FILE.fullmatch(text):
        return []
    parts = match[1].split(".")
    is_package = (ROOT / "src/videossl").joinpath(*parts).exists()
    return parts if parts[0] in SCHEMA["properties"] and not is_package else []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_keys_are_there(path):
    absent = [s for s in spans(path) if (key := is_key(s)) and not fits(key, SCHEMA, WRITTEN)]
    assert absent == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_files_are_there(path):
    absent = []
    for span in set(spans(path)) - FOREIGN:
        if span.partition("/")[0] in TREES and "/" in span and "<" not in span:
            found = list(ROOT.glob(span))
        elif re.fullmatch(r"\w+\.(py|yaml)", span):
            found = [*ROOT.glob(span), *ROOT.glob(f"src/videossl/**/{span}")]
        else:
            continue
        absent += [] if found else [span]
    assert absent == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [t for t in targets if t and not t.startswith(("http:", "https:"))]
    assert [t for t in local if not (path.parent / t).exists()] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands_are_verbs(path):
    text = path.read_text(encoding="utf-8")
    code = "\n".join([*FENCE.findall(text), *spans(path)])
    named = re.findall(r"^(?:.*[ |&;])?videossl ([a-z]+)\b", code, re.MULTILINE)
    assert [verb for verb in named if verb not in VERBS] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_one_word_for_one_thing(path):
    text = path.read_text(encoding="utf-8").lower()
    assert [word for word in OLD if word in text] == []


def test_what_is_not_there_is_found():
    assert fits(["task", "tca", "alpha"], SCHEMA, WRITTEN)
    assert fits(["methods", "<row>", "task"], SCHEMA, WRITTEN)
    assert fits(["data", "ucf101", "root"], SCHEMA, WRITTEN)
    for key in ("pretrain.dataset", "data.nowhere.root", "pretrain.<budget>.clip.length"):
        assert is_key(key)
        assert not fits(is_key(key), SCHEMA, WRITTEN), key
    assert not is_key("data.loading")
    assert not is_key("report.html")
