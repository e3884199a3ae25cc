"""ρSwAV: swapped prediction of cluster codes over ρ clips of a video.

Sources: Feichtenhofer et al., "A Large-Scale Study on Unsupervised Spatiotemporal Representation
Learning", CVPR 2021 (eq. 3); Caron et al., "Unsupervised Learning of Visual Features by
Contrasting Cluster Assignments", NeurIPS 2020 (SwAV). Each clip is the query once: from its
similarity to learnt prototypes it predicts the codes of the other clips, which Sinkhorn-Knopp
spreads evenly over the prototypes. With ρ = 1 the two clips show the same frames.

Where this differs from the released code: codes are made from every clip, not the first two, so
that no clip has a role of its own; they are always balanced over the batch of all ranks; the
optional queue holds earlier embeddings of all clips and ranks, and its entries of a video of the
batch do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from videossl import distributed
from videossl.methods import losses
from videossl.methods.base import Queue
from videossl.methods.rho import SequentialRhoMethod, unmoved
from videossl.models.heads import MLP
from videossl.study import schema


class RhoSwAV(SequentialRhoMethod):
    """The method; its clips are max(ρ, 2) views of a video, all in the same role.

    Attributes:
        prototypes: (K, dim), rows of unit length before every step.
        frozen: () bool, whether the next step leaves the prototypes alone.
    """

    frozen: Tensor

    def __init__(
        self, params: schema.RhoSwAV, rho: int, clip: schema.Clip, encoder: nn.Module
    ) -> None:
        super().__init__(params, rho, clip, encoder)
        self.params = params
        hidden = [params.hidden] * (params.layers - 1)
        self.head = MLP([self.num_features, *hidden, params.dim], params.batch_norm)
        self.prototypes = nn.Parameter(losses.normalize(torch.randn(params.prototypes, params.dim)))
        self.queue = Queue(params.code_queue, params.dim) if params.code_queue else None
        # known on the host too: reading the buffer at every step would wait for the device
        self._frozen = params.frozen_prototypes > 0
        self.register_buffer("frozen", torch.tensor(self._frozen))
        self.register_load_state_dict_post_hook(_recall)  # type: ignore[no-untyped-call]

    def step(
        self, clips: list[Tensor], video: Tensor, consume: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        """See ``RhoMethod.step``; each clip is the query once."""
        sequential = self.mode == "sequential"
        queries = self._ahead(clips) if sequential else [self._embed(clip) for clip in clips]
        embeddings = torch.stack([query.detach() for query in queries], dim=1)  # (B, P, D)
        codes = self._codes(embeddings, video)  # (B, P, K)
        # no gradient at all: with one of zeros, weight decay and momentum would move them
        prototypes = self.prototypes.detach() if self._frozen else self.prototypes
        found: dict[str, list[Tensor]] = {"loss": [], "code_accuracy": []}
        found["positive_similarity"] = []
        for i, clip in enumerate(clips):
            query = self._embed(clip) if sequential else queries[i]
            scores = similarity(query, prototypes)  # (B, K)
            others = torch.cat([codes[:, :i], codes[:, i + 1 :]], dim=1)  # (B, P - 1, K)
            loss = swapped_prediction(scores, others, self.params.temperature)
            consume(loss / len(clips))
            found["loss"].append(loss.detach())
            guess = scores.detach().argmax(dim=1, keepdim=True)  # (B, 1)
            found["code_accuracy"].append((guess == others.argmax(dim=2)).float().mean())
            rest = torch.cat([embeddings[:, :i], embeddings[:, i + 1 :]], dim=1)
            positive = losses.cosine(embeddings[:, i : i + 1], rest)  # (B, P - 1)
            found["positive_similarity"].append(positive.mean())
        if self.queue is not None:
            for embedding in embeddings.unbind(dim=1):
                self.queue.enqueue(embedding, video)
        return {name: torch.stack(values).mean() for name, values in found.items()}

    def _embed(self, clip: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> (B, D), unit vectors."""
        return losses.normalize(self.head(self.encoder(clip)))

    @torch.no_grad()
    def _ahead(self, clips: list[Tensor]) -> list[Tensor]:
        """Embeddings of all clips, of a pass that leaves no trace: the one with gradient counts."""
        with unmoved(self.encoder, self.head):
            return [self._embed(clip) for clip in clips]

    @torch.no_grad()
    def _codes(self, embeddings: Tensor, video: Tensor) -> Tensor:
        """Codes of this rank's rows, balanced over all ranks': (B, P, D) -> (B, P, K)."""
        batch = distributed.gather(embeddings).transpose(0, 1)  # (P, N, D)
        scores, ignored = similarity(batch, self.prototypes), None
        if self.queue is not None:
            # earlier embeddings join each clip's assignment, but not those of these videos: they
            # would push their own video to other prototypes
            earlier = similarity(self.queue.keys, self.prototypes)  # (Q, K)
            scores = torch.cat([scores, earlier.expand(len(scores), -1, -1)], dim=1)
            away = self.queue.mask(distributed.gather(video)).any(dim=0)  # (Q,)
            ignored = torch.cat([away.new_zeros(batch.shape[1]), away])
        codes = sinkhorn(scores, self.params.epsilon, self.params.sinkhorn_iterations, ignored)
        return codes[:, distributed.share(batch.shape[1])].transpose(0, 1)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Bring the prototypes back to unit length, where they moved; thaw them in time."""
        if not self._frozen:
            self.prototypes.copy_(losses.normalize(self.prototypes))
        self._frozen = progress < self.params.frozen_prototypes
        self.frozen.fill_(self._frozen)


def _recall(method: RhoSwAV, keys: Any) -> None:
    method._frozen = bool(method.frozen)


def similarity(embeddings: Tensor, prototypes: Tensor) -> Tensor:
    """Dot products in float32 or wider, under autocast too: (..., D), (K, D) -> (..., K)."""
    with torch.autocast(embeddings.device.type, enabled=False):
        return embeddings @ prototypes.T


@torch.no_grad()
def sinkhorn(
    scores: Tensor, epsilon: float, iterations: int, ignored: Tensor | None = None
) -> Tensor:
    """Soft codes that use all prototypes about equally (SwAV, section 3.1), without gradient.

    Works on logarithms, so that no ``epsilon`` overflows.

    Args:
        scores: (..., N, K), similarity of N samples to K prototypes.
        epsilon: weight of the entropy; small makes codes hard.
        iterations: of normalising prototypes, then samples.
        ignored: (N,), True for samples that do not count where prototypes are balanced.

    Returns:
        (..., N, K): rows sum to 1, columns to about N / K (of the samples that count).
    """
    logs = scores / epsilon
    for _ in range(iterations):
        counted = logs
        if ignored is not None:
            counted = logs.masked_fill(ignored.unsqueeze(1), -torch.inf)
        logs = logs - counted.logsumexp(dim=-2, keepdim=True)
        logs = logs - logs.logsumexp(dim=-1, keepdim=True)
    return logs.exp()


def swapped_prediction(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of a query with the codes of its other clips, mean over both and the batch.

    It is the divergence KL(code, query) but for the codes' entropy, which has no gradient.

    Args:
        scores: (B, K), similarity of the query to the prototypes.
        codes: (B, P, K), each row a distribution.
        temperature: of the query's softmax.

    Returns:
        A scalar; ln K when all scores are equal.
    """
    logs = (scores / temperature).log_softmax(dim=1)
    return -(codes.mean(dim=1) * logs).sum(dim=1).mean()


def build(params: schema.RhoSwAV, rho: int, clip: schema.Clip, encoder: nn.Module) -> RhoSwAV:
    """ρSwAV around ``encoder``; ``rho`` is the number of clips of a video."""
    return RhoSwAV(params, rho, clip, encoder)
