"""Protocol ``attentive``: cross-attention pooling over the stored tokens of a frozen network.

A classifier for each pair of a learning rate and a weight decay is trained at once: every batch is
read once for all of them. The pair is chosen on a validation part of the training examples; the
test part is predicted once, by the chosen one. A step takes one of an example's clips; testing
averages the softmax scores of all of them (V-JEPA, Bardes et al. 2024, trains and tests likewise).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from videossl.downstream import examples, metrics, tokens
from videossl.downstream.choice import choose_labelled
from videossl.downstream.examples import Numbers
from videossl.downstream.metrics import Predictions, Totals, Values
from videossl.job import Job, UserError
from videossl.models.attention import AttentiveClassifier
from videossl.progress import Progress
from videossl.study.schema import Attentive
from videossl.train.device import pick_device
from videossl.train.optim import AdamW, leave_out_the_compiler
from videossl.train.prefetch import prefetch

if TYPE_CHECKING:
    from videossl.study.reads import EvaluateParams

Tokens = NDArray[np.float16]  # (N, clips, L, D)
Step = tuple[Tensor, Tensor]  # tokens (B, L, D) and classes (B,)
ORDER = 0xA77  # sets the order of an epoch apart from what else the seed draws


def run(job: Job, params: EvaluateParams) -> None:
    """Write the scores of the test part, the grid with its validation scores, and top-1 accuracy.

    Raises:
        UserError: the tokens are damaged, their width is no multiple of the heads, no class has two
            training examples, or every classifier diverged.
    """
    spec = params.protocol
    assert isinstance(spec, Attentive)
    found = examples.read(job.input("examples"))
    stored = tokens.read(job.input("features"), len(found.videos))
    width, key = stored.shape[3], f"probe.{job.key['test']}.attentive"
    if width % spec.heads:
        raise UserError(f"{key}.heads = {spec.heads}: must divide the {width} channels of a token")
    train, test = (found.part(job.split, name) for name in ("train", "test"))
    labels = found.knowing(train).targets
    chosen, aside = choose_labelled(labels[train].tolist(), 1.0, spec.validation, job.seed)
    if not aside:
        raise UserError(f"{key}: no class has two training examples, one of them to choose by")
    classifiers = fit(
        stored, labels, train[chosen], spec, len(found.classes), job.seed, _news(job, spec, chosen)
    )
    scored = [_validate(one, stored, labels, train[aside], spec) for one in classifiers]
    best = max(range(len(scored)), key=lambda k: scored[k])
    if not math.isfinite(scored[best][1]):
        raise UserError(f"{key}: every classifier diverged; add a lower rate to {key}.rates")
    grid = [[*pair, *score] for pair, score in zip(pairs(spec), scored, strict=True)]
    scores = predict(classifiers[best], stored, test, spec.batch_size)
    predictions = {"labels": found.targets[test], "scores": scores}
    more = {"grid": np.array(grid), "chosen": np.array(best)}
    metrics.write(job, "attentive", test, *measure(predictions, spec), **predictions, **more)


def measure(predictions: Predictions, spec: Attentive) -> tuple[Values, Totals]:
    """Top-1, from predictions alone."""
    return metrics.topk(predictions["scores"], predictions["labels"], [1]), {}


def pairs(spec: Attentive) -> list[tuple[float, float]]:
    """The learning rate and weight decay of each classifier."""
    return list(product(spec.rates, spec.decays))


def fit(
    stored: Tokens,
    labels: Numbers,
    numbers: Numbers,
    spec: Attentive,
    classes: int,
    seed: int,
    news: Progress | None = None,
) -> list[AttentiveClassifier]:
    """Classifiers trained on the examples ``numbers``, one per pair, from equal initial weights.

    AdamW, the rate along half a cosine to 0; biases, norms and the query do not decay.
    """
    device = pick_device()
    torch.manual_seed(seed)
    first = AttentiveClassifier(stored.shape[3], spec.heads, classes)
    state = first.state_dict()
    found, groups = [], []
    for rate, decay in pairs(spec):
        one = AttentiveClassifier(stored.shape[3], spec.heads, classes)
        one.load_state_dict(state)
        found.append(one.to(device))
        for decays in (True, False):
            own = [
                p
                for name, p in one.named_parameters()
                if (p.ndim > 1 and name != "query") == decays
            ]
            groups.append({"params": own, "lr": rate, "weight_decay": decay if decays else 0.0})
    leave_out_the_compiler()
    optimizer = AdamW(groups)
    total = spec.epochs * math.ceil(len(numbers) / spec.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / total))
    )

    def loaded(draw: tuple[Numbers, Numbers]) -> Step:
        which, clip = draw
        return torch.from_numpy(stored[which, clip]), torch.from_numpy(labels[which])

    for x, y in prefetch(draws(numbers, stored.shape[1], spec, seed), loaded):
        moved, target = x.to(device).float(), y.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outputs = [one(moved) for one in found]
        loss = torch.stack([F.cross_entropy(logits.float(), target) for logits in outputs]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if news is not None:
            news.step()
    return found


def draws(
    numbers: Numbers, clips: int, spec: Attentive, seed: int
) -> Iterator[tuple[Numbers, Numbers]]:
    """The examples of each step and the clip that is taken of each, (B,) both.

    In each epoch every example is taken once; within a batch in the order of the file.
    """
    for epoch in range(spec.epochs):
        rng = np.random.default_rng([seed, epoch, ORDER])
        order = rng.permutation(numbers)
        for start in range(0, len(order), spec.batch_size):
            batch = np.sort(order[start : start + spec.batch_size])
            yield batch, rng.integers(clips, size=len(batch))


@torch.no_grad()
def predict(
    model: nn.Module, stored: Tokens, numbers: Numbers, batch_size: int
) -> NDArray[np.float32]:
    """Softmax scores of the examples ``numbers``, mean over their clips: (N, classes)."""
    device = next(model.parameters()).device
    model.eval()
    found = []
    for start in range(0, len(numbers), batch_size):
        block = stored[numbers[start : start + batch_size]]
        by_clip = [
            model(torch.from_numpy(np.ascontiguousarray(block[:, clip])).to(device).float())
            for clip in range(block.shape[1])
        ]
        found.append(torch.stack(by_clip).softmax(-1).mean(0).cpu())
    return torch.cat(found).numpy()


def _validate(
    model: nn.Module, stored: Tokens, labels: Numbers, numbers: Numbers, spec: Attentive
) -> tuple[float, float]:
    """Top-1 and, to break ties, the mean log score of the true class; -inf where it diverged."""
    scores = predict(model, stored, numbers, spec.batch_size)
    if not np.isfinite(scores).all():
        return -math.inf, -math.inf
    truth = labels[numbers]
    own = scores[np.arange(len(truth)), truth].astype(np.float64)
    likely = float(np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean())
    return float((scores.argmax(axis=1) == truth).mean()), likely


def _news(job: Job, spec: Attentive, chosen: list[int]) -> Progress:
    return Progress(job.scratch, spec.epochs * math.ceil(len(chosen) / spec.batch_size))
