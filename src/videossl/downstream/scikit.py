"""What is used of scikit-learn, which takes most of a second to import.

It takes pandas along where that is installed, to tell tables from arrays. Nothing here hands it a
table, and without pandas its import takes a fifth less. Import this where it is called, if most of
the stages that can reach the call never make it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _left_out(name: str) -> Iterator[None]:
    """In the block a module that is not imported yet is as if it were not installed."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


with _left_out("pandas"):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.svm import SVC

__all__ = [
    "SVC",
    "ConvergenceWarning",
    "LogisticRegression",
    "average_precision_score",
    "roc_auc_score",
]
