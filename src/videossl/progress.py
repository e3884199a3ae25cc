"""How far a stage is: a small file that it rewrites now and then, for ``videossl status``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

FILE = "progress.json"
EVERY_SECONDS = 2.0  # between two writes: they cost a training nothing


class Progress:
    """Tells of a loop with a known number of steps.

    A disk that refuses costs the news, not the stage.
    """

    def __init__(self, folder: Path, steps: int, done: int = 0) -> None:
        self.file, self.steps, self.done, self.began_at = folder / FILE, steps, done, done
        self.begin = time.monotonic()
        self.told = float("-inf")
        self.facts: dict[str, float] = {}

    def step(self, count: int = 1, /, **facts: float) -> None:
        """So many more steps are done; ``facts`` are remembered until they are given again."""
        self.done += count
        self.facts |= facts
        now = time.monotonic()
        if now - self.told >= EVERY_SECONDS or self.done == self.steps:
            self.told = now
            self._tell(now - self.begin)

    def _tell(self, seconds: float) -> None:
        news = {
            "step": self.done,
            "steps": self.steps,
            "steps_per_second": (self.done - self.began_at) / max(seconds, 1e-9),
            **self.facts,
        }
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(news), encoding="ascii")
        except OSError:
            self.told = float("inf")  # it is not tried again


def read(folder: Path) -> dict[str, Any]:
    """The last news of a stage; empty where there is none, or where it is being written now."""
    try:
        news = json.loads((folder / FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return news if isinstance(news, dict) and {"step", "steps"} <= set(news) else {}
