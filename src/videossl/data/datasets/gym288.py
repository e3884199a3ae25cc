"""FineGym's element level, Gym288 (Shao et al., CVPR 2020).

The layout is Gym99's with ``gym288`` in place of ``gym99`` in the lists' names; one folder of clips
may serve both. Many of the 288 classes are rare, and some have no element in validation.
"""

from __future__ import annotations

from pathlib import Path

from videossl.data.datasets.gym99 import LABELS, read_release
from videossl.data.datasets.index import Index

__all__ = ["LABELS", "read"]


def read(root: Path, missing: float = 0.0) -> Index:
    """The index of Gym288 under ``root``, as ``gym99.read_release`` has it."""
    return read_release(root, missing, "gym288")
