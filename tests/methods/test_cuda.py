"""Every method takes the same steps on a CUDA device as on the CPU, but for rounding."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from support import pretext
from videossl.data.loading import loader
from videossl.data.loading.device_clips import to_device_clips
from videossl.study.registry import METHODS

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
