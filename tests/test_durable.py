"""A folder that its file system cannot sync is no error, and any other refusal is one."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from videossl import durable


@pytest.fixture
def refusing(monkeypatch):
    """Set the error that syncing a folder ends in; files are synced as ever."""
    real = os.fsync

    def refuse(code: int) -> None:
        def fsync(number: int) -> None:
            if Path(f"/proc/self/fd/{number}").is_dir():
                raise OSError(code, os.strerror(code))
            real(number)

        monkeypatch.setattr(os, "fsync", fsync)

    return refuse


def test_folders_that_cannot_be_synced(tmp_path, refusing):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("x")
    refusing(errno.EINVAL)
    durable.sync_tree(tmp_path)


def test_a_disk_that_refuses(tmp_path, refusing):
    refusing(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        durable.sync_folder(tmp_path)


def test_no_descriptor_is_left_open(tmp_path, refusing):
    before = len(list(Path("/proc/self/fd").iterdir()))
    refusing(errno.EIO)
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output"):
            durable.sync_tree(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_digest_is_of_the_bytes(tmp_path):
    path = Path(tmp_path, "file")
    path.write_bytes(bytes(range(256)) * 5000)
    assert durable.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
