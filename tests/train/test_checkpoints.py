"""Checkpoints: whole or as they were, verified before use; what is damaged is passed by."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from support.toy import Toy, fit
from videossl.job import Stopped, UserError
from videossl.train import checkpoint

CPU = torch.device("cpu")
RUN = bytes(32)
T = checkpoint.TRAILER


def sealed(payload: bytes, trailer: bytes) -> bytes:
    """A file with a digest that fits."""
    return payload + trailer + hashlib.sha256(payload + trailer).digest()


def flip(data: bytes, place: int) -> bytes:
    out = bytearray(data)
    out[place] ^= 0x40  # in a float32 of the right order: its exponent
    return bytes(out)


def zero(data: bytes, begin: int, end: int) -> bytes:
    return data[:begin] + bytes(end - begin) + data[end:]


def plain(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", b"no pickle")
    return buffer.getvalue()


NOISE = np.random.default_rng(0).bytes(1 << 16)
Damage = Callable[[bytes], bytes]
BYTES: dict[str, Damage] = {
    **{
        f"cut at {share:.0%}": lambda d, share=share: d[: int(share * len(d))]
        for share in (0.001, 0.1, 0.25, 0.5, 0.75, 0.99)
    },
    **{f"cut by {n}": lambda d, n=n: d[:-n] for n in (1, 32, 64, T - 1, T, T + 1)},
    "empty": lambda d: b"",
    "one byte": lambda d: d[:1],
    "zeros": lambda d: bytes(len(d)),
    "zeros in front": lambda d: zero(d, 0, 512),
    "zeros in a block": lambda d: zero(d, 4096, 8192),
    "zeros behind": lambda d: zero(d, len(d) // 2, len(d)),
    "noise": lambda d: NOISE[: len(d)],
    "noise in front": lambda d: NOISE[:512] + d[512:],
    "noise behind": lambda d: d[:-512] + NOISE[:512],
    "a byte more": lambda d: d + b"\0",
    "twice": lambda d: d + d,
    **{
        f"bit at {share:.0%}": lambda d, share=share: flip(d, int(share * (len(d) - T)))
        for share in (0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
    },
    **{f"bit in the trailer {n}": lambda d, n=n: flip(d, -n) for n in (1, 33, 65, T)},
    "other version": lambda d: sealed(d[:-T], checkpoint.NAME + b"0002" + d[-64:-32]),
    "sealed, no pickle": lambda d: sealed(zipped(), d[-T:-32]),
    "sealed, no state": lambda d: sealed(plain([1]), d[-T:-32]),
    "torch's own": lambda d: plain({"step": 8}),
    "text": lambda d: b"step: 8\n" * 100,
    "zip": lambda d: zipped(),
}


def folder(path: Path) -> None:
    path.mkdir()
    (path / "mine.txt").write_text("kept")


def loop_of_links(path: Path) -> None:
    path.symlink_to(path)


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


PLACES: dict[str, Callable[[Path], None]] = {
    "folder": folder,
    "empty folder": Path.mkdir,
    "loop of links": loop_of_links,
    "dangling link": dangling,
    "pipe": os.mkfifo,
}
OTHERS = ("seed", "rate", "network", "schedule")  # runs whose checkpoints are exchanged with ours


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Scratch folders of runs that were stopped at step 7, and the end of the first."""
    torch.set_num_threads(1)
    out = {}
    changes = {"seed": {"seed": 1}, "rate": {"lr": 0.05}, "schedule": {"schedule": "constant"}}
    for name in ("ours", *OTHERS):
        task = Toy(7)
        if name == "network":
            task.module[6] = torch.nn.Linear(4, 3)
        out[name] = tmp_path_factory.mktemp(name)
        with pytest.raises(Stopped):
            fit(out[name], task, **changes.get(name, {}))
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, torch.Tensor]:
    torch.set_num_threads(1)
    task = Toy()
    fit(tmp_path_factory.mktemp("whole"), task)
    return task.module.state_dict()


def put(path: Path, kind: str, runs: dict[str, Path]) -> None:
    """Damage of one kind in place of the file ``path``."""
    data = path.read_bytes()
    path.unlink()
    if kind in PLACES:
        PLACES[kind](path)
    elif kind in OTHERS:
        path.write_bytes((runs[kind] / "scratch" / "checkpoint.pt").read_bytes())
    else:
        damaged = BYTES[kind](data)
        assert damaged != data
        path.write_bytes(damaged)


def again(path: Path, runs: dict[str, Path], kinds: dict[str, str]) -> tuple[Path, Toy]:
    """Resume the run that was stopped, after damage to some of its files."""
    scratch = path / "scratch"
    scratch.mkdir(parents=True)
    for name in ("checkpoint.pt", "good.pt"):
        (scratch / name).write_bytes((runs["ours"] / "scratch" / name).read_bytes())
        if name in kinds:
            put(scratch / name, kinds[name], runs)
    task = Toy()
    fit(path, task)
    return scratch, task


def said(capsys) -> str:
    """The line on what was found; there is one."""
    (line,) = [x for x in capsys.readouterr().out.splitlines() if not x.startswith("step ")]
    return line


def assert_same(task: Toy, whole: dict[str, torch.Tensor]) -> None:
    for name, value in task.module.state_dict().items():
        assert torch.equal(value, whole[name]), name


@pytest.mark.parametrize("kind", [*BYTES, *PLACES, *OTHERS])
def test_a_damaged_checkpoint_is_passed_by(kind, runs, whole, tmp_path, capsys):
    scratch, task = again(tmp_path, runs, {"checkpoint.pt": kind})
    line = said(capsys)
    assert line.startswith(f"{scratch / 'checkpoint.pt'} is not used (")
    assert line.endswith("); resumes at step 6 of 10")
    assert task.steps == 4
    assert_same(task, whole)
    if kind == "folder":
        assert (scratch / "checkpoint.pt.folder1" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    "kind", ["empty", "zeros", "bit at 50%", "folder", "seed", "other version"]
)
def test_without_any_in_order_the_run_starts_anew(kind, runs, whole, tmp_path, capsys):
    _, task = again(tmp_path, runs, {"checkpoint.pt": kind, "good.pt": kind})
    line = said(capsys)
    assert line.count(" is not used (") == 2
    assert line.endswith("; starts anew")
    assert task.steps == 10
    assert_same(task, whole)


def test_in_order_one_line_says_where_it_resumes(runs, whole, tmp_path, capsys):
    _, task = again(tmp_path, runs, {})
    assert said(capsys) == "resumes at step 7 of 10"
    assert task.steps == 3
    assert_same(task, whole)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("cut at 50%", "damaged, or no checkpoint"),
        ("bit at 50%", "damaged: its digest does not fit"),
        ("other version", "another version of this package wrote it"),
        ("seed", "another run wrote it"),
        ("sealed, no pickle", "torch cannot read it"),
        ("folder", "no file"),
        ("dangling link", "No such file or directory"),
    ],
)
def test_the_line_says_why(kind, reason, runs, tmp_path, capsys):
    again(tmp_path, runs, {"checkpoint.pt": kind})
    assert reason in said(capsys)


def test_the_last_good_one_does_not_share_bytes_with_the_newest(tmp_path):
    fit(tmp_path, Toy())
    newest, good = (tmp_path / "scratch" / name for name in ("checkpoint.pt", "good.pt"))
    assert newest.read_bytes() == good.read_bytes()
    assert not newest.samefile(good)


def test_nothing_is_read_before_the_digest_fits(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save({"step": 1}, path, RUN)
    assert checkpoint.load(path, CPU, RUN) == {"step": 1}
    path.write_bytes(flip(path.read_bytes(), 100))
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("interpreted"))
    with pytest.raises(checkpoint.Unusable, match="digest"):
        checkpoint.load(path, CPU, RUN)


def test_files_and_their_folder_reach_the_disk_in_order(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, Path.replace

    def synced(number):
        done.append(("sync", Path(f"/proc/self/fd/{number}").readlink().name))
        sync(number)

    def replaced(self, other):
        done.append(("rename", other.name))
        return replace(self, other)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    checkpoint.save({"step": 1}, tmp_path / "a.pt", RUN)
    checkpoint.keep(tmp_path / "a.pt", tmp_path / "b.pt")
    assert done == [
        *[("sync", ".a.pt.part"), ("rename", "a.pt"), ("sync", tmp_path.name)],
        *[("sync", ".b.pt.part"), ("rename", "b.pt"), ("sync", tmp_path.name)],
    ]


def test_a_disk_that_takes_no_more_is_one_line_and_the_old_file_stays(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save({"step": 1}, path, RUN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, limit[1]))
    try:
        with pytest.raises(
            UserError, match=r"checkpoint.pt: File too large \(\d+\.\d+ GB are free"
        ):
            checkpoint.save({"step": 2, "big": torch.zeros(1 << 16)}, path, RUN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert checkpoint.load(path, CPU, RUN) == {"step": 1}
    assert [child.name for child in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_file_that_cannot_be_read_is_passed_by(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save({"step": 1}, path, RUN)
    broken = OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr(Path, "open", lambda *args, **kwargs: (_ for _ in ()).throw(broken))
    with pytest.raises(checkpoint.Unusable, match="Input/output error"):
        checkpoint.load(path, CPU, RUN)
    assert checkpoint.load(tmp_path / "none.pt", CPU, RUN) is None
