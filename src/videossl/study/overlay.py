"""Lay an overlay over ``params.yaml``, keeping its comments."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videossl.job import UserError
from videossl.study import params


def merge(base: Any, overlay: Mapping[str, Any], prefix: str = "") -> None:
    """Lay ``overlay`` over ``base`` in place: mappings merge, anything else replaces.

    A value of null removes the key: ``methods: {rspnet: null}`` takes RSPNet out of the study.
    """
    for key, value in overlay.items():
        if value is None:
            if key not in base:
                raise UserError(f"{prefix}{key}: cannot be removed, it is not there")
            del base[key]
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            merge(base[key], value, f"{prefix}{key}.")
        else:
            base[key] = value


def overlaid(overlay: Path, base: Path = params.DEFAULT) -> tuple[Any, str]:
    """``base`` with ``overlay`` laid over it: the document (with comments) and its text.

    Raises:
        UserError: either file is invalid, or the result is.
    """
    changes = params.read(overlay)
    params.read(base)
    document = params.yaml().load(base.read_text(encoding="utf-8"))
    try:
        merge(document, changes)
    except UserError as error:
        raise UserError(f"{overlay}: {error}") from None
    text = io.StringIO()
    params.yaml().dump(document, text)
    params.validate(params.parse(text.getvalue(), str(overlay)), f"{base} with {overlay}")
    return document, text.getvalue()


def configure(overlay: Path, base: Path = params.DEFAULT) -> None:
    """Write ``base`` with ``overlay`` laid over it, by one rename."""
    _, text = overlaid(overlay, base)
    part = base.with_name(f".{base.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(base)
