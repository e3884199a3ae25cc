import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

import videossl
from support.specs import COLOURS
from videossl.job import Job, UserError
from videossl.models import weights
from videossl.study import schema
from videossl.study.reads import InitializeParams
from videossl.train import initialize

MODELS = [
    schema.Model(name="r3d", blocks=[1, 1, 1, 1], width=4, **COLOURS),
    schema.Model(name="r2plus1d", blocks=[1, 1, 2, 1], width=8, **COLOURS),
    schema.C3D(name="c3d", width=4, **COLOURS),
    schema.Inception(name="s3dg", width=8, **COLOURS),
    schema.Slow(name="slow", depth=50, width=4, **COLOURS),
    schema.Inflated(name="inflated", timm="resnet10t", weights="none", output_stride=16, **COLOURS),
]
IDS = [m.name for m in MODELS]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def trained(model):
    """A network whose running statistics have moved."""
    net = weights.build(model).train()
    net(torch.randn(2, 3, 8, 32, 32))
    return net.eval()


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_an_exported_encoder_comes_back_bit_for_bit(model, tmp_path):
    net = trained(model)
    weights.save(net, model, tmp_path / "encoder.safetensors")
    back = videossl.load_encoder(tmp_path / "encoder.safetensors")
    assert type(back) is type(net)
    assert not back.training
    assert back.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(back.state_dict()[k], v) for k, v in net.state_dict().items())
    x = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(back(x), net(x))


def test_an_inflated_encoder_needs_no_file_of_2d_weights(tmp_path):
    model = MODELS[-1]
    gone = model.model_copy(update={"weights": str(tmp_path / "gone.pth")})
    weights.save(trained(model), gone, tmp_path / "encoder.safetensors")
    assert videossl.load_encoder(str(tmp_path / "encoder.safetensors")).num_features == 512


def test_files_of_others_are_named(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(UserError, match=r"x\.safetensors: no such file"):
        videossl.load_encoder(path)
    path.write_bytes(b"junk")
    with pytest.raises(UserError, match=r"x\.safetensors: not a safetensors file"):
        videossl.load_encoder(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="no header that says which model it is"):
        videossl.load_encoder(path)
    weights.save(torch.nn.Linear(2, 2), MODELS[0], path)
    with pytest.raises(UserError, match=r"stem\.0\.weight: absent in the file, \(4, 3, 3, 7, 7\)"):
        videossl.load_encoder(path)


def test_importing_the_package_imports_no_torch():
    code = "import sys, videossl; assert 'torch' not in sys.modules; videossl.load_encoder"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'load_encoders'"):
        _ = videossl.load_encoders


def initialized(tmp_path, model, source):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    job = Job(
        stage="initialize",
        key={"row": "row", "seed": "3"},
        inputs={},
        out=out,
        scratch=tmp_path,
        threads=1,
        modules={"backbone": weights},  # whose build takes any model
    )
    baseline = schema.Baseline(weights=str(source), backbone="small")
    initialize.run(job, InitializeParams(backbone=model, baseline=baseline))
    return videossl.load_encoder(out / "encoder.safetensors").state_dict()


def test_a_baseline_is_random_ours_or_official(tmp_path):
    model = schema.C3D(name="c3d", width=4, **COLOURS)
    net = trained(model)
    torch.manual_seed(3)
    expected = weights.build(model).state_dict()
    found = initialized(tmp_path, model, "random")
    assert all(torch.equal(found[k], v) for k, v in expected.items())

    weights.save(net, model, tmp_path / "ours.safetensors")
    found = initialized(tmp_path, model, tmp_path / "ours.safetensors")
    assert all(torch.equal(found[k], v) for k, v in net.state_dict().items())

    names = {0: "conv", 1: "bn"}
    state = {}
    for key, value in net.state_dict().items():
        stage, block, part, rest = key.removeprefix("stage").split(".")
        letter = "ab"[int(block)] if stage in "345" else ""
        state[f"encoder_q.encoder.{names[int(part)]}{stage}{letter}.{rest}"] = value
    torch.save({"arch": "c3d", "model": state}, tmp_path / "official.pth.tar")
    model = model.model_copy(update={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})
    found = initialized(tmp_path, model, tmp_path / "official.pth.tar")
    assert all(torch.equal(found[k], v) for k, v in net.state_dict().items())


def test_a_baseline_of_another_size_is_refused(tmp_path):
    model = schema.C3D(name="c3d", width=4, **COLOURS)
    weights.save(trained(model), model, tmp_path / "ours.safetensors")
    with pytest.raises(
        UserError, match=r"ours\.safetensors: stage1\.0\.0\.weight: \(4, 3, 3, 3, 3\)"
    ):
        initialized(
            tmp_path, schema.C3D(name="c3d", width=8, **COLOURS), tmp_path / "ours.safetensors"
        )


def test_an_encoder_keeps_its_colours(tmp_path):
    model = schema.C3D(name="c3d", width=4, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    weights.save(weights.build(model), model, tmp_path / "encoder.safetensors")
    again = weights.load_encoder(tmp_path / "encoder.safetensors")
    assert again.colours == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
