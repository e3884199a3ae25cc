"""Heads that map pooled features to an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them; the last layer is bare, with a bias.

    With ``batch_norm`` each hidden layer is Linear-BN-ReLU, and its Linear has no bias because BN
    would remove it. Weights start uniform with variance 1/fan_in, biases at zero. The output is not
    normalised: the losses do that.

    Source: Feichtenhofer et al., CVPR 2021, section 3 (projection and prediction heads).

    Args:
        dims: widths from input to output, at least two.
        batch_norm: whether hidden layers are normalised.
    """

    def __init__(self, dims: Sequence[int], batch_norm: bool) -> None:
        super().__init__()
        *hidden, (last_in, last_out) = pairwise(dims)
        layers: list[nn.Module] = []
        for width_in, width_out in hidden:
            layers.append(nn.Linear(width_in, width_out, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width_out))
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.Linear(last_in, last_out))
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dims[0]) -> (B, dims[-1])."""
        out: Tensor = self.layers(x)
        return out
