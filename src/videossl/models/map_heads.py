"""Heads on the last map of a backbone: what is in boxes, of a frame, and where it was looked at.

The map is (B, C, T', H', W'), whatever its strides; heads take their places from its size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from videossl.models.classifier import small_linear

HIDDEN = 256  # channels of the inner convolutions
BINS = 7  # of a box, each way
REACH = 7  # of the depthwise convolution


class BoxClassifier(nn.Module):
    """encoder -> mean over time -> RoIAlign -> largest over the box -> dropout -> linear.

    Source: Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019, section 5;
    7 x 7 bins and corners at pixel centres as in PySlowFast.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.fc = small_linear(encoder, num_classes)

    def forward(self, x: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) and K boxes -> logits (K, num_classes).

        Args:
            x: clips.
            rows: (K,) the clip that each box is in.
            places: (K, 4) left, top, right, bottom as shares of the clip's side.
        """
        still = self.encoder(x, maps=True)[-1].mean(dim=2).float()  # (B, C, H', W')
        height, width = still.shape[-2:]
        sides = places.new_tensor([width, height, width, height])
        boxes = torch.cat((rows[:, None].to(places), places * sides), dim=1)
        aligned = roi_align(still, boxes.float(), BINS, aligned=True)  # (K, C, 7, 7)
        out: Tensor = self.fc(self.dropout(aligned.amax(dim=(2, 3))))
        return out


class FrameClassifier(nn.Module):
    """encoder -> dropout -> 1x1x1 (256) -> ReLU -> 1x1x1 (classes) -> average over the map.

    Source: Droste et al., "Ultrasound Image Representation Learning by Modeling Sonographer Visual
    Attention", IPMI 2019, in two dimensions; the ReLU is our interpretation.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Conv3d(cast(int, encoder.num_features), HIDDEN, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(HIDDEN, num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) -> logits (B, num_classes)."""
        logits: Tensor = self.head(self.encoder(x, maps=True)[-1])
        return logits.mean(dim=(2, 3, 4))


class SaliencyMap(nn.Module):
    """encoder -> mean over time -> dropout -> 7x7 depthwise -> two of 1x1 (256), ReLU -> 1x1 (1).

    The map of logits is brought to a quarter of the clip's side, bilinearly (our interpretation:
    the network of the source has maps of that size).

    Source: Droste et al., IPMI 2019; Jiao et al., ISBI 2020.
    """

    def __init__(self, encoder: nn.Module, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        channels, edge = cast(int, encoder.num_features), REACH // 2
        self.head = nn.Sequential(  # of one frame: places take memory in the order of the encoder's
            nn.Dropout(dropout),
            nn.Conv3d(
                channels, channels, (1, REACH, REACH), padding=(0, edge, edge), groups=channels
            ),
            nn.Conv3d(channels, HIDDEN, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(HIDDEN, HIDDEN, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(HIDDEN, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) -> logits (B, S / 4, S / 4): their softmax is the map."""
        still = self.encoder(x, maps=True)[-1].mean(dim=2, keepdim=True)
        logits = self.head(still).float()[:, :, 0]  # (B, 1, H', W')
        side = max(x.shape[-1] // 4, 1)
        resized = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
        return resized[:, 0]
