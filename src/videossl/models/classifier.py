"""A backbone with a linear classifier on its pooled feature."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class Classifier(nn.Module):
    """encoder -> dropout -> linear; the linear layer starts small, N(0, 0.01)."""

    def __init__(self, encoder: nn.Module, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(cast(int, encoder.num_features), num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S) -> logits (B, num_classes)."""
        out: Tensor = self.fc(self.dropout(self.encoder(x)))
        return out
