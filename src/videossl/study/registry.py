"""Names of ``params.yaml`` -> modules, as text, so that no method imports another.

Adding a name here touches no stage: like the rest of ``study/`` this file decides what runs, not
what it computes.
"""

from __future__ import annotations

from dataclasses import dataclass

METHODS = {
    "rspnet": "videossl.methods.rspnet",
    "vtdl": "videossl.methods.vtdl",
    "rho_moco": "videossl.methods.rho_moco",
    "rho_byol": "videossl.methods.rho_byol",
    "rho_simclr": "videossl.methods.rho_simclr",
    "rho_swav": "videossl.methods.rho_swav",
    "hdc": "videossl.methods.hdc",
    "sts": "videossl.methods.sts",
    "order_geometry": "videossl.methods.order_geometry",
    "v3s": "videossl.methods.v3s",
    "modist": "videossl.methods.modist",
}

BACKBONES = {
    "r3d": "videossl.models.resnet3d",
    "mc3": "videossl.models.resnet3d",
    "r2plus1d": "videossl.models.resnet3d",
    "r3d_rspnet": "videossl.models.rspnet_nets",
    "r2plus1d_rspnet": "videossl.models.rspnet_nets",
    "c3d": "videossl.models.c3d",
    "i3d": "videossl.models.inception",
    "s3d": "videossl.models.inception",
    "s3dg": "videossl.models.inception",
    "s3dg_rspnet": "videossl.models.rspnet_nets",
    "slow": "videossl.models.slow",
    "inflated": "videossl.models.inflate",
}

DATASETS = {
    "synthetic": "videossl.data.datasets.ucf101",
    "ucf101": "videossl.data.datasets.ucf101",
    "hmdb51": "videossl.data.datasets.hmdb51",
    "kinetics": "videossl.data.datasets.kinetics",
    "ssv2": "videossl.data.datasets.ssv2",
    "diving48": "videossl.data.datasets.diving48",
    "gym99": "videossl.data.datasets.gym99",
    "gym288": "videossl.data.datasets.gym288",
    "charades": "videossl.data.datasets.charades",
    "ava": "videossl.data.datasets.ava",
    "aslan": "videossl.data.datasets.aslan",
    "yupenn": "videossl.data.datasets.scenes",
    "maryland": "videossl.data.datasets.scenes",
    "folder": "videossl.data.datasets.folder",
    "csv": "videossl.data.datasets.csv",
    "frame_classes": "videossl.data.datasets.frames",
    "gaze": "videossl.data.datasets.gaze",
}

# The labels of a format, and of which kind they are; the kind decides what can test on them.
CLASS = {"action": "class"}
LABELS = {
    "synthetic": {
        **CLASS,
        "tags": "classes",
        "scene": "scene",
        "shape": "class",
        "pairs": "pairs",
        "boxes": "boxes",
        "plane": "frame_class",
        "gaze": "gaze",
    },
    "ucf101": CLASS,
    "hmdb51": CLASS,
    "kinetics": CLASS,
    "ssv2": CLASS,
    "diving48": CLASS,
    "gym99": CLASS,
    "gym288": CLASS,
    "charades": {"actions": "classes"},
    "ava": {"boxes": "boxes"},
    "aslan": {"pairs": "pairs"},
    "yupenn": {"scene": "scene"},
    "maryland": {"scene": "scene"},
    "folder": CLASS,
    "csv": CLASS,
    "frame_classes": {"plane": "frame_class"},
    "gaze": {"gaze": "gaze"},
}

# What an example of a kind is.
KINDS = {
    "class": "videossl.downstream.kinds.video_class",
    "classes": "videossl.downstream.kinds.several_classes",
    "scene": "videossl.downstream.kinds.scene",
    "pairs": "videossl.downstream.kinds.pairs",
    "boxes": "videossl.downstream.kinds.boxes",
    "frame_class": "videossl.downstream.kinds.frame_class",
    "gaze": "videossl.downstream.kinds.gaze_points",
}

# What fine-tuning learns of a kind of labels.
OBJECTIVES = {
    "class": "videossl.downstream.objectives.classification",
    "classes": "videossl.downstream.objectives.multi_label",
    "boxes": "videossl.downstream.objectives.detection",
    "frame_class": "videossl.downstream.objectives.frame_classification",
    "gaze": "videossl.downstream.objectives.saliency",
}


@dataclass(frozen=True)
class Protocol:
    """A protocol on frozen features.

    Attributes:
        module: its module.
        kinds: of labels that it tests.
        trains: whether it always wants a GPU; one with a ``solver`` does where that is ``batched``.
    """

    module: str
    kinds: tuple[str, ...]
    trains: bool = False


PROTOCOLS = {
    "linear": Protocol("videossl.downstream.protocols.linear", ("class", "classes", "frame_class")),
    "attentive": Protocol("videossl.downstream.protocols.attentive", ("class",), trains=True),
    "knn": Protocol("videossl.downstream.protocols.knn", ("class",)),
    "retrieval": Protocol("videossl.downstream.protocols.retrieval", ("class",)),
    "leave_one_out": Protocol("videossl.downstream.protocols.leave_one_out", ("scene",)),
    "similarity": Protocol("videossl.downstream.protocols.similarity", ("pairs",)),
}
