"""Attentive pooling: a classifier whose query looks at the places of a frozen network's map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDER = 4  # hidden units of the MLP, of the width


class AttentiveClassifier(nn.Module):
    """One block of cross-attention from a learned query to tokens, then a linear layer.

    Source: Bardes et al., "Revisiting Feature Prediction for Learning Visual Representations from
    Video", 2024 (V-JEPA), attentive probing: pre-norm cross-attention and MLP with residuals.

    Args:
        width: D of the tokens.
        heads: of the attention; they divide the width.
        classes: outputs.
    """

    def __init__(self, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.query, std=0.02)
        self.token_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, WIDER * width), nn.GELU(), nn.Linear(WIDER * width, width)
        )
        self.classifier = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L, D) -> logits (B, classes)."""
        places = self.token_norm(tokens)
        query = self.query.expand(len(tokens), -1, -1)
        pooled = query + self.attention(query, places, places, need_weights=False)[0]
        pooled = pooled + self.mlp(self.norm(pooled))
        logits: Tensor = self.classifier(pooled[:, 0])
        return logits
