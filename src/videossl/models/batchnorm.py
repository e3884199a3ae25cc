"""Batch norm over the global batch of all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videossl import distributed


class GlobalBatchNorm(_BatchNorm):
    """Batch norm whose statistics in training are those of all ranks, on any device.

    ``torch.nn.SyncBatchNorm`` does that on GPUs only. Names, buffers and evaluation are those of
    the layer it stands for.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        return

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape."""
        if not (self.training and distributed.active()):
            return super().forward(x)
        dims = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        count = x.numel() // x.shape[1] * distributed.world()
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        mean = distributed.total(wide.sum(dims)) / count
        centred = wide - mean.view(shape)
        variance = distributed.total(centred.square().sum(dims)) / count
        out = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        self._follow(mean.detach(), variance.detach() * count / max(count - 1, 1))
        return out.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Running statistics, the variance unbiased."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = self.momentum
        if momentum is None:
            momentum = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


def synchronise(module: nn.Module, device: torch.device) -> None:
    """Make every batch norm below ``module`` one over all ranks, in place.

    Parameters and buffers stay the same tensors under the same names.
    """
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _synchronised(child, device))
        else:
            synchronise(child, device)


def _synchronised(layer: _BatchNorm, device: torch.device) -> nn.Module:
    if device.type == "cuda":
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        converted: nn.Module = convert(layer)
        return converted
    out = GlobalBatchNorm(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    out.weight, out.bias = layer.weight, layer.bias
    for name, buffer in layer.named_buffers():
        out.register_buffer(name, buffer)
    out.train(layer.training)
    return out
