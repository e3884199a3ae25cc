"""The stage graph: for each stage instance what it reads, from whom, with which code.

This is the truth that both engines are held against. A stage instance's fingerprint covers its
declared parameters, the code it can reach and the fingerprints of the instances it needs, so equal
fingerprints mean equal results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from videossl.job import UserError
from videossl.study import code_digest, registry, schema
from videossl.study import params as p
from videossl.study.schema import Params


@dataclass(frozen=True)
class Instance:
    """One stage for one dataset, method, ...: a node of the graph."""

    stage: str
    who: tuple[tuple[str, str], ...]  # (("encoder", "rspnet"), ("dataset", "ucf101"))

    @property
    def path(self) -> Path:
        """``<stage>/<who>``: where its output lies under an engine's root."""
        return Path(self.stage, *(value for _, value in self.who))

    def __str__(self) -> str:
        return self.path.as_posix()


@dataclass(frozen=True)
class Stage:
    """What all instances of a stage share."""

    about: str
    who: tuple[str, ...]
    entry: str  # the module whose ``run`` does the work; "" where the instance decides
    needs: tuple[str, ...]  # roles of its inputs


STAGES = {
    "prepare": Stage("write the built-in dataset, or list one on disk", ("dataset",), "", ()),
    "decode": Stage(
        "decode videos into LMDB clip shards",
        ("dataset",),
        "videossl.data.decoding.decode",
        ("videos",),
    ),
    "motion": Stage(
        "compute optical flow of the pretraining dataset",
        ("motion",),
        "videossl.data.motion.compute",
        ("shards",),
    ),
    "pretrain": Stage(
        "pretrain an encoder without labels",
        ("method",),
        "videossl.train.pretrain",
        ("shards", "motion"),
    ),
    "initialize": Stage(
        "make the encoder of a baseline row", ("baseline",), "videossl.train.initialize", ()
    ),
    "finetune": Stage(
        "train the whole network on the labelled part",
        ("encoder", "dataset"),
        "videossl.downstream.finetune",
        ("weights", "shards"),
    ),
    "embed": Stage(
        "compute features of every video",
        ("encoder", "dataset"),
        "videossl.downstream.embed",
        ("weights", "shards"),
    ),
    "evaluate": Stage(
        "predict, then measure, by one protocol", ("encoder", "dataset", "protocol"), "", ()
    ),
    "aggregate": Stage(
        "gather all results into tables, figures and the report",
        (),
        "videossl.report.aggregate",
        ("data", "pretrainings", "finetunings", "evaluations"),
    ),
}


def instance(stage: str, *who: str) -> Instance:
    """The instance of ``stage`` for the given values of its ``who``."""
    return Instance(stage, tuple(zip(STAGES[stage].who, who, strict=True)))


class Graph:
    """The stage graph of one ``params.yaml``."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.raw = p.leaves(p.dump(params))
        self.datasets = list(params.data)
        self.tested = params.evaluate.datasets
        self.methods = list(p.dump(params.methods))
        self.encoders = [*params.baselines, *self.methods]
        self.finetuned = list(p.dump(params.evaluate.finetuned))
        self.frozen = list(p.dump(params.evaluate.frozen))
        self._fingerprints: dict[Instance, str] = {}

    @cached_property
    def instances(self) -> list[Instance]:
        """All nodes, each after those it needs."""
        return list(self._instances())

    def _instances(self) -> Iterator[Instance]:
        for dataset in self.datasets:
            yield instance("prepare", dataset)
            yield instance("decode", dataset)
        for name in self.params.motion:
            yield instance("motion", name)
        for encoder in self.encoders:
            yield self._encoder(encoder)
            for dataset in self.tested:
                if self.finetuned:
                    yield instance("finetune", encoder, dataset)
                yield from (instance("evaluate", encoder, dataset, name) for name in self.finetuned)
                if self.frozen:
                    yield instance("embed", encoder, dataset)
                yield from (instance("evaluate", encoder, dataset, name) for name in self.frozen)
        yield instance("aggregate")

    def _encoder(self, name: str) -> Instance:
        return instance("pretrain" if name in self.methods else "initialize", name)

    def find(self, stage: str, who: Mapping[str, str]) -> Instance:
        """The instance a user or an engine asks for.

        Raises:
            UserError: the current ``params.yaml`` has no such instance.
        """
        wanted = Instance(stage, tuple((key, who[key]) for key in STAGES[stage].who))
        if wanted not in self.instances:
            have = ", ".join(str(i) for i in self.instances if i.stage == stage) or "none"
            raise UserError(f"params.yaml has no {wanted}; it has: {have}")
        return wanted

    # ------------------------------------------------------------------ needs

    def needs(self, node: Instance) -> dict[str, list[Instance]]:
        """Role -> the instances whose outputs play it."""
        who = dict(node.who)
        if node.stage == "decode":
            return {"videos": [instance("prepare", who["dataset"])]}
        if node.stage in ("motion", "pretrain"):
            shards = {"shards": [instance("decode", self.params.pretrain.dataset)]}
            if node.stage == "motion":
                return shards
            name = p.pick(self.params, f"methods.{who['method']}.motion")
            return (
                shards
                if name == schema.NO_MOTION
                else {**shards, "motion": [instance("motion", name)]}
            )
        if node.stage in ("finetune", "embed"):
            return {
                "weights": [self._encoder(who["encoder"])],
                "shards": [instance("decode", who["dataset"])],
            }
        if node.stage == "evaluate":
            pair = (who["encoder"], who["dataset"])
            if who["protocol"] in self.frozen:
                return {"features": [instance("embed", *pair)]}
            return {
                "classifier": [instance("finetune", *pair)],
                "shards": [instance("decode", who["dataset"])],
            }
        if node.stage == "aggregate":
            roles = {
                "data": ("decode",),
                "pretrainings": ("pretrain", "initialize"),
                "finetunings": ("finetune",),
                "evaluations": ("evaluate",),
            }
            return {
                role: [i for i in self.instances if i.stage in stages]
                for role, stages in roles.items()
            }
        return {}

    # ------------------------------------------------------------------ parameters

    def _reads(self, node: Instance) -> type[p.StageParams]:
        if node.stage == "evaluate":
            frozen = dict(node.who)["protocol"] in self.frozen
            return p.FrozenParams if frozen else p.RecognitionParams
        return p.READS[node.stage]

    def _names(self, node: Instance) -> dict[str, str]:
        who = dict(node.who)
        if node.stage == "pretrain":
            who["task"] = p.pick(self.params, f"methods.{who['method']}.task")
        return who

    def keys(self, node: Instance) -> list[str]:
        """The keys of ``params.yaml`` that the instance declares: leaves or whole sections."""
        return sorted(p.declared(self._reads(node), **self._names(node)).values())

    def leaves(self, node: Instance) -> dict[str, Any]:
        """The declared keys down to their leaves, with their values."""
        below = (leaf for key in self.keys(node) for leaf in self._below.get(key, ()))
        return {leaf: self.raw[leaf] for leaf in sorted(below)}

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """Key -> the leaves that it is or holds."""
        found: dict[str, list[str]] = {}
        for leaf in self.raw:
            parts = leaf.split(".")
            for length in range(1, len(parts) + 1):
                found.setdefault(".".join(parts[:length]), []).append(leaf)
        return found

    def subset(self, node: Instance) -> p.StageParams:
        """What the stage process is handed: the declared parameters, typed, and nothing else."""
        return p.subset(self.params, self._reads(node), **self._names(node))

    # ------------------------------------------------------------------ code

    def modules(self, node: Instance) -> dict[str, str]:
        """Role -> module of the components that the parameters select."""
        who = dict(node.who)
        backbone = registry.BACKBONES[self.params.model.name]
        if node.stage == "prepare":
            return {"dataset": registry.DATASETS[self.params.data[who["dataset"]].format]}
        if node.stage == "pretrain":
            return {"method": registry.METHODS[who["method"]], "backbone": backbone}
        if node.stage in ("initialize", "finetune", "embed"):
            return {"backbone": backbone}
        if node.stage == "evaluate" and who["protocol"] in self.finetuned:
            return {"backbone": backbone}
        return {}

    def entry(self, node: Instance) -> str:
        """The module whose ``run(job, params)`` is the stage."""
        who = dict(node.who)
        if node.stage == "prepare":
            built_in = self.params.data[who["dataset"]].format == "synthetic"
            return (
                "videossl.data.builtin.synthetic" if built_in else "videossl.data.datasets.prepare"
            )
        if node.stage == "evaluate":
            return registry.TASKS[who["protocol"]]
        return STAGES[node.stage].entry

    def code(self, node: Instance) -> dict[str, str]:
        """Module -> digest of its syntax tree, for all code the stage can reach."""
        return code_digest.closure({self.entry(node), *self.modules(node).values()})

    def code_name(self, node: Instance) -> str:
        """Where the instance's code digest is written for DVC: instances that share it share it."""
        who = dict(node.who)
        chooser = {"prepare": "dataset", "pretrain": "method"}
        part = who.get(chooser.get(node.stage, "protocol"))
        return f"{node.stage}/{part}" if part else node.stage

    # ------------------------------------------------------------------ identity

    def fingerprint(self, node: Instance) -> str:
        """12 hexadecimal digits that stand for everything that decides the instance's result."""
        if node not in self._fingerprints:  # a stage asks for itself and what it needs, not for all
            needs = {
                role: [(str(i), self.fingerprint(i)) for i in nodes]
                for role, nodes in self.needs(node).items()
            }
            identity = [str(node), self.leaves(node), self.code(node), needs]
            text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
            self._fingerprints[node] = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self._fingerprints[node]

    def path(self, node: Instance) -> Path:
        """Where Snakemake keeps the output, below its root: ``<stage>/<who>/<fingerprint>``."""
        return node.path / self.fingerprint(node)


def load(path: Path = p.DEFAULT) -> Graph:
    """The graph of a ``params.yaml``.

    Raises:
        UserError: the file is invalid.
    """
    return Graph(p.load(path))
