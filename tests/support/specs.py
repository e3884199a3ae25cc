"""Parameter blocks that several tests use."""

from typing import Any

from videossl.study import schema
from videossl.study.schema import Augment, Blur, Jitter

AUGMENT = Augment(
    crop_area=[0.3, 1.0],
    crop_aspect=[0.75, 1.333],
    flip=0.5,
    gray=0.2,
    jitter=Jitter(probability=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    blur=Blur(probability=0.5, sigma=[0.1, 2.0]),
)

FLOW = schema.Motion(
    data="videos",
    algorithm="dis",
    content="flow",
    step=1,
    bound=20.0,
    codec="raw",
    quality=95,
    shard_megabytes=1,
)

# what an optimiser does not do
PLAIN: dict[str, Any] = {
    "nesterov": False,
    "decay_norms": False,
    "clip_norm": 0.0,
    "lr_base_size": "none",
    "warmup_epochs": 0,
    "schedule": "cosine",
    "milestones": [],
    "factor": 0.1,
    "lowest": 0.0,
}

# the colours of a backbone: SlowFast's, those of ImageNet's networks, torchvision's of video
COLOURS: dict[str, Any] = {"mean": [0.45] * 3, "std": [0.225] * 3}
IMAGENET: dict[str, Any] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
KINETICS: dict[str, Any] = {
    "mean": [0.43216, 0.394666, 0.37645],
    "std": [0.22803, 0.22145, 0.216989],
}


def model(width: int = 4, name: str = "r3d", blocks: tuple[int, ...] = (1, 1, 1, 1)) -> Any:
    """A small residual network."""
    return schema.Model(name=name, blocks=list(blocks), width=width, **COLOURS)


def references(method: str) -> dict[str, Any]:
    """The keys of a row that point elsewhere, and what no test of a method looks at."""
    return {
        "method": method,
        "data": "videos",
        "backbone": "small",
        "optimizer": "sgd",
        "pretrain": "short",
        "bn_group": "all",
    }
