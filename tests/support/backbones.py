"""What every backbone promises, for the tests of each."""

import torch


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def shapes(net, size):
    """Shapes of the stages' maps, without the batch, for a clip of ``size`` on the meta device."""
    with torch.device("meta"):
        return [tuple(map_.shape[1:]) for map_ in net.stages(torch.empty(1, 3, *size))]


def assert_contract(net, size):
    """Stages, map and pooled feature agree, and none is empty."""
    net.eval()
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = net.stages(x)
        assert [m.shape[1] for m in maps] == net.stage_features
        assert len(maps) == 4
        assert all(m.numel() > 0 and m.isfinite().all() for m in maps)
        features = net.forward_features(x)
        assert torch.equal(features, maps[-1])
        assert features.dim() == 5
        assert features.shape[1] == net.num_features
        torch.testing.assert_close(net(x), features.flatten(2).mean(2))


def assert_every_parameter_learns(net, size, batch=4):
    """One step of SGD on random clips changes every parameter and leaves all finite."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, 3, *size, generator=generator)
    target = torch.randn(batch, net.num_features, generator=generator)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    net.train()
    (net(x) * target).sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    for name, parameter in net.named_parameters():
        assert parameter.isfinite().all(), name
        assert not torch.equal(parameter, before[name]), name
