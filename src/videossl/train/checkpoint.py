"""Checkpoints: everything a run needs to resume, outside its outputs, verified before it is read.

A file is what ``torch.save`` wrote and a trailer: the name of this format, the identity of the run,
and the SHA-256 of all bytes before it. Nothing of a file is interpreted before the digest fits.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import nn

from videossl.durable import sync_folder
from videossl.job import UserError

NAME, VERSION = b"videossl checkpoint ", b"0001"  # the version counts up with the format
IDENTITY = 32  # bytes
TRAILER = len(NAME) + len(VERSION) + IDENTITY + hashlib.sha256().digest_size


class Unusable(Exception):
    """A checkpoint cannot be used; the message says why."""


def identity(module: nn.Module, run: Mapping[str, Any]) -> bytes:
    """What tells one run's checkpoints from another's.

    Args:
        module: whose state is in the checkpoints: names, shapes and types of its tensors count.
        run: what else decides what the run computes, as JSON can write it.
    """
    tensors = {
        name: [str(value.dtype), *value.shape] for name, value in module.state_dict().items()
    }
    text = json.dumps({"tensors": tensors, "run": run}, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


class _Hashed(io.RawIOBase):
    """A file to be written, and the digest of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None  # torch may raise another one in its place

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise


def save(state: Mapping[str, Any], path: Path, run: bytes) -> None:
    """Write ``state`` so that ``path`` is whole or as it was, also after a power failure.

    Raises:
        UserError: the disk is full or refuses to be written; ``path`` is as it was.
    """

    def write(file: IO[bytes]) -> None:
        hashed = _Hashed(file)
        try:
            torch.save(dict(state), cast(IO[bytes], hashed))
        except RuntimeError:
            if hashed.error is None:
                raise
        if hashed.error is not None:
            raise hashed.error
        hashed.write(NAME + VERSION + run)
        file.write(hashed.digest.digest())

    _replace(path, write)


def keep(path: Path, name: Path) -> None:
    """Copy a checkpoint to ``name``: damage to the bytes of one leaves the other whole.

    Raises:
        UserError: as ``save``.
    """
    with path.open("rb") as source:
        _replace(name, lambda file: shutil.copyfileobj(source, file, 1 << 20))


def _replace(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for place in (part, path):
            _set_folder_aside(place)
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()  # gives the room back; the first error is the one to be told
        raise UserError(f"{path}: {error.strerror or error}{_free(path.parent)}") from None


def _free(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free / 1e9:.2f} GB are free there)"
    except OSError:
        return ""


def _set_folder_aside(path: Path) -> None:
    """Rename what no rename of a file could replace; it is not ours, so it is not removed."""
    if path.is_dir() and not path.is_symlink():
        number = 1
        while (aside := path.with_name(f"{path.name}.folder{number}")).exists():
            number += 1
        path.rename(aside)


def load(path: Path, device: torch.device, run: bytes) -> dict[str, Any] | None:
    """The state at ``path``, or None where nothing is.

    Raises:
        Unusable: it is damaged, of another version of this format, of another run, or no
            checkpoint at all.
    """
    payload = _verified(path, run)
    if payload is None:
        return None
    try:
        state = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except Exception as error:
        # whole, and of this run: this version of torch cannot read what another one wrote
        raise Unusable(f"torch cannot read it ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise Unusable("it holds no state")
    return state


def _verified(path: Path, run: bytes) -> bytes | None:
    """What ``torch.save`` wrote."""
    try:
        if not os.path.lexists(path):
            return None
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unusable("it is no file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - TRAILER
            payload, trailer = file.read(max(size, 0)), file.read()
    except OSError as error:
        raise Unusable(error.strerror or str(error)) from None
    name, version, identity, digest = _cut(
        trailer, len(NAME), len(VERSION), IDENTITY, hashlib.sha256().digest_size
    )
    if size <= 0 or name != NAME:
        raise Unusable("it is damaged, or no checkpoint")
    found = hashlib.sha256(payload)
    found.update(name + version + identity)
    if found.digest() != digest:
        raise Unusable("it is damaged: its digest does not fit")
    if version != VERSION:
        raise Unusable("another version of this package wrote it")
    if identity != run:
        raise Unusable("another run wrote it")
    return payload


def _cut(data: bytes, *sizes: int) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return parts
