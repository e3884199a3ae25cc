"""Every method takes the same steps on a CUDA device as on the CPU, but for rounding."""

from __future__ import annotations

import copy
from contextlib import closing
from typing import Any

import pytest
import torch

from support import pretext
from videossl.data.loading import loader
from videossl.data.loading.device_clips import to_device_clips
from videossl.study.registry import METHODS
from videossl.train.pretrain import Pretraining
from videossl.train.step import TrainingStep

# besides each method as params.yaml has it: what takes another way through its file
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("rspnet", {"as_released": True}),
    ("vtdl", {"detach_negative": True}),
    *((name, {"mode": "parallel"}) for name in METHODS if name.startswith("rho_")),
    ("rho_swav", {"code_queue": 24, "frozen_prototypes": 0.5}),
    ("order_geometry", {"variant": "disentangled"}),
    ("v3s", {"frame_jitter": 0.2}),
]


def steps(method: Any, device: str) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """What two steps measure; and all weights, buffers and gradients after them."""
    method = copy.deepcopy(method).double().to(device)
    found = []
    for batch in loader.batches(pretext.batches(method).between(0, 2)):
        there = batch.to(torch.device(device))
        # augmented on the CPU for both: what differs is the method's own rounding in float64
        clips = [clip.double().to(device) for clip in to_device_clips(batch, pretext.CLIP.size)]
        method.zero_grad()
        out = pretext.step(method, clips, there.video, lambda x: x.backward(), there.labels)
        found.append({name: value.double().cpu() for name, value in out.items()})
        method.after_step(0.5)
    state = {name: value.cpu() for name, value in method.state_dict().items()}
    gradients = {n: p.grad.cpu() for n, p in method.named_parameters() if p.grad is not None}
    return found, state | {f"{name}.grad": value for name, value in gradients.items()}


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "changes"), [*((name, {}) for name in METHODS), *VARIANTS], ids=str
)
def test_cuda_equals_cpu(name, changes):
    method = pretext.build(name, changes=changes)
    (here, ours), (there, theirs) = steps(method, "cpu"), steps(method, "cuda")
    torch.testing.assert_close(there, here)
    torch.testing.assert_close(theirs, ours)


def training(name: str, precision: str) -> TrainingStep:
    """A method's training step on the GPU, as the loop takes it."""
    spec = pretext.SGD.model_copy(update={"lr": 0.01})
    return TrainingStep(
        Pretraining(pretext.build(name)), spec,
        batch_size=8, total=8, per_epoch=2, precision=precision,
        size=pretext.CLIP.size, accumulate=1, seed=0,
    )  # fmt: skip


def losses(step: TrainingStep, start: int, stop: int) -> list[float]:
    """The losses of some steps."""
    batches = pretext.batches(step.task.module).between(start, stop)
    with closing(loader.batches(batches, pin=True)) as stream:
        return [float(step(parts)["loss"]) for parts in step.prepared(stream)]


@pytest.mark.gpu
@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_training_takes_the_same_steps(name):
    whole, first, second = (training(name, "float32") for _ in range(3))
    expected = losses(whole, 0, 4)
    found = losses(first, 0, 2)
    second.task.module.load_state_dict(first.task.module.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.number = first.number
    found += losses(second, 2, 4)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)  # sums on a GPU have no fixed order


@pytest.mark.gpu
@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_is_near_float32(name):
    exact, rounded = (losses(training(name, p), 0, 1) for p in ("float32", "bfloat16"))
    assert rounded == pytest.approx(exact, rel=0.05, abs=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("name", METHODS)
def test_the_host_waits_for_nothing_in_a_step(name):
    step = training(name, "bfloat16")
    batches = pretext.batches(step.task.module).between(0, 3)
    with closing(loader.batches(batches, pin=True)) as stream:
        for number, parts in enumerate(step.prepared(stream)):
            torch.cuda.set_sync_debug_mode("error" if number == 2 else "default")
            try:
                step(parts)
            finally:
                torch.cuda.set_sync_debug_mode("default")
