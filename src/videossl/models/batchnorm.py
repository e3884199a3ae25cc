"""Batch norm over groups of clips of the global batch, whatever the ranks and parts of a batch.

A method's batch norm normalises a clip by the statistics of its group, and a method may need small
groups (MoCo: the 8 clips of a GPU) or large ones. Groups are those of one process: with more ranks,
a group lies on one of them, or on several, which then share their sums.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videossl import distributed
from videossl.job import UserError

Group = Literal["all"] | int


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
        everything = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return self._normalised(x, everything, 1, x.numel() // x.shape[1] * distributed.world())

    def _normalised(self, x: Tensor, group: Tensor, groups: int, count: int) -> Tensor:
        """Each row by the statistics of its group, over all ranks.

        Args:
            x: (B, C, ...), this rank's rows.
            group: (B,) int64, the group of each row.
            groups: how many there are.
            count: values of a channel in each, over all ranks.
        """
        shape = [*x.shape[:2], *[1] * (x.ndim - 2)]
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x

        def means(values: Tensor) -> Tensor:  # (B, C, ...) -> (groups, C)
            sums = values.flatten(2).sum(2) if values.ndim > 2 else values
            empty = sums.new_zeros(groups, sums.shape[1])
            return distributed.total(empty.index_add(0, group, sums)) / count

        mean = means(wide)
        centred = wide - mean[group].view(shape)
        variance = means(centred.square())
        out = centred * (variance + self.eps).rsqrt()[group].view(shape)
        if self.affine:
            channels = [1, -1, *shape[2:]]
            out = out * self.weight.view(channels) + self.bias.view(channels)
        unbiased = variance * (count / max(count - 1, 1))
        self._follow(mean.detach().mean(0), unbiased.detach().mean(0))
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


class GroupedBatchNorm(GlobalBatchNorm):
    """Batch norm whose statistics in training are those of groups of ``group`` clips.

    The rows of a call are sections of ``rows`` videos on every rank (a method may pass several
    clips of each video at once); a section's rows of all ranks, in rank order, are cut into groups.
    So a group holds clips of different videos, and no rank's part of the batch changes which.

    Running statistics follow the mean over all groups of their means and of their unbiased
    variances. SlowFast's SubBatchNorm3d keeps them for each split and aggregates when it evaluates;
    it adds the variance of the splits' running means, which a long average leaves near 0.

    Attributes:
        group: clips in a group.
        rows: videos of a call on each rank.
    """

    group: int
    rows: int

    def forward(self, x: Tensor) -> Tensor:
        """(sections x rows, C, ...) -> the same shape."""
        if not self.training:
            return super().forward(x)
        if len(x) % self.rows:
            raise UserError(
                f"bn_group: {len(x)} clips in a call of batch norm; allowed: a multiple of the "
                f"{self.rows} videos of a rank's part of a batch"
            )
        if self.rows % self.group == 0:
            return self._each_alone(x)
        sections = len(x) // self.rows
        groups = self.rows * distributed.world() // self.group
        place = distributed.rank() * self.rows + torch.arange(self.rows, device=x.device)
        section = torch.arange(sections, device=x.device).repeat_interleave(self.rows)
        group = section * groups + (place // self.group).repeat(sections)
        count = self.group * (x[0, 0].numel() if x.ndim > 2 else 1)
        return self._normalised(x, group, sections * groups, count)

    def _each_alone(self, x: Tensor) -> Tensor:
        """Groups that lie on this rank: torch's own batch norm, one after the other."""
        outs, means, variances = [], [], []
        for part in torch.split(x, self.group):
            mean = variance = None
            if self.running_mean is not None and self.running_var is not None:
                # with momentum 1 they become the group's mean and unbiased variance
                mean = torch.zeros_like(self.running_mean)
                variance = torch.zeros_like(self.running_var)
                means.append(mean)
                variances.append(variance)
            outs.append(
                F.batch_norm(part, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
            )
        if means:
            both = torch.stack([torch.stack(found).mean(0) for found in (means, variances)])
            with torch.no_grad():
                both = distributed.total(both) / distributed.world()
            self._follow(both[0], both[1])
        return torch.cat(outs)


def apply_groups(module: nn.Module, group: Group, device: torch.device, rows: int) -> bool:
    """Make every batch norm below ``module`` one over groups of clips, in place.

    Parameters and buffers stay the same tensors under the same names.

    Args:
        module: a method, say.
        group: clips whose statistics each batch norm takes together; ``all`` is one group, of all
            clips of a call on all ranks.
        device: where it will run.
        rows: videos of a call on each rank: a rank's share of a part of the batch.

    Returns:
        Whether a batch has several groups: a query's statistics then are not those of the batch.

    Raises:
        UserError: the groups do not divide the batch.
    """
    everyone = rows * distributed.world()
    if group != "all" and everyone % group:
        raise UserError(
            f"bn_group = {group}: must divide the {everyone} videos that are worked on at a time "
            "(batch_size / accumulate), or be all"
        )
    if group != "all" or distributed.active():
        _replace(module, group, device, rows, {})
    return group != "all" and group < everyone


def _replace(
    module: nn.Module,
    group: Group,
    device: torch.device,
    rows: int,
    made: dict[nn.Module, nn.Module],
) -> None:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            if child not in made:  # two networks may share a layer, or what holds it
                new = _made(child, group, device, rows)
                made[child] = made[new] = new
            setattr(module, name, made[child])
        else:
            _replace(child, group, device, rows, made)


def _made(layer: _BatchNorm, group: Group, device: torch.device, rows: int) -> nn.Module:
    if group == "all" and device.type == "cuda":
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        converted: nn.Module = convert(layer)
        return converted
    kind = GlobalBatchNorm if group == "all" else GroupedBatchNorm
    out = kind(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    if isinstance(out, GroupedBatchNorm) and group != "all":
        out.group, out.rows = group, rows
    out.weight, out.bias = layer.weight, layer.bias
    for name, buffer in layer.named_buffers():
        out.register_buffer(name, buffer)
    out.train(layer.training)
    return out
