import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from support.backbones import assert_contract, assert_every_parameter_learns, parameters, shapes
from support.specs import COLOURS
from videossl.job import UserError
from videossl.models import slow, weights
from videossl.study import schema


def build(depth, width):
    return slow.build(schema.Slow(name="slow", depth=depth, width=width, **COLOURS))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def basic(planes):
    """Weights of depth 18: two basic blocks per stage, 3x3x3 first convolutions in the last two."""
    total, before = 3 * 49 * 64 + 2 * 64, 64
    for stage, after in enumerate(planes):
        for block in range(2):
            inputs = before if block == 0 else after
            taps = 27 if stage >= 2 else 9
            total += taps * inputs * after + 9 * after * after + 4 * after
            total += inputs * after + 2 * after if inputs != after else 0
        before = after
    return total


@pytest.mark.parametrize(
    ("depth", "count", "features"),
    [(18, basic([64, 128, 256, 512]), 512), (50, 31_634_496, 2048), (101, 59_539_520, 2048)],
)
def test_published_sizes(depth, count, features):
    """31,634,496 and, with 400 classes, the 32.45M of other code for depth 50."""
    with torch.device("meta"):
        net = build(depth, 64)
    assert parameters(net) == count
    assert net.num_features == features


@pytest.mark.parametrize(
    ("frames", "size", "macs"), [(8, 224, 41.74), (8, 256, 54.52), (16, 224, 83.48)]
)
def test_multiply_adds_of_depth_50(frames, size, macs):
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        build(50, 64).forward_features(torch.empty(1, 3, frames, size, size))
    assert counter.get_total_flops() / 2e9 == pytest.approx(macs, abs=0.005)


def test_shapes_keep_time():
    with torch.device("meta"):
        net = build(50, 64)
    assert shapes(net, (8, 224, 224)) == [
        (256, 8, 56, 56),
        (512, 8, 28, 28),
        (1024, 8, 14, 14),
        (2048, 8, 7, 7),
    ]


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("size", [(8, 32, 32), (8, 44, 36), (1, 16, 16)])
def test_no_clip_is_too_small(depth, size):
    assert_contract(build(depth, 4), size)


@pytest.mark.parametrize("depth", [18, 50])
def test_every_parameter_learns(depth):
    assert_every_parameter_learns(build(depth, 8), (8, 32, 32))


@pytest.mark.parametrize("depth", [18, 50])
def test_only_the_last_two_stages_look_at_time(depth):
    net = build(depth, 4).eval()
    x = torch.randn(1, 3, 6, 32, 32)
    y = x.clone()
    y[:, :, 3] += 1
    with torch.no_grad():
        pairs = list(zip(net.stages(x), net.stages(y), strict=True))
    changed = [[not torch.equal(a[:, :, t], b[:, :, t]) for t in range(6)] for a, b in pairs]
    alone = [t == 3 for t in range(6)]
    assert changed[:2] == [alone, alone]
    assert sum(changed[2]) > 1


@pytest.mark.parametrize(("depth", "features"), [(18, 16), (50, 64)])
def test_a_framewise_network_looks_at_each_frame_alone(depth, features):
    net = slow.Slow(depth, 2, channels=1, temporal=slow.FRAMEWISE).eval()
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv3d)]
    shortcuts = 3 if depth == 18 else 4
    assert len(convolutions) == depth - 1 + shortcuts  # all of its layers but the classifier
    assert all(c.kernel_size[0] == c.stride[0] == 1 for c in convolutions)
    clip = torch.rand(2, 1, 5, 40, 48)
    maps = net.stages(clip)
    assert [tuple(m.shape[2:]) for m in maps] == [(5, 10, 12), (5, 5, 6), (5, 3, 3), (5, 2, 2)]
    assert [m.shape[1] for m in maps] == net.stage_features
    assert net(clip).shape == (2, net.num_features) == (2, features)
    for t in range(5):
        torch.testing.assert_close(
            net.stages(clip[:, :, t : t + 1])[-1][:, :, 0], maps[-1][:, :, t]
        )


@pytest.mark.parametrize("depth", [18, 50])
def test_a_dilated_network_keeps_its_size_in_the_last_stage(depth):
    """Every second place of its last stage sees what it does in a plain network.

    But for the convolution that strides there: here it looks at its own place only.
    """
    plain = build(depth, 4).eval()
    (strides,) = (m for m in plain.stage5[0].body if getattr(m, "stride", None) == (1, 2, 2))
    centre = torch.zeros(3, 3)
    centre[1, 1] = 1
    strides.weight.data *= centre
    spec = schema.Slow(name="slow", depth=depth, width=4, dilated=True, **COLOURS)
    dilated = slow.build(spec).eval()
    dilated.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 2, 64, 64)
    with torch.no_grad():
        narrow, wide = plain(x, maps=True), dilated(x, maps=True)
        assert [m.shape[-1] for m in wide] == [16, 8, 4, 4]
        assert [m.shape[-1] for m in narrow] == [16, 8, 4, 2]
        torch.testing.assert_close(wide[2], narrow[2])
        torch.testing.assert_close(wide[3][..., ::2, ::2], narrow[3])


def test_the_file_of_a_dilated_network_says_so(tmp_path):
    path = tmp_path / "encoder.safetensors"
    spec = schema.Slow(name="slow", depth=18, width=4, **COLOURS)
    weights.save(weights.build(spec), spec, path)
    wide = weights.dilated(weights.backbone_of(path), path)
    again = tmp_path / "classifier.safetensors"
    weights.save(weights.load_encoder(path, wide), wide, again)
    x = torch.randn(1, 3, 2, 64, 64)
    with torch.no_grad():
        sizes = [weights.load_encoder(file)(x, maps=True)[-1].shape[-1] for file in (path, again)]
    assert sizes == [2, 4]
    with pytest.raises(UserError, match="only slow can be dilated"):
        weights.dilated(schema.C3D(name="c3d", width=4, **COLOURS), path)
