"""Names of ``params.yaml`` -> modules, as text, so that no method imports another.

Adding a name here touches no stage: like ``schema.py``, ``params.py``, ``stages.py`` and
``cli.py`` this file decides what runs, not what it computes.
"""

from __future__ import annotations

METHODS = {
    "rspnet": "videossl.methods.rspnet",
    "rho_moco": "videossl.methods.rho_moco",
}

BACKBONES = {
    "r3d": "videossl.models.resnet3d",
    "r2plus1d": "videossl.models.resnet3d",
}

DATASETS = {
    "synthetic": "videossl.data.datasets.ucf101",
    "ucf101": "videossl.data.datasets.ucf101",
}

TASKS = {
    "recognition": "videossl.tasks.recognition",
    "linear": "videossl.tasks.linear",
    "knn": "videossl.tasks.knn",
    "retrieval": "videossl.tasks.retrieval",
}
