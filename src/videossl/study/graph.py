"""The stage graph: for each stage instance what it reads, from whom, with which code.

This is the truth that both engines are held against. A stage instance's fingerprint covers its
declared parameters, the code it can reach, the content of the files that its parameters name and
the fingerprints of the instances it needs, so equal fingerprints mean equal results.

Snakemake runs instances. DVC runs groups: all seeds and splits of a stage for one row and test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from videossl.job import UserError
from videossl.study import code_digest, files, reads, registry, remembered, schema
from videossl.study import params as p
from videossl.study.schema import Params
from videossl.study.stages import Group, Instance, encoder, instance, stage_of

CODE = Path("scratch", "code.json")
MANY = 2000  # sources of which facts are kept: ten times the package's, then it begins anew


class Graph:
    """The stage graph of one ``params.yaml``."""

    def __init__(self, params: Params, raw: Mapping[str, Any]) -> None:
        self.params = params
        self.raw = p.leaves(raw)
        self.rows = [*params.baselines, *params.methods]
        self._own = {row: set(entry) for row, entry in raw["methods"].items()}
        self._fingerprints: dict[Instance, str] = {}

    # ------------------------------------------------------------------ instances

    @cached_property
    def instances(self) -> list[Instance]:
        """All nodes, each after those it needs."""
        return list(self._instances())

    @cached_property
    def _known(self) -> set[Instance]:
        return set(self.instances)

    def _instances(self) -> Iterator[Instance]:
        params = self.params
        for dataset in params.data:
            yield instance("prepare", dataset)
            yield instance("decode", dataset)
        needed = {row.motion for row in params.methods.values()}
        yield from (instance("motion", name) for name in params.motion if name in needed)
        probes = {name: test.run for name, test in params.probe.items() if test.run}
        yield from (instance("select", "finetune", test) for test in params.finetune)
        yield from (instance("select", "probe", test) for test in probes)
        for row in self.rows:
            for seed in map(str, params.seeds):
                yield self.encoder(row, seed)
                for test, spec in params.finetune.items():
                    for split in map(str, spec.splits):
                        yield instance("finetune", row, test, seed, split)
                        yield instance("test", row, test, seed, split)
                for test, protocols in probes.items():
                    yield instance("embed", row, test, seed)
                    for protocol in protocols:
                        for split in map(str, params.probe[test].splits):
                            yield instance("evaluate", row, test, protocol, seed, split)
        yield instance("aggregate")

    def encoder(self, row: str, seed: str) -> Instance:
        """The instance that makes the encoder of a row."""
        return encoder(row, seed, pretrained=row in self.params.methods)

    def find(self, stage: str, key: Mapping[str, str]) -> Instance:
        """The instance a user or an engine asks for.

        Raises:
            UserError: the current ``params.yaml`` has no such instance.
        """
        wanted = Instance(stage, tuple((name, key[name]) for name in stage_of(stage).key))
        if wanted not in self._known:
            have = [str(i) for i in self.instances if i.stage == stage]
            shown = ", ".join(have[:20]) + (f" and {len(have) - 20} more" if have[20:] else "")
            raise UserError(f"params.yaml has no {wanted}; it has: {shown or 'none'}")
        return wanted

    @cached_property
    def groups(self) -> dict[Group, list[Instance]]:
        """DVC's stages and the instances that each runs; none of what nothing needs."""
        found: dict[Group, list[Instance]] = {}
        for node in self.instances:
            found.setdefault(node.group, []).append(node)
        return found

    # ------------------------------------------------------------------ needs

    def needs(self, node: Instance) -> dict[str, list[Instance]]:
        """Role -> the instances whose outputs play it."""
        key = dict(node.key)
        params = self.params
        if node.stage == "decode":
            return {"videos": [instance("prepare", key["dataset"])]}
        if node.stage == "motion":
            return {"shards": [instance("decode", params.motion[key["motion"]].data)]}
        if node.stage == "pretrain":
            row = params.methods[key["row"]]
            shards = {"shards": [instance("decode", row.data)]}
            if row.motion == schema.NO_MOTION:
                return shards
            return {**shards, "motion": [instance("motion", row.motion)]}
        if node.stage == "select":
            data = getattr(params, key["form"])[key["test"]].data
            return {
                "videos": [instance("prepare", data)],
                "shards": [instance("decode", data)],
            }
        if node.stage in ("finetune", "test", "embed"):
            form = "probe" if node.stage == "embed" else "finetune"
            data = getattr(params, form)[key["test"]].data
            names = [key[name] for name in stage_of("finetune").key if name in key]
            first = (
                {"classifier": [instance("finetune", *names)]}
                if node.stage == "test"
                else {"weights": [self.encoder(key["row"], key["seed"])]}
            )
            return {
                **first,
                "shards": [instance("decode", data)],
                "examples": [instance("select", form, key["test"])],
            }
        if node.stage == "evaluate":
            return {
                "features": [instance("embed", key["row"], key["test"], key["seed"])],
                "examples": [instance("select", "probe", key["test"])],
            }
        if node.stage == "aggregate":
            roles = {
                "data": ("decode",),
                "examples": ("select",),
                "encoders": ("pretrain", "initialize"),
                "features": ("embed",),
                "classifiers": ("finetune",),
                "evaluations": ("test", "evaluate"),
            }
            return {
                role: [i for i in self.instances if i.stage in stages]
                for role, stages in roles.items()
            }
        return {}

    # ------------------------------------------------------------------ parameters

    def names(self, node: Instance) -> dict[str, str]:
        """The instance's key, and the entries that its row or test points to."""
        key = dict(node.key)
        if node.stage == "pretrain":
            row = self.params.methods[key["row"]]
            key |= {name: getattr(row, name) for name in ("task", "backbone", "optimizer")}
            key["pretrain"] = row.pretrain
        elif node.stage == "initialize":
            key["backbone"] = self.params.baselines[key["row"]].backbone
        elif node.stage == "finetune":
            key["optimizer"] = self.params.finetune[key["test"]].optimizer
        return key

    def keys(self, node: Instance) -> list[str]:
        """The keys of ``params.yaml`` that the instance declares: leaves or whole sections."""
        names = self.names(node)
        found = []
        for key in reads.fields(node.stage).values():
            path = key.path.format(**names)
            if key.but:
                block = p.pick(self.params, path)
                found += [f"{path}.{field}" for field in block.model_fields_set - {*key.but}]
            elif path in self._below:  # a key that may be absent
                found.append(path)
        return sorted([*found, *self._inherited(node)])

    def _inherited(self, node: Instance) -> list[str]:
        """The keys that a row takes from the entry of its method."""
        if node.stage != "pretrain":
            return []
        row = dict(node.key)["row"]
        method = self.params.methods[row].method
        if method == row or method not in self._own:
            return []
        return [f"methods.{method}.{key}" for key in self._own[method] - self._own[row]]

    def hidden_keys(self, node: Instance) -> list[str]:
        """The declared keys whose names ``dvc.yaml`` cannot form: ``plan`` writes their values."""
        if node.stage == "finetune":
            return [f"optimizer.{self.names(node)['optimizer']}"]
        return self._inherited(node)

    def leaves(self, node: Instance) -> dict[str, Any]:
        """The declared keys down to their leaves, with their values."""
        return self._leaves(self.keys(node))

    def _leaves(self, keys: list[str]) -> dict[str, Any]:
        below = (leaf for key in keys for leaf in self._below.get(key, ()))
        return {leaf: self.raw[leaf] for leaf in sorted(below)}

    def group_leaves(self, group: Group) -> dict[str, Any]:
        """What DVC's stage declares: leaves of all its instances, and the lists that it loops."""
        names = {key for node in self.groups[group] for key in self.keys(node)}
        key = dict(group.key)
        stage = stage_of(group.stage)
        if "seed" in stage.key:
            names.add("seeds")
        if "split" in stage.key:
            names.add(f"{stage.form}.{key['test']}.splits")
        if "protocol" in stage.key:  # a template cannot name those that are there
            names.add(f"probe.{key['test']}")
        return self._leaves(sorted(names))

    def hidden_leaves(self, group: Group) -> dict[str, Any]:
        """Those that ``plan`` writes down for DVC."""
        return self._leaves(sorted({k for n in self.groups[group] for k in self.hidden_keys(n)}))

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """Key -> the leaves that it is or holds."""
        found: dict[str, list[str]] = {}
        for leaf in self.raw:
            parts = leaf.split(".")
            for length in range(1, len(parts) + 1):
                found.setdefault(".".join(parts[:length]), []).append(leaf)
        return found

    def subset(self, node: Instance) -> reads.StageParams:
        """What the stage process is handed: the declared parameters, typed, and nothing else."""
        return reads.subset(self.params, node.stage, self.names(node))

    def gpus(self, node: Instance) -> int:
        """Processes of a node that compute it, each with a GPU where there is one; 0: none."""
        if node.stage == "evaluate":
            key = dict(node.key)
            spec = getattr(self.params.probe[key["test"]], key["protocol"])
            trains = registry.PROTOCOLS[key["protocol"]].trains
            return int(trains or getattr(spec, "solver", "") == "batched")
        if node.stage != "pretrain":
            return int(node.stage in ("finetune", "test", "embed"))
        return self.params.pretrain[self.names(node)["pretrain"]].gpus

    def nodes(self, node: Instance) -> int:
        """How many machines compute the instance together."""
        if node.stage != "pretrain":
            return 1
        return self.params.pretrain[self.names(node)["pretrain"]].nodes

    def contents(self, node: Instance) -> dict[str, str]:
        """File that a parameter names -> digest of its content, for files that decide a result."""
        named = []
        if node.stage == "initialize":
            named.append(self.params.baselines[dict(node.key)["row"]].weights)
        if node.stage in ("initialize", "pretrain"):
            backbone = self.params.backbone[self.names(node)["backbone"]]
            named.append(getattr(backbone, "weights", ""))
        return {name: files.digest(Path(name)) for name in named if files.named(name)}

    # ------------------------------------------------------------------ code

    def modules(self, node: Instance) -> dict[str, str]:
        """Role -> module of the components that the parameters select."""
        key = dict(node.key)
        params = self.params
        if node.stage == "prepare":
            return {"dataset": registry.DATASETS[params.data[key["dataset"]].format]}
        found = {}
        if "row" in key and node.stage != "evaluate":
            entries = params.methods if key["row"] in params.methods else params.baselines
            backbone = params.backbone[entries[key["row"]].backbone]
            found["backbone"] = registry.BACKBONES[backbone.name]
        if node.stage == "pretrain":
            found["method"] = registry.METHODS[params.methods[key["row"]].method]
        if node.stage == "select":
            test = getattr(params, key["form"])[key["test"]]
            kind = registry.LABELS[params.data[test.data].format][test.labels]
            found["kind"] = registry.KINDS[kind]
        if node.stage in ("finetune", "test"):
            test = params.finetune[key["test"]]
            kind = registry.LABELS[params.data[test.data].format][test.labels]
            found["objective"] = registry.OBJECTIVES[kind]
        return found

    def entry(self, node: Instance) -> str:
        """The module whose ``run(job, params)`` is the stage."""
        key = dict(node.key)
        if node.stage == "prepare":
            if isinstance(self.params.data[key["dataset"]], schema.SyntheticData):
                return "videossl.data.builtin.synthetic"
            return "videossl.data.datasets.prepare"
        if node.stage == "evaluate":
            return registry.PROTOCOLS[key["protocol"]].module
        return stage_of(node.stage).entry

    def code(self, node: Instance) -> dict[str, str]:
        """Module -> digest of its syntax tree, for all code the stage can reach."""
        before = len(code_digest.known)
        found = code_digest.closure({self.entry(node), *self.modules(node).values()})
        if len(code_digest.known) > before:
            remembered.write(CODE, code_digest.known)
        return found

    # ------------------------------------------------------------------ identity

    def fingerprint(self, node: Instance) -> str:
        """12 hexadecimal digits that stand for everything that decides the instance's result."""
        if node not in self._fingerprints:  # a stage asks for itself and what it needs, not for all
            needs = {
                role: [(str(i), self.fingerprint(i)) for i in nodes]
                for role, nodes in self.needs(node).items()
            }
            contents = self.contents(node)
            identity = [str(node), self.leaves(node), self.code(node), contents, needs]
            text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
            self._fingerprints[node] = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self._fingerprints[node]

    def path(self, node: Instance) -> Path:
        """Where Snakemake keeps the output, below its root: ``<stage>/<key>/<fingerprint>``."""
        return node.path / self.fingerprint(node)


def load(path: Path = p.DEFAULT) -> Graph:
    """The graph of a ``params.yaml``.

    Raises:
        UserError: the file is invalid.
    """
    kept = remembered.read(CODE)
    if len(kept) < MANY:
        code_digest.known.update(
            {mark: (facts[0], tuple(facts[1])) for mark, facts in kept.items()}
        )
    raw = p.read(path)
    return Graph(p.validate(raw, str(path)), raw)
