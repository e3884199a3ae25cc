"""Stage ``finetune``: train the whole network with the labels of a part of the training examples.

The epoch is chosen on a validation part carved out of the labelled training examples; the test
examples are never seen. Which examples train and validate is written down in ``examples.csv``.
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from videossl.data.loading.example_batches import Chosen, ExampleBatches, ViewBatches
from videossl.data.loading.loader import Batch
from videossl.data.shards.store import ClipStore
from videossl.downstream import examples
from videossl.downstream.choice import choose_grouped, choose_labelled
from videossl.downstream.examples import Examples, Numbers
from videossl.downstream.objective import Objective, Score
from videossl.job import Job, UserError, write_json
from videossl.models import weights
from videossl.train import curve
from videossl.train.inference import outputs_of
from videossl.train.loop import Recipe, fit
from videossl.train.task import Task

if TYPE_CHECKING:
    from videossl.study.reads import FinetuneParams
    from videossl.study.schema import Finetune


class Supervised(Task):
    """An objective, for the loop; keeps the weights of the epoch that is best on validation."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        head_lr: float,
        validate: Callable[[nn.Module], Score] | None,
    ) -> None:
        self.module, self.objective, self.head_lr = model, objective, head_lr
        self.validate = validate
        self.best: dict[str, Any] = {"score": [], "epoch": 0, "state": {}, "seen": {}}

    def factor(self, name: str) -> float:
        """What is not the encoder's has a rate of its own."""
        return 1.0 if name.startswith("encoder.") else self.head_lr

    def step(
        self, clips: list[Tensor], batch: Batch, backward: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """One supervised step."""
        target = self.objective.target(batch)
        outputs = self.objective.forward(self.module, clips[0], batch)
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
        UserError: the loss is no longer finite, there are no training examples, or a class that is
            never flipped is unknown.
    """
    spec = params.finetune
    found = examples.read(job.input("examples"))
    store = ClipStore(job.input("shards"))
    numbers = found.part(job.split, "train")
    chosen, aside = _choose(found, numbers, spec, job.seed)
    training, validation = numbers[chosen], numbers[aside]
    _write_chosen(found, training, validation, job.out / examples.TABLE)
    found = found.knowing(np.concatenate([training, validation]))

    torch.manual_seed(job.seed)
    path = job.input("weights") / "encoder.safetensors"
    network = weights.backbone_of(path)
    if spec.dilated:
        network = weights.dilated(network, path)
    encoder = weights.load_encoder(path, network)
    objective: Objective = job.modules["objective"].build(found.knowing(training))
    model = objective.network(encoder, spec.dropout)

    def loaded(numbers: Numbers) -> Chosen:
        frames = None if found.frames is None else found.frames[numbers]
        videos = found.stored(store, numbers)
        return Chosen(numbers, videos, frames, objective.whole, spec.clip, spec.sampling)

    judge: Objective = job.modules["objective"].build(found.knowing(validation))
    views = ViewBatches(store, loaded(validation), 1, 1, spec.batch_size)

    def validate(module: nn.Module) -> Score:
        outputs = outputs_of(module, views, job.threads, encoder.colours, judge.forward)
        return judge.validate(outputs, validation)

    task = Supervised(model, objective, spec.head_lr, validate if len(validation) else None)
    task.colours = encoder.colours
    batches = ExampleBatches(
        store,
        loaded(training),
        spec.augment,
        spec.batch_size,
        job.seed,
        _never_flipped(found, training, spec, job.key["test"]),
    )
    recipe = Recipe(params.optimizer, spec.epochs, spec.clip.size, spec.precision, job.seed)
    rows = fit(job, task, batches, recipe)
    model.load_state_dict(task.best["state"])
    weights.save(model, network, job.out / "classifier.safetensors")
    curve.write(rows, job.out / "curve.tsv")
    counts = {"training_examples": len(training), "validation_examples": len(validation)}
    write_json(
        job.out / "metrics.json", {**counts, "epoch": task.best["epoch"], **task.best["seen"]}
    )


def _choose(
    found: Examples, numbers: Numbers, spec: Finetune, seed: int
) -> tuple[list[int], list[int]]:
    """Positions in ``numbers`` that train and that validate."""
    if found.frames is None and isinstance(found.targets, np.ndarray):
        labels = found.targets[numbers].tolist()
        return choose_labelled(labels, spec.share, spec.validation, seed)
    videos = [found.videos[number] for number in numbers]
    return choose_grouped(videos, spec.share, spec.validation, seed)


def _never_flipped(found: Examples, training: Numbers, spec: Finetune, test: str) -> list[int]:
    """The training examples of classes that a mirror would turn into another class."""
    known = {name: label for label, name in enumerate(found.classes)}
    for name in spec.never_flipped:
        if name not in known:
            raise UserError(
                f"finetune.{test}.never_flipped: found {name!r}; must be classes of "
                f"data.{spec.data}, such as {found.classes[0]!r}"
            )
    chosen = {known[name] for name in spec.never_flipped}
    return [n for n in training.tolist() if chosen & {*examples.labels_of(found.targets[n])}]


def _write_chosen(found: Examples, training: Numbers, validation: Numbers, path: Path) -> None:
    """A row per example that is used, with the part it plays."""
    part = {
        **dict.fromkeys(training.tolist(), "train"),
        **dict.fromkeys(validation.tolist(), "val"),
    }
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["example", "video", "frame", "target", "part"])
        for number in sorted(part):
            columns = examples.columns(found, number)
            table.writerow([number, *columns, part[number]])
