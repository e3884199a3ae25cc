"""The stages: what each is for, by what its instances differ, what they are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOOPED = ("seed", "split")  # what DVC's stages loop over


@dataclass(frozen=True)
class Stage:
    """What all instances of a stage share."""

    about: str
    key: tuple[str, ...]  # names of what tells its instances apart
    entry: str  # the module whose ``run`` does the work; "" where the instance decides
    needs: tuple[str, ...]  # roles of its inputs
    form: str = ""  # the section of params.yaml that its tests are in
    glances: tuple[str, ...] = ()  # roles of whose large arrays it reads none


STAGES = {
    "prepare": Stage("write the built-in dataset, or list one on disk", ("dataset",), "", ()),
    "decode": Stage(
        "decode videos into LMDB clip shards",
        ("dataset",),
        "videossl.data.decoding.decode",
        ("videos",),
    ),
    "motion": Stage(
        "compute optical flow of a dataset's stored videos",
        ("motion",),
        "videossl.data.motion.compute",
        ("shards",),
    ),
    "select": Stage(
        "choose the examples of a test: videos or moments, their parts and targets",
        ("form", "test"),
        "videossl.downstream.select",
        ("videos", "shards"),
    ),
    "pretrain": Stage(
        "pretrain an encoder without labels",
        ("row", "seed"),
        "videossl.train.pretrain",
        ("shards", "motion"),
    ),
    "initialize": Stage(
        "make the encoder of a baseline row", ("row", "seed"), "videossl.train.initialize", ()
    ),
    "finetune": Stage(
        "train the whole network on the labelled part",
        ("row", "test", "seed", "split"),
        "videossl.downstream.finetune",
        ("weights", "shards", "examples"),
        "finetune",
    ),
    "test": Stage(
        "predict with a fine-tuned network, then measure",
        ("row", "test", "seed", "split"),
        "videossl.downstream.test",
        ("classifier", "shards", "examples"),
        "finetune",
    ),
    "embed": Stage(
        "compute features of every example",
        ("row", "test", "seed"),
        "videossl.downstream.embed",
        ("weights", "shards", "examples"),
        "probe",
    ),
    "evaluate": Stage(
        "predict from features, then measure, by one protocol",
        ("row", "test", "protocol", "seed", "split"),
        "",
        ("features", "examples"),
        "probe",
    ),
    "aggregate": Stage(
        "gather all results into tables, figures and the report",
        (),
        "videossl.report.aggregate",
        ("data", "examples", "encoders", "features", "classifiers", "evaluations"),
        glances=("features",),
    ),
}


@dataclass(frozen=True)
class Group:
    """What DVC runs as one stage."""

    stage: str
    key: tuple[tuple[str, str], ...]

    @property
    def path(self) -> Path:
        """``<stage>/<key>``: where its output lies under DVC's root.

        Encoders of baselines lie beside pretrained ones: later stages are told a row, whichever.
        """
        stage = "pretrain" if self.stage == "initialize" else self.stage
        return Path(stage, *(value for _, value in self.key))

    def __str__(self) -> str:
        return "/".join((self.stage, *(value for _, value in self.key)))


@dataclass(frozen=True)
class Instance:
    """One stage for one dataset, row, seed, ...: a node of the graph."""

    stage: str
    key: tuple[tuple[str, str], ...]  # (("row", "rspnet"), ("test", "ucf101"), ("seed", "0"), ...)

    @property
    def group(self) -> Group:
        """The stage of DVC that runs it: all protocols, seeds and splits of one row and test."""
        coarse = (*LOOPED, "protocol")
        return Group(self.stage, tuple(pair for pair in self.key if pair[0] not in coarse))

    @property
    def part(self) -> Path:
        """Where its output lies in that of its group."""
        coarse = (*LOOPED, "protocol")
        return Path(*(_shown(*pair) for pair in self.key if pair[0] in coarse))

    @property
    def path(self) -> Path:
        """``<stage>/<key>``: where its output lies under Snakemake's root."""
        return Path(self.stage, *(_shown(*pair) for pair in self.key))

    def __str__(self) -> str:
        return self.path.as_posix()


def _shown(name: str, value: str) -> str:
    return f"{name}-{value}" if name in LOOPED else value


def stage_of(name: str) -> Stage:
    """The stage of that name."""
    return STAGES[name]


def instance(stage: str, *key: str) -> Instance:
    """The instance of ``stage`` for the given values of its key."""
    return Instance(stage, tuple(zip(STAGES[stage].key, key, strict=True)))


def encoder(row: str, seed: str, pretrained: bool) -> Instance:
    """The instance that makes a row's encoder."""
    return instance("pretrain" if pretrained else "initialize", row, seed)
