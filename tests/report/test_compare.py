"""Two studies side by side: keys that differ, numbers that moved, and which beyond noise."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from support.fake_study import FakeStudy, method, run, sealed
from videossl import cli
from videossl.job import UserError
from videossl.report import compare, kept
from videossl.study import records

N = 180


def study(root: Path, margin: float, right: dict[str, np.ndarray], seed: int = 0) -> Path:
    """A report of two rows under the linear probe; ``right`` is which examples each has right."""
    fake = FakeStudy(root / "study", methods={row: method("rspnet") for row in right})
    fake.root.mkdir(parents=True)
    fake.stage("decode", "data", 1.0, {"dataset": "synthetic"}, decode__codec="jpeg")
    (fake.root / "decode/synthetic/5f3a/manifest.json").write_text('{"videos": [], "rejects": []}')
    for row in right:
        task = {"task__margin": margin} if row == "rspnet" else {}
        fake.stage("pretrain", "encoders", 1.0, {"row": row, "seed": "0"}, **task)
    for row, hits in right.items():
        hits = hits.astype(np.float32)
        fake.evaluation(row, "linear", {"top1": float(hits.mean())}, hits={"top1": hits})
    out = run(fake, root / "out")
    own = {"probe.synthetic.data": "synthetic", "data.synthetic.seed": seed}
    sealed(out, own)
    return out


def hits(share: float) -> np.ndarray:
    return np.arange(N) < share * N


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    same = hits(0.4)
    first = study(tmp_path / "a", 0.15, {"rspnet": hits(0.5), "rho_moco": same})
    return first, study(tmp_path / "b", 0.2, {"rspnet": hits(0.7), "rho_moco": same})


def test_only_the_key_and_the_row_that_reads_it_are_named(pair):
    found = compare.compare(*pair)
    assert found.params == [("task.margin", "0.15", "0.2")]
    assert [(one.key[0], one.key[-1], one.rule, one.beyond) for one in found.moved] == [
        ("rspnet", "top1", "examples", True)
    ]
    assert (found.equal, found.alone) == (1, ([], []))
    lines = compare.text(found).splitlines()
    assert lines[3] == "1 numbers are equal, 1 differ, 1 of them beyond noise"
    assert lines[-1].split() == [
        *("rspnet", "synthetic", "Linear", "probe", "top-1", "50.0", "70.0", "+20.0"),
        *("yes", "(same", "examples)"),
    ]


def test_a_difference_of_few_examples_is_within_noise(tmp_path):
    one, other = hits(0.5), hits(0.5)
    other[:3], other[-4:] = False, True
    first = study(tmp_path / "a", 0.15, {"rspnet": one})
    found = compare.compare(first, study(tmp_path / "b", 0.2, {"rspnet": other}))
    assert [one.beyond for one in found.moved] == [False]


def test_examples_of_other_videos_are_no_pairs(tmp_path):
    first = study(tmp_path / "a", 0.15, {"rspnet": hits(0.5)})
    found = compare.compare(first, study(tmp_path / "b", 0.15, {"rspnet": hits(0.7)}, seed=1))
    assert found.params == [("data.synthetic.seed", "0", "1")]
    assert [(one.rule, one.beyond) for one in found.moved] == [("largest", None)]
    assert "– (noise unknown)" in compare.text(found)


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("stage.json", "probe.synthetic.data", "other"),
        ("stage.json", "probe.synthetic.labels", "colour"),
        ("params.json", "decode.codec", "raw"),
    ],
)
def test_examples_of_another_dataset_or_decoding_are_no_pairs(tmp_path, pair, file, key, value):
    params = records.read(pair[1])["params"]
    path = pair[1] / kept.PARAMS
    found = json.loads(path.read_text())
    (params if file == "stage.json" else found)[key] = value
    path.write_text(json.dumps(found))
    sealed(pair[1], params)
    assert [one.rule for one in compare.compare(*pair).moved] == ["largest"]


@pytest.mark.parametrize("names", [("null", "nan"), ("2024", "007")])
def test_a_row_may_be_called_like_a_number_or_like_nothing(tmp_path, names):
    rows = {name: hits(0.1 * place) for place, name in enumerate(names, 4)}
    more = {name: hits(0.1 * place) for place, name in enumerate(names, 6)}
    found = compare.compare(study(tmp_path / "a", 0.1, rows), study(tmp_path / "b", 0.1, more))
    assert [(one.key[0], one.rule, one.beyond) for one in found.moved] == [
        (name, "examples", True) for name in names
    ]


def test_what_moved_is_told_whichever_way_is_better_and_of_none_that_is_nothing(tmp_path):
    for metric, beyond in (("KL", True), ("accuracy_se", None)):
        places = []
        for side, share in (("a", 0.5), ("b", 0.7)):
            made = study(tmp_path / metric / side, 0.1, {"rspnet": hits(share)})
            table = made / "results.csv"
            table.write_text(table.read_text().replace(",top1,", f",{metric},"))
            with np.load(made / kept.EXAMPLES) as stored:
                arrays = {key.replace("top1", metric): value for key, value in stored.items()}
            np.savez(made / kept.EXAMPLES, **arrays)
            sealed(made, records.read(made)["params"])
            places.append(made)
        assert [one.beyond for one in compare.compare(*places).moved] == [beyond]
        assert [one.beyond for one in compare.compare(*places[::-1]).moved] == [beyond]


def test_what_only_one_has_is_counted(tmp_path, pair):
    more = study(tmp_path / "c", 0.15, {"rspnet": hits(0.5), "vtdl": hits(0.3)})
    found = compare.compare(pair[0], more)
    assert [[key[0] for key in own] for own in found.alone] == [["rho_moco"], ["vtdl"]]
    assert compare.summary(found).endswith("1 are in A only; 1 are in B only")


def test_markdown_and_page_show_the_same_and_names_do_nothing(tmp_path, pair, capsys):
    odd = tmp_path / "<script>alert(1)|x"
    pair[1].rename(odd)
    markdown, page = tmp_path / "c.md", tmp_path / "c.html"
    words = ["compare", str(pair[0]), str(odd), "--markdown", str(markdown), "--html", str(page)]
    assert cli.main(words) == 0
    assert "task.margin" in capsys.readouterr().out
    rows = [line for line in markdown.read_text().splitlines() if line.startswith("| rspnet")]
    assert rows == [
        "| rspnet | synthetic | Linear probe | top-1 | 50.0 | 70.0 | +20.0 | yes (same examples) |"
    ]
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert '<th scope="row">task.margin</th>' in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_study_is_named_by_its_folder(tmp_path, pair):
    for place in ("runs/report", "results/aggregate"):
        home = tmp_path / place.replace("/", "-") / place
        home.parent.mkdir(parents=True)
        home.symlink_to(pair[0])
        assert compare.report_of(home.parents[1]) == home


def test_no_report_and_a_damaged_one_are_one_line(tmp_path, pair):
    with pytest.raises(UserError, match="found no report; expected the folder of a study"):
        compare.compare(tmp_path, pair[0])
    (pair[0] / kept.PARAMS).write_text("{")
    with pytest.raises(UserError, match=f"{pair[0] / kept.PARAMS}: damaged"):
        compare.compare(*pair)
    sealed(pair[0], {})
    with pytest.raises(UserError, match=f"{pair[0]}: not a report that can be compared"):
        compare.compare(*pair)


def test_what_is_not_compared_may_be_changed(pair):
    (pair[0] / "report.html").write_text("a note of mine")
    assert compare.compare(*pair).moved


def test_what_is_kept_is_what_the_table_shows(pair):
    params, results = kept.read(pair[0])
    assert params["task.margin"] == 0.15
    with (pair[0] / "results.csv").open() as file:
        for line in csv.DictReader(file):
            key = tuple(line[name] for name in kept.NAMES)
            assert results[key].mean == pytest.approx(float(line["value"]))
            assert results[key].by_example.mean() == pytest.approx(float(line["value"]))
