"""What the tests of ρSwAV share."""

import math

import torch

from support.rho_modes import built
from support.specs import references
from videossl.methods import losses, rho_swav
from videossl.study import schema

MODES = ["sequential", "parallel"]


def params(**changes):
    values = {
        "task": "rho",
        "motion": "none",
        "dim": 16,
        "hidden": 24,
        "layers": 3,
        "batch_norm": True,
        "prototypes": 12,
        "frozen_prototypes": 0.0,
        "temperature": 0.1,
        "epsilon": 0.05,
        "sinkhorn_iterations": 3,
        "code_queue": 0,
        "mode": "parallel",
        **references("rho_swav"),
    }
    return schema.RhoSwAV(**{**values, **changes})


def build(rho=2, frames=8, stride=1, name="r3d", **changes):
    return built(rho_swav, params(**changes), rho, frames, stride, name)


def filled(method):
    """Every entry of the queue taken but five; videos 0..63."""
    method.queue.keys.copy_(losses.normalize(torch.randn_like(method.queue.keys)))
    method.queue.videos.copy_(torch.arange(64))
    method.queue.videos[30:35] = -1
    return method


def backward(loss):
    loss.backward()


def gradients(method):
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def balanced(scores, epsilon, iterations, counted):
    """Sinkhorn-Knopp as published: on exponentials, in plain numbers."""
    samples, prototypes = len(scores), len(scores[0])
    q = [[math.exp(x / epsilon) for x in row] for row in scores]
    for _ in range(iterations):
        for k in range(prototypes):
            mass = sum(q[n][k] for n in range(samples) if counted[n])
            for n in range(samples):
                q[n][k] /= mass * prototypes
        for n in range(samples):
            mass = sum(q[n])
            q[n] = [x / mass / samples for x in q[n]]
    return [[x * samples for x in row] for row in q]
