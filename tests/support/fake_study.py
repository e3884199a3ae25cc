"""A made-up study on disk, as the stages before ``aggregate`` would have left it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from videossl.job import Job
from videossl.report import aggregate
from videossl.study import records, schema
from videossl.study.reads import AggregateParams

# Right answers out of 180 test examples: (scratch, rspnet, rho_moco)
CORRECT = {
    "recognition": {"top1": (104, 148, 157), "top5": (160, 176, 178)},
    "linear": {"top1": (62, 135, 149), "top5": (137, 172, 177)},
    "knn": {"top1": (49, 128, 121), "top5": (121, 166, 163)},
    "retrieval": {
        "R@1": (47, 119, 119),
        "R@10": (139, 173, 174),
        "R@5": (111, 160, 163),
        "R@50": (175, 180, 180),
        "R@20": (157, 178, 179),
    },
}
N = 180
TUNED = ("recognition", "detection", "saliency")  # protocols of fine-tuned networks
ROWS = ("scratch", "rspnet", "rho_moco")
# ``aggregate`` reads the names of datasets and their formats.
DATASET = schema.SyntheticData.model_construct(format="synthetic")


def method(name: str, backbone: str = "small", **keys: Any) -> schema.MethodBlock:
    """A row that is pretrained: what ``aggregate`` reads of it, and ``keys`` of RSPNet's."""
    return schema.RSPNet.model_construct(method=name, backbone=backbone, **keys)


def finetune(data: str = "synthetic", labels: str = "action", **keys: Any) -> schema.Finetune:
    """A test that trains the network."""
    keys = {"splits": [1], "share": 0.2} | keys
    return schema.Finetune.model_construct(data=data, labels=labels, **keys)


def probe(
    data: str = "synthetic",
    labels: str = "action",
    protocols: tuple[str, ...] = ("linear", "knn", "retrieval"),
    **keys: Any,
) -> schema.Probe:
    """A test on the frozen network."""
    blocks = {
        "linear": schema.Linear(solver="lbfgs", regularization=1.0, iterations=100),
        "knn": schema.KNN(neighbours=20, temperature=0.07),
        "retrieval": schema.Retrieval(topk=[1, 5, 10, 20, 50]),
    }
    found = {name: blocks[name] for name in protocols}
    keys = {"splits": [1]} | keys
    return schema.Probe.model_construct(data=data, labels=labels, **found, **keys)


@dataclass
class FakeStudy:
    """Writes stage outputs under ``root`` and hands them to ``aggregate`` as a ``Job``."""

    root: Path
    title: str = "RSPNet and ρMoCo on the built-in dataset"
    seeds: tuple[int, ...] = (0,)
    datasets: tuple[str, ...] = ("synthetic",)
    formats: dict[str, schema.Dataset] = field(default_factory=dict)  # of those not built in
    methods: dict[str, schema.MethodBlock] = field(
        default_factory=lambda: {"rspnet": method("rspnet"), "rho_moco": method("rho_moco")}
    )
    baselines: dict[str, str] = field(default_factory=lambda: {"scratch": "small"})  # backbones
    weights: str = "random"  # of the baselines
    finetune: dict[str, schema.Finetune] = field(default_factory=lambda: {"synthetic": finetune()})
    probe: dict[str, schema.Probe] = field(default_factory=lambda: {"synthetic": probe()})
    inputs: dict[str, list[Path]] = field(default_factory=dict)

    def params(self) -> AggregateParams:
        return AggregateParams.model_construct(
            seeds=list(self.seeds),
            data={name: self.formats.get(name, DATASET) for name in self.datasets},
            methods=self.methods,
            baselines={
                name: schema.Baseline(weights=self.weights, backbone=backbone)
                for name, backbone in self.baselines.items()
            },
            finetune=self.finetune,
            probe=self.probe,
            report=schema.Report(title=self.title, decimals=1),
        )

    def job(self, out: Path) -> Job:
        """A job that is given every output."""
        out.mkdir(parents=True, exist_ok=True)
        inputs = {role: tuple(paths) for role, paths in self.inputs.items()}
        return Job("aggregate", {}, inputs, out, self.root / "scratch", 1, {})

    def stage(
        self, stage: str, role: str, seconds: float, key: dict[str, str], **params: Any
    ) -> Path:
        """An output with its record; ``params`` are leaves, dots written as ``__``."""
        folder = self.root.joinpath(stage, *key.values(), "5f3a")
        folder.mkdir(parents=True)
        record = {
            "stage": stage,
            "key": key,
            "fingerprint": "5f3a",
            "seconds": seconds,
            "params": {name.replace("__", "."): value for name, value in params.items()},
            "contents": {},
            "code": {},
            "versions": {"python": "3.11.7", "torch": "2.14.0"},
            "files": {},
        }
        (folder / "stage.json").write_text(json.dumps(record))
        self.inputs.setdefault(role, []).append(folder)
        return folder

    def evaluation(
        self,
        row: str,
        protocol: str,
        metrics: dict[str, float],
        test: str = "synthetic",
        seed: int = 0,
        split: int = 1,
        n: int = N,
        hits: dict[str, np.ndarray] | None = None,
    ) -> Path:
        """Results of one row; ``hits`` are values per example, of examples 0 to n - 1."""
        form = "finetune" if protocol in TUNED else "probe"
        place = {"seed": str(seed), "split": str(split)}
        own = {} if form == "finetune" else {"protocol": protocol}
        key = {"row": row, "test": test, **own, **place}
        stage = "test" if form == "finetune" else "evaluate"
        folder = self.stage(stage, "evaluations", 2.4, key)
        one = {
            "row": row,
            "test": test,
            "form": form,
            "protocol": protocol,
            "seed": seed,
            "split": split,
            "n": n,
            "metrics": metrics,
        }
        (folder / "metrics.json").write_text(json.dumps(one))
        if hits is not None:
            values = {f"value.{name}": value.astype(np.float32) for name, value in hits.items()}
            np.savez(folder / "predictions.npz", examples=np.arange(n), **values)
        return folder

    def pretraining(self, row: str, start: float, end: float, seed: int = 0, **params: Any) -> Path:
        key = {"row": row, "seed": str(seed)}
        folder = self.stage("pretrain", "encoders", 93.2, key, **params)
        t = np.arange(400)
        noise = np.random.default_rng([7, seed, len(row)]).normal(0, 0.12, len(t))
        loss = end + (start - end) * np.exp(-4 * t / len(t)) + noise
        lr = 0.05 * (1 + np.cos(np.pi * t / len(t)))
        lines = ["step\tepoch\tloss\tlr\taccuracy"]
        lines += [f"{i}\t{i // 20}\t{loss[i]:.7g}\t{lr[i]:.7g}\t0.5" for i in t]
        (folder / "curve.tsv").write_text("\n".join(lines) + "\n")
        return folder

    def embedding(
        self, row: str, rank: float, test: str = "synthetic", seed: int = 0, **facts: int
    ) -> Path:
        """Features of a row, or rather what ``embed`` says of them."""
        key = {"row": row, "test": test, "seed": str(seed)}
        folder = self.stage("embed", "features", 5.0, key)
        about = {"examples": 720, "dimensions": 512, "rankme": rank, "rankme_examples": 720}
        (folder / "metrics.json").write_text(json.dumps(about | facts))
        return folder

    def finetuning(
        self, row: str, top: float, test: str = "synthetic", seed: int = 0, split: int = 1
    ) -> Path:
        key = {"row": row, "test": test, "seed": str(seed), "split": str(split)}
        share = self.finetune[test].share
        folder = self.stage(
            "finetune", "classifiers", 41.0, key, **{f"finetune__{test}__share": share}
        )
        lines = ["epoch\tloss\tvalidation_top1\tvalidation_loss"]
        for epoch in range(12):
            reached = (1 - np.exp(-0.4 * (epoch + 1))) * top
            wobble = 0.03 * np.sin(3.0 * epoch + len(row) + seed)
            lines.append(f"{epoch}\t{2.5 - 2.1 * reached:.6f}\t{reached + wobble:.4f}\t1.0")
        (folder / "curve.tsv").write_text("\n".join(lines) + "\n")
        return folder

    def decoding(self, dataset: str, rejected: int = 0, /, **changes: Any) -> Path:
        folder = self.stage("decode", "data", 11.8, {"dataset": dataset}, decode__codec="jpeg")
        videos = [
            {"name": f"v_{i:04d}", "label": i % 4, "splits": {"1": "train"}, "frames": 40 + i % 9}
            for i in range(720)
        ]
        bad = [
            {"name": f"Odd/v_bad_{i:03d}.avi", "reason": "moov atom not found <truncated>"}
            for i in range(rejected)
        ]
        manifest = {
            "dataset": dataset,
            "classes": ["GrowCircle", "ShakeFast", "OrbitLeft", "<b>Odd & class</b>"],
            "videos": videos,
            "rejects": bad,
        } | changes
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    def encoders(self) -> None:
        """Encoders of all rows and seeds."""
        for seed in self.seeds:
            for row in self.baselines:
                key = {"row": row, "seed": str(seed)}
                weights = {f"baselines__{row}__weights": "random"}
                self.stage("initialize", "encoders", 0.4, key, **weights)
            for place, row in enumerate(self.methods):
                self.pretraining(row, 6.1 + place, 3.2 + place, seed, task__margin=0.15)

    def fill(self, rejects: int = 3) -> "FakeStudy":
        """All outputs of a finished study of three rows on one test, one split."""
        for dataset in self.datasets:
            self.decoding(dataset, rejects)
        self.encoders()
        for seed in self.seeds:
            for place, row in enumerate(ROWS):
                self.finetuning(row, (0.6, 0.84, 0.88)[place], seed=seed)
                for protocol, metrics in CORRECT.items():
                    counts = {name: c[place] - seed * place for name, c in metrics.items()}
                    hits = {name: right(count, seed) for name, count in counts.items()}
                    shares = {name: count / N for name, count in counts.items()}
                    self.evaluation(row, protocol, shares, seed=seed, hits=hits)
        return self


def right(count: int, seed: int = 0) -> np.ndarray:
    """1 for ``count`` of the test examples, 0 for the others: easier ones first."""
    order = np.random.default_rng([3, seed, count]).normal(np.arange(N), 40).argsort()
    hits = np.zeros(N)
    hits[order[:count]] = 1
    return hits


def run(study: FakeStudy, out: Path) -> Path:
    """Aggregate into ``out``."""
    aggregate.run(study.job(out), study.params())
    return out


def sealed(report: Path, params: dict[str, Any]) -> None:
    """Write the record of a report, as the stage does that makes it; in the place of its last."""
    (report / "stage.json").unlink(missing_ok=True)
    made = {"stage": "aggregate", "key": {}, "fingerprint": "0", "params": params}
    records.write({**made, "files": records.digests(report)}, report)
