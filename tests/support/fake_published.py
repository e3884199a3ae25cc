"""A made-up study whose row has the setting of published figures: RSPNet on Kinetics-400."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.fake_study import FakeStudy, finetune, method, probe
from videossl.study import schema

CLIP = schema.Clip.model_construct(frames=16, stride=1, size=112)
NETWORK = {"name": "r3d_rspnet", "blocks": [2, 2, 2, 2], "width": 64}
RECIPE = {"epochs": 200, "frames": 16, "stride": 1, "size": 112}


def dataset(form: str) -> schema.Dataset:
    return schema.SyntheticData.model_construct(format=form)


def study(
    root: Path, network: dict[str, Any] = NETWORK, recipe: dict[str, Any] = RECIPE, **test: Any
) -> FakeStudy:
    """RSPNet on Kinetics-400, fine-tuned on UCF101 and on Something-Something; retrieval."""
    keys = {"splits": [1], "share": 1.0, "clip": CLIP, "sampling": "window"} | test
    fake = FakeStudy(
        root / "study",
        datasets=("k400", "ucf", "ssv2"),
        formats={"k400": dataset("kinetics"), "ucf": dataset("ucf101"), "ssv2": dataset("ssv2")},
        methods={"rspnet": method("rspnet", backbone="r18", data="k400")},
        baselines={},
        finetune={
            "ucf": finetune("ucf", **keys),
            "ssv2": finetune("ssv2", **keys | {"sampling": "cover"}),
        },
        probe={"ucf": probe("ucf", protocols=("retrieval",), splits=[1], clip=CLIP)},
    )
    fake.root.mkdir(parents=True)
    fake.decoding("k400", classes=[f"class {number}" for number in range(400)])
    fake.decoding("ucf")
    fake.decoding("ssv2")
    leaves = {f"backbone__r18__{name}": value for name, value in network.items()}
    leaves |= {f"pretrain__long__clip__{n}": recipe[n] for n in ("frames", "stride", "size")}
    leaves |= {"pretrain__long__epochs": recipe["epochs"]}
    leaves |= {"methods__rspnet__data": "k400", "task__margin": 0.15}
    fake.pretraining("rspnet", 6.0, 3.0, **leaves)
    return fake


def evaluated(fake: FakeStudy) -> FakeStudy:
    """The same, with results."""
    for test, top1 in (("ucf", 0.7), ("ssv2", 0.4)):
        fake.evaluation("rspnet", "recognition", {"top1": top1, "top5": 0.9}, test=test)
    fake.evaluation("rspnet", "retrieval", {"R@1": 0.4}, test="ucf")
    return fake
