"""How the convolutions and norms of a backbone start out."""

from __future__ import annotations

from torch import nn


def he_normal(net: nn.Module) -> None:
    """Convolutions N(0, 2 / fan_out) with zero bias, batch norms at one and zero, in place.

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015 (section 2.2, backward form).
    """
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
