"""A backbone with a linear classifier on its pooled feature."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


def small_linear(encoder: nn.Module, num_classes: int) -> nn.Linear:
    """A layer from the encoder's channels to classes that starts small: N(0, 0.01), bias 0."""
    layer = nn.Linear(cast(int, encoder.num_features), num_classes)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


class Classifier(nn.Module):
    """encoder -> dropout -> linear."""

    def __init__(self, encoder: nn.Module, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.fc = small_linear(encoder, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) -> logits (B, num_classes)."""
        out: Tensor = self.fc(self.dropout(self.encoder(x)))
        return out
