import pytest
import torch

from videossl.models.motion_net import MotionNet


@pytest.mark.parametrize(("depth", "features"), [(18, 16), (50, 64)])
def test_the_motion_pathway_looks_at_each_frame_alone(depth, features):
    net = MotionNet(depth, 2).eval()
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
