"""Stage ``finetune``: train the whole network with the labels of a part of the training videos.

The epoch is chosen on a validation part carved out of the labelled training videos; the test
videos are never seen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.data.loading.loader import Batch, TrainBatches
from videossl.data.loading.sampling import ClipRequest, random_start, span, window
from videossl.data.shards.store import ClipStore
from videossl.job import Job, write_json
from videossl.models import weights
from videossl.models.classifier import Classifier
from videossl.train import curve
from videossl.train.device import pick_device
from videossl.train.inference import per_clip
from videossl.train.loop import Recipe, fit
from videossl.train.task import Task

if TYPE_CHECKING:
    from videossl.study.params import FinetuneParams


def choose_labelled(
    labels: Sequence[int], share: float, validation: float, seed: int
) -> tuple[list[int], list[int]]:
    """Positions of the labelled videos for training and for validation, class by class.

    Each class gives ``share`` of its videos, rounded, at least one for training; of those,
    ``validation`` are kept aside, rounded, at least one where a class gives two or more.
    """
    train: list[int] = []
    kept: list[int] = []
    for label in sorted(set(labels)):
        members = [i for i, x in enumerate(labels) if x == label]
        order = np.random.default_rng([seed, label]).permutation(members).tolist()
        count = max(1, round(share * len(members)))
        aside = min(count - 1, max(1, round(validation * count)))
        kept += order[:aside]
        train += order[aside:count]
    return sorted(train), sorted(kept)


class Classification(Task):
    """Cross-entropy; keeps the weights of the epoch that is best on the validation part."""

    def __init__(
        self, model: nn.Module, validate: Callable[[nn.Module], tuple[float, float]]
    ) -> None:
        self.module = model
        self.validate = validate
        self.best: dict[str, Any] = {"score": [-1.0, 0.0], "epoch": 0, "state": {}}

    def step(
        self, clips: list[Tensor], batch: Batch, backward: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """One supervised step."""
        logits = self.module(clips[0])
        loss = F.cross_entropy(logits.float(), batch.label)
        backward(loss)
        correct = (logits.argmax(1) == batch.label).float().mean()
        return {"loss": loss.detach(), "train_top1": correct.detach()}

    def after_epoch(self, epoch: int) -> dict[str, float]:
        """Validate, and keep the weights if they are the best so far; loss breaks ties."""
        top1, loss = self.validate(self.module)
        score = [top1, -loss]
        if score > self.best["score"]:
            state = copy.deepcopy(self.module.state_dict())
            self.best = {"score": score, "epoch": epoch, "state": state}
        return {"validation_top1": top1, "validation_loss": loss}

    def extra(self) -> dict[str, Any]:
        """The best weights so far."""
        return self.best

    def restore(self, extra: dict[str, Any]) -> None:
        """Take them back."""
        self.best = extra


def run(job: Job, params: FinetuneParams) -> None:
    """Write ``classifier.safetensors`` (of the chosen epoch), ``curve.tsv``, ``metrics.json``."""
    torch.set_num_threads(job.threads)
    spec, clip = params.finetune, params.clip
    store = ClipStore(job.input("shards"))
    videos = store.members(params.split, "train")
    labels = [store.videos[v].label for v in videos]
    chosen, aside = choose_labelled(labels, spec.labels, spec.validation, params.seed)
    training, validation = [videos[i] for i in chosen], [videos[i] for i in aside]

    torch.manual_seed(params.seed)
    encoder = job.modules["backbone"].build(params.model)
    weights.load(encoder, job.input("weights") / "encoder.safetensors")
    model = Classifier(encoder, len(store.classes), spec.dropout)

    def validate(module: nn.Module) -> tuple[float, float]:
        if not validation:
            return 0.0, 0.0
        size, device = spec.batch_size, pick_device()
        logits = per_clip(module, store, validation, clip, 1, size, device, job.threads)[:, 0]
        truth = torch.tensor([store.videos[v].label for v in validation])
        scores = torch.from_numpy(logits)
        top1 = (scores.argmax(1) == truth).float().mean()
        return float(top1), float(F.cross_entropy(scores, truth))

    def requests(rng: np.random.Generator, num_frames: int) -> list[ClipRequest]:
        start = random_start(rng, num_frames, span(clip.frames, clip.stride))
        return [ClipRequest(window(num_frames, start, clip.frames, clip.stride), 0)]

    task = Classification(model, validate)
    batches = TrainBatches(store, training, requests, spec.augment, spec.batch_size, params.seed)
    recipe = Recipe(
        spec.optimizer,
        spec.epochs,
        params.clip.size,
        spec.precision,
        params.seed,
    )
    rows = fit(job, task, batches, recipe)
    model.load_state_dict(task.best["state"])
    weights.save(model, params.model, job.out / "classifier.safetensors")
    curve.write(rows, job.out / "curve.tsv")
    counts = {"training_videos": len(training), "validation_videos": len(validation)}
    best = {"epoch": task.best["epoch"], "validation_top1": task.best["score"][0]}
    write_json(job.out / "metrics.json", {**counts, **best})
