"""Optimisers, schedules and clipping once more, in NumPy and float64, from the papers' formulas.

Nothing here is taken from ``videossl.train``: the recorded loop is compared with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from videossl.study.schema import Optimizer

Array = NDArray[np.float64]
Arrays = dict[str, Array]


def rate(spec: Optimizer, step: int, epochs: int, per_epoch: int, batch_size: int) -> float:
    """The learning rate of step ``step``, counted from 0."""
    highest = spec.lr
    if spec.lr_base_size != "none":
        highest = spec.lr / spec.lr_base_size * batch_size
    begin, end = spec.warmup_epochs * per_epoch, epochs * per_epoch

    def at(position: int) -> float:
        if spec.schedule == "cosine":
            angle = math.pi * (position - begin) / (end - begin)
        elif spec.schedule == "cosine_from_start":
            angle = math.pi * position / end
        elif spec.schedule == "steps":
            done = [m for m in spec.milestones if position >= m * end - 0.5]
            return highest * math.prod(spec.factor for _ in done)
        else:
            return highest
        low = highest * spec.lowest
        return low + (highest - low) * (math.cos(angle) + 1) / 2

    return at(begin) / begin * (step + 1) if step < begin else at(step)


def clipped(gradient: Mapping[str, Array], largest: float) -> Arrays:
    """The gradient, shortened to the norm ``largest`` if it is longer; 0 is no limit."""
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
    # torch adds 1e-6 to the norm
    short = largest / (norm + 1e-6) if largest and norm + 1e-6 > largest else 1.0
    return {name: g * short for name, g in gradient.items()}


class Transcribed:
    """One optimiser, following ``spec``; ``weights`` are its own copy."""

    def __init__(self, spec: Optimizer, weights: Mapping[str, Array]) -> None:
        self.spec = spec
        self.weights = {name: w.copy() for name, w in weights.items()}
        self.first: Arrays = {}
        self.second: Arrays = {}
        self.steps = 0

    def step(self, gradient: Mapping[str, Array], lr: float) -> None:
        """Move the weights."""
        self.steps += 1
        for name, g in gradient.items():
            w = self.weights[name]
            decay = self.spec.weight_decay if w.ndim > 1 or self.spec.decay_norms else 0.0
            if self.spec.name == "sgd":
                self.weights[name] = w - lr * self._momentum(name, g + decay * w)
            elif self.spec.name == "lars":
                local = 1.0
                if w.ndim > 1:
                    size = np.linalg.norm(w)
                    local = 0.001 * size / (np.linalg.norm(g) + decay * size + 1e-8)
                self.weights[name] = w - lr * self._momentum(name, local * (g + decay * w))
            elif self.spec.name == "adamw":
                self.weights[name] = (1 - lr * decay) * w - lr * self._adam(name, g, 1e-8)
            else:
                update = self._adam(name, g, 1e-6) + decay * w
                if w.ndim > 1:
                    update = update * (np.linalg.norm(w) / np.linalg.norm(update))
                self.weights[name] = w - lr * update

    def _momentum(self, name: str, g: Array) -> Array:
        """The heavy ball, or Nesterov's look ahead as Sutskever et al. (ICML 2013) write it."""
        mu = self.spec.momentum
        v = mu * self.first[name] + g if name in self.first else g
        self.first[name] = v
        return g + mu * v if self.spec.nesterov else v

    def _adam(self, name: str, g: Array, eps: float) -> Array:
        """Kingma and Ba (ICLR 2015), algorithm 1."""
        b1, b2 = self.spec.momentum, 0.999
        m = b1 * self.first.get(name, np.zeros_like(g)) + (1 - b1) * g
        v = b2 * self.second.get(name, np.zeros_like(g)) + (1 - b2) * g**2
        self.first[name], self.second[name] = m, v
        return (m / (1 - b1**self.steps)) / (np.sqrt(v / (1 - b2**self.steps)) + eps)
