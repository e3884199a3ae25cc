"""Train a method on however many ranks there are, for ``test_ranks.py``; a script for torchrun."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support import pretext  # noqa: E402
from videossl import distributed  # noqa: E402
from videossl.job import Job  # noqa: E402
from videossl.methods.base import MomentumEncoder  # noqa: E402
from videossl.train import loop, pretrain  # noqa: E402


class Double(pretrain.Pretraining):
    """In float64: sums in another order then differ by nothing that training could amplify."""

    def prepare(self, clips, batch):
        return super().prepare([clip.double() for clip in clips], batch)


def leave_out_norms(module: nn.Module) -> None:
    """Each row of a batch then goes its own way, whatever other rows a rank has."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, nn.Identity())
        else:
            leave_out_norms(child)


def main(name: str, out: Path, accumulate: int, group: str, clip_norm: float) -> None:
    """Write this rank's final state and curve.

    Args:
        name: of the method.
        out: the folder for them.
        accumulate: parts of a batch.
        group: of batch norm: ``all`` or a number; ``none``, no batch norm but keys shuffled over
            groups of 2; after ``unshuffled-``, so, but with keys in the order of their queries.
        clip_norm: limit of the gradient.
    """
    torch.set_num_threads(1)
    with distributed.joined():
        method = pretext.build(name).double()
        budget = pretext.budget(accumulate)
        number = group.removeprefix("unshuffled-")
        bn_group = "all" if number == "all" else 2 if number == "none" else int(number)
        pretrain._spread(method, budget, bn_group)
        if number == "none":
            leave_out_norms(method)
        if number != group:
            for module in method.modules():
                if isinstance(module, MomentumEncoder):
                    module.group = 0
        job = Job("pretrain", {"row": name, "seed": "0"}, {}, out, out / "scratch", 1, {})
        spec = pretext.SGD.model_copy(update={"clip_norm": clip_norm})
        recipe = loop.Recipe(spec, 2, 16, "float32", 0, accumulate)
        curve = loop.fit(job, Double(method), pretext.batches(method), recipe)
        state = {"state": method.state_dict(), "curve": curve}
        torch.save(state, out / f"rank{distributed.rank()}of{distributed.world()}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
