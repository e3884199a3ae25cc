"""What is stored is looked after: every byte verified, leftovers found, what runs left alone."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from videossl import cli
from videossl.job import UserError
from videossl.study import disk, execution, ownership, publication, records
from videossl.study.graph import Graph
from videossl.study.stages import Instance, instance

SELECT = instance("select", "probe", "synthetic")
OLD = Path("select", "probe", "gone", "0123456789ab")


def stored(planned: Graph, node: Instance, folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "shard.lmdb").write_bytes(b"frames" * 10)
    record = {
        **{"stage": node.stage, "key": dict(node.key), "code": {}},
        **{"fingerprint": planned.fingerprint(node), "params": planned.leaves(node)},
        "files": records.digests(folder),
    }
    records.write(record, folder)
    return folder


def test_verify_reads_every_byte(planned, capsys):
    folder = stored(planned, SELECT, Path("runs", planned.path(SELECT)))
    assert cli.main(["runs", "--verify"]) == 0
    assert "1 outputs" in capsys.readouterr().out
    (folder / "shard.lmdb").write_bytes(b"framez" + b"frames" * 9)
    records._checked.clear()
    assert cli.main(["runs", "--verify"]) == 2
    said = capsys.readouterr().out
    assert "shard.lmdb: damaged (other bytes than were written); it is of the output of" in said
    assert "select/probe/synthetic" in said


def test_a_record_that_was_changed_is_refused(planned):
    folder = stored(planned, SELECT, Path("out"))
    record = records.read(folder)
    text = (folder / publication.RECORD).read_text()
    (folder / publication.RECORD).write_text(text.replace(record["fingerprint"], "f" * 12))
    with pytest.raises(UserError, match=r"stage\.json: damaged .*remove out and run again"):
        records.read(folder)


def test_prune_takes_leftovers_and_damage_but_nothing_that_runs(planned, capsys):
    kept = stored(planned, SELECT, Path("runs", planned.path(SELECT)))
    damaged = stored(planned, SELECT, Path("runs", OLD))
    (damaged / publication.RECORD).write_text("{")
    fingerprint = planned.path(SELECT)
    left = [
        kept.with_name(f".{kept.name}.123.part"),
        Path("results/embed/.synthetic.77.old"),
        Path("scratch", OLD),
        Path("scratch/parts", OLD),
        Path("scratch/.digests.json.5.part"),
    ]
    running = Path("runs/test/.0123456789ab.9.part")
    resumed = Path("scratch", fingerprint)
    abandoned_but_held = Path("scratch/embed/x/0123456789ab")
    for folder in (*left, running, resumed, abandoned_but_held):
        folder.mkdir(parents=True)
    locks = (
        ownership.lock_of_place(Path("runs/test/0123456789ab")),
        ownership.lock_of("embed", "x", "0123456789ab"),
    )
    with ownership.owned(locks[0], "x"), ownership.owned(locks[1], "y"):
        assert cli.main(["prune"]) == 0
        said = capsys.readouterr().out
        assert "would remove (say --yes to do it) 1 outputs and 5 leftovers" in said
        assert all(str(path) in said for path in (*left, damaged))
        assert all(path.exists() for path in left)
        assert cli.main(["prune", "--yes"]) == 0
    assert not any(path.exists() for path in (*left, damaged))
    assert all(path.exists() for path in (kept, running, resumed, abandoned_but_held))


def test_what_another_process_made_meanwhile_is_taken(planned, monkeypatch):
    out = stored(planned, SELECT, Path("out"))
    monkeypatch.setattr(execution, "_run", lambda *_: pytest.fail("made again"))
    answers = iter([False, True])
    monkeypatch.setattr(ownership, "_taken", lambda _: next(answers))
    execution.execute(planned, SELECT, {}, out)
    (out / "shard.lmdb").write_bytes(b"other")
    answers = iter([False, True])
    with pytest.raises(UserError, match="takes 1 folders as videos"):
        execution.execute(planned, SELECT, {}, out)


def test_a_disk_that_refuses_is_one_line(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x" / "encoder"))
    with pytest.raises(UserError) as caught, disk.explained(tmp_path):
        raise full
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}/x/encoder: No space left on device (")
    assert "GB are free there); `videossl prune` lists what no study needs; then run" in line
    tree = shutil.Error([("a", "results/a", "[Errno 5] Input/output error")])
    wanted = r"^results/a: \[Errno 5\] Input/output error \("
    with pytest.raises(UserError, match=wanted), disk.explained(tmp_path):
        raise tree
