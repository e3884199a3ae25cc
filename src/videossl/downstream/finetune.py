"""Stage ``finetune``: train the whole network with the labels of a part of the training examples.

The epoch is chosen on a validation part carved out of the labelled training examples; the test
examples are never seen. Which examples train and validate is written down in ``examples.csv``.
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from videossl.data.loading.loader import Batch, TrainBatches
from videossl.data.loading.sampling import ClipRequest, random_start, span, window
from videossl.data.shards.store import ClipStore
from videossl.downstream import examples
from videossl.downstream.examples import Examples, Numbers
from videossl.job import Job, write_json
from videossl.models import weights
from videossl.train import curve
from videossl.train.inference import per_clip
from videossl.train.loop import Recipe, fit
from videossl.train.task import Task

if TYPE_CHECKING:
    from videossl.study.reads import FinetuneParams


def choose_labelled(
    labels: Sequence[int], share: float, validation: float, seed: int
) -> tuple[list[int], list[int]]:
    """Positions of the labelled videos for training and for validation, class by class.

    Each class gives ``share`` of its videos, rounded, at least one for training; of those,
    ``validation`` are kept aside, rounded, at least one where a class gives two or more; none where
    it is 0.
    """
    train: list[int] = []
    kept: list[int] = []
    for label in sorted(set(labels)):
        members = [i for i, x in enumerate(labels) if x == label]
        order = np.random.default_rng([seed, label]).permutation(members).tolist()
        count = max(1, round(share * len(members)))
        aside = min(count - 1, max(1, round(validation * count))) if validation else 0
        kept += order[:aside]
        train += order[aside:count]
    return sorted(train), sorted(kept)


class Supervised(Task):
    """An objective, for the loop; keeps the weights of the epoch that is best on validation."""

    def __init__(
        self,
        model: nn.Module,
        objective: ModuleType,
        targets: Tensor,
        validate: Callable[[nn.Module], tuple[list[float], dict[str, float]]] | None,
    ) -> None:
        self.module, self.objective, self.targets = model, objective, targets
        self.validate = validate
        self.best: dict[str, Any] = {"score": [], "epoch": 0, "state": {}, "seen": {}}

    def step(
        self, clips: list[Tensor], batch: Batch, backward: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """One supervised step."""
        self.targets = self.targets.to(batch.example.device)
        target = self.targets[batch.example]
        outputs = self.module(clips[0])
        loss = self.objective.loss(outputs, target)
        backward(loss)
        return {"loss": loss.detach(), **self.objective.seen(outputs, target)}

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Validate, and keep the weights if they are the best so far.

        Without validation the last epoch is the best.
        """
        score, seen = ([float(epoch)], {}) if self.validate is None else self.validate(self.module)
        if score > self.best["score"]:
            state = copy.deepcopy(self.module.state_dict())
            self.best = {"score": score, "epoch": epoch, "state": state, "seen": seen}
        return seen

    def extra(self) -> dict[str, Any]:
        """The best weights so far."""
        return self.best

    def restore(self, extra: dict[str, Any]) -> None:
        """Take them back."""
        self.best = extra


def run(job: Job, params: FinetuneParams) -> None:
    """Write ``classifier.safetensors`` of the chosen epoch, the curve, and who trained it.

    Raises:
        UserError: the loss is no longer finite, or there are no training examples.
    """
    spec, clip, objective = params.finetune, params.finetune.clip, job.modules["objective"]
    found = examples.read(job.input("examples"))
    store = ClipStore(job.input("shards"))
    numbers = found.part(job.split, "train")
    labels = found.targets[numbers].tolist()
    chosen, aside = choose_labelled(labels, spec.share, spec.validation, job.seed)
    training, validation = numbers[chosen], numbers[aside]
    _write_chosen(found, training, validation, job.out / examples.TABLE)

    torch.manual_seed(job.seed)
    path = job.input("weights") / "encoder.safetensors"
    encoder = weights.load_encoder(path)
    model = objective.build(encoder, found, spec.dropout)
    targets = objective.targets(found)
    videos = found.stored(store, validation)

    def validate(module: nn.Module) -> tuple[list[float], dict[str, float]]:
        outputs = per_clip(
            module, store, videos, clip, 1, spec.batch_size, job.threads, encoder.colours
        )
        result: tuple[list[float], dict[str, float]] = objective.validate(
            torch.from_numpy(outputs[:, 0]), targets[torch.from_numpy(validation)]
        )
        return result

    def requests(rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        start = random_start(rng, num_frames, span(clip.frames, clip.stride))
        return [ClipRequest(window(num_frames, start, clip.frames, clip.stride), 0)]

    task = Supervised(model, objective, targets, validate if videos else None)
    task.colours = encoder.colours
    batches = TrainBatches(
        store,
        found.stored(store, training),
        requests,
        spec.augment,
        spec.batch_size,
        job.seed,
        examples=training.tolist(),
    )
    recipe = Recipe(params.optimizer, spec.epochs, clip.size, spec.precision, job.seed)
    rows = fit(job, task, batches, recipe)
    model.load_state_dict(task.best["state"])
    weights.save(model, weights.backbone_of(path), job.out / "classifier.safetensors")
    curve.write(rows, job.out / "curve.tsv")
    counts = {"training_examples": len(training), "validation_examples": len(validation)}
    write_json(
        job.out / "metrics.json", {**counts, "epoch": task.best["epoch"], **task.best["seen"]}
    )


def _write_chosen(found: Examples, training: Numbers, validation: Numbers, path: Path) -> None:
    """A row per example that is used, with the part it plays."""
    part = {
        **dict.fromkeys(training.tolist(), "train"),
        **dict.fromkeys(validation.tolist(), "val"),
    }
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["example", "video", "target", "part"])
        for number in sorted(part):
            target = int(found.targets[number])
            table.writerow([number, found.videos[number], target, part[number]])
