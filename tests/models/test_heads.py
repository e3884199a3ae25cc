import pytest
import torch
from torch import nn

from videossl.models.heads import MLP


@pytest.mark.parametrize(
    ("dims", "batch_norm", "count"),
    [
        ((2048, 2048, 2048, 128), False, 8_654_976),
        ((2048, 2048, 2048, 128), True, 8_659_072),
        ((2048, 4096, 256), True, 9_445_632),
        ((256, 4096, 256), True, 2_105_600),
        ((512, 128), False, 512 * 128 + 128),
        ((512, 128), True, 512 * 128 + 128),
    ],
)
def test_parameter_counts_of_the_published_heads(dims, batch_norm, count):
    assert sum(p.numel() for p in MLP(dims, batch_norm).parameters()) == count


@pytest.mark.parametrize("batch_norm", [False, True])
def test_equals_its_layers_written_out(batch_norm):
    torch.manual_seed(0)
    head = MLP((6, 5, 4, 3), batch_norm).double()
    x = torch.randn(7, 6, dtype=torch.float64)
    out = x
    linears = [m for m in head.modules() if isinstance(m, nn.Linear)]
    for i, linear in enumerate(linears):
        out = out @ linear.weight.T
        if linear.bias is not None:
            out = out + linear.bias
        if i < 2:
            if batch_norm:
                out = (out - out.mean(0)) / (out.var(0, unbiased=False) + 1e-5).sqrt()
            out = out.clamp(min=0)
    torch.testing.assert_close(head(x), out)


def test_last_layer_is_bare():
    head = MLP((6, 5, 3), batch_norm=True)
    assert isinstance(head.layers[-1], nn.Linear)
    assert head.layers[-1].bias is not None
    assert head.layers[0].bias is None


def test_initial_weights_have_variance_one_over_fan_in():
    torch.manual_seed(0)
    weight = MLP((512, 2048, 8), batch_norm=False).layers[0].weight
    assert weight.var().item() == pytest.approx(1 / 512, rel=0.02)
    assert weight.abs().max().item() <= (3 / 512) ** 0.5
