"""Names of ``params.yaml`` -> modules, as text, so that no method imports another.

Adding a name here touches no stage: like ``schema/``, ``params.py``, ``stages.py`` and
``cli.py`` this file decides what runs, not what it computes.
"""

from __future__ import annotations

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
    "r2plus1d": "videossl.models.resnet3d",
    "r3d_rspnet": "videossl.models.rspnet_nets",
    "r2plus1d_rspnet": "videossl.models.rspnet_nets",
    "c3d": "videossl.models.c3d",
    "s3dg": "videossl.models.s3dg",
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
    "charades": "videossl.data.datasets.charades",
    "ava": "videossl.data.datasets.ava",
    "aslan": "videossl.data.datasets.aslan",
    "yupenn": "videossl.data.datasets.scenes",
    "maryland": "videossl.data.datasets.scenes",
    "folder": "videossl.data.datasets.folder",
    "csv": "videossl.data.datasets.csv",
    "frame_classes": "videossl.data.datasets.frames",
    "gaze": "videossl.data.datasets.frames",
}

# What the labels of a format are; the kind decides which protocols can test on it.
KINDS = {
    "synthetic": "recognition",
    "ucf101": "recognition",
    "hmdb51": "recognition",
    "kinetics": "recognition",
    "ssv2": "recognition",
    "charades": "multi_label",
    "ava": "boxes",
    "aslan": "pairs",
    "yupenn": "scenes",
    "maryland": "scenes",
    "folder": "recognition",
    "csv": "recognition",
    "frame_classes": "frame_classes",
    "gaze": "gaze",
}

TASKS = {
    "recognition": "videossl.downstream.protocols.recognition",
    "linear": "videossl.downstream.protocols.linear",
    "knn": "videossl.downstream.protocols.knn",
    "retrieval": "videossl.downstream.protocols.retrieval",
}
