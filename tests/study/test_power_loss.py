"""After a loss of power an output is whole or absent: on a real ext4, from its journal."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from videossl.job import UserError
from videossl.study import publication, records

IMAGE_BYTES = 32 << 20
COMMIT_SECONDS = 1  # between two writes of ext4's journal
CONTENT = {name: os.urandom(size) for name, size in (("big", 300_000), ("small", 10), ("no", 0))}


def run(*command: object) -> None:
    """Run a tool of the system."""
    subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The file system of an image; its journal is replayed first, as after a loss of power."""
    folder.mkdir()
    run("mount", "-o", f"loop,commit={COMMIT_SECONDS}", image, folder)
    try:
        yield folder
    finally:
        run("umount", folder)
        folder.rmdir()


class Disk:
    """A mounted ext4, and copies of what had reached it at moments when the power might go."""

    def __init__(self, image: Path, root: Path, copies: Path) -> None:
        self.image, self.root, self.copies = image, root, copies
        copies.mkdir()

    def lose_power(self) -> None:
        """Keep what is on the disk now. What the system still holds in memory is not there."""
        target = self.copies / f"{len(list(self.copies.iterdir())):03d}.img"
        shutil.copyfile(self.image, target)
        while target.read_bytes() != self.image.read_bytes():  # it was written meanwhile
            shutil.copyfile(self.image, target)

    def after_each(self, out: Path) -> Iterator[str]:
        """What a machine finds at ``out`` after each of the losses."""
        for copy in sorted(self.copies.iterdir()):
            with mounted(copy, self.copies.parent / "after") as root:
                yield found(root / out.relative_to(self.root))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Skipped where nothing can be mounted."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    try:
        run("mkfs.ext4", "-q", "-F", image)
        with mounted(image, tmp_path / "disk") as root:
            yield Disk(image, root, tmp_path / "copies")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no ext4 can be mounted here: {error}")


def write(folder: Path, version: int) -> None:
    """An output of several files and a folder."""
    (folder / "below").mkdir()
    for name, content in CONTENT.items():
        (folder / "below" / name).write_bytes(content)
    (folder / "version").write_text(str(version))
    head = {"stage": "s", "key": {}, "fingerprint": str(version), "params": {}}
    records.write({**head, "files": records.digests(folder)}, folder)


def found(out: Path) -> str:
    """The version that is whole at ``out``; or that nothing is there, or what is wrong."""
    if not out.exists():
        return "absent"
    try:
        record = records.check(out, whole=True)
    except UserError as error:
        return f"damaged: {error}"
    assert (out / "version").read_text() == record["fingerprint"]
    return str(record["fingerprint"])


@pytest.mark.slow
def test_an_output_is_whole_or_absent_after_a_loss_of_power(disk, monkeypatch):
    out = disk.root / "runs" / "pretrain" / "out"
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda file: (sync(file), disk.lose_power()))
    monkeypatch.setattr(os, "rename", lambda old, new: (rename(old, new), disk.lose_power()))
    ends = []
    for version in range(3):
        with publication.made(out) as part:
            write(part, version)
            disk.lose_power()
        disk.lose_power()
        ends.append(len(list(disk.copies.iterdir())) - 1)
    seen = list(disk.after_each(out))
    assert set(seen) == {"absent", "0", "1", "2"}
    assert [seen[end] for end in ends] == ["0", "1", "2"]  # what was said to be done is there
    assert seen == sorted(seen, key=lambda what: -1 if what == "absent" else int(what))


@pytest.mark.slow
def test_without_syncing_an_output_can_be_there_and_damaged(disk, monkeypatch):
    """The fault that the test above looks for, so that it is known to see it."""
    monkeypatch.setattr(publication, "sync_tree", lambda folder: None)
    monkeypatch.setattr(publication, "sync_folder", lambda folder: None)
    out = disk.root / "out"
    with publication.made(out) as part:
        write(part, 0)
    for _ in range(20):
        time.sleep(COMMIT_SECONDS / 4)
        disk.lose_power()
    assert any(what.startswith("damaged") for what in disk.after_each(out))


@pytest.mark.slow
def test_a_stage_that_ended_is_there_after_a_loss_of_power(disk, study):
    study.shrink([])
    out = disk.root / "results" / "scratch"
    study.run("videossl", "initialize", "scratch", "--seed", "0", "--out", str(out))
    disk.lose_power()
    (copy,) = disk.copies.iterdir()
    with mounted(copy, disk.copies.parent / "after") as root:
        records.check(root / out.relative_to(disk.root), whole=True)
