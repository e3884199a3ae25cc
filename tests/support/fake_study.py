"""A made-up study on disk, as the stages before ``aggregate`` would have left it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from videossl.job import Job
from videossl.report import aggregate
from videossl.study import schema
from videossl.study.params import AggregateParams

# ``aggregate`` reads which rows and datasets there are, never what their blocks hold.
RSPNET = schema.RSPNet.model_construct()
RHO_MOCO = schema.RhoMoCo.model_construct()
SYNTHETIC = schema.SyntheticData.model_construct()
FOLDER = schema.FolderData.model_construct()

# Right answers out of 180 test videos: (scratch, rspnet, rho_moco)
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


@dataclass
class FakeStudy:
    """Writes stage outputs under ``root`` and hands them to ``aggregate`` as a ``Job``."""

    root: Path
    title: str = "RSPNet and ρMoCo on the built-in dataset"
    baseline: str = "scratch"
    methods: schema.Methods = field(
        default_factory=lambda: schema.Methods.model_construct(rspnet=RSPNET, rho_moco=RHO_MOCO)
    )
    baselines: tuple[str, ...] = ("scratch",)
    knn: bool = True
    datasets: dict[str, schema.SyntheticData | schema.FolderData] = field(
        default_factory=lambda: {"synthetic": SYNTHETIC}
    )

    def params(self) -> AggregateParams:
        return AggregateParams.model_construct(
            data=self.datasets,
            methods=self.methods,
            baselines={name: schema.Baseline(weights="random") for name in self.baselines},
            evaluate=schema.Evaluate(
                datasets=list(self.datasets),
                finetuned=schema.Finetuned(
                    recognition=schema.Recognition(clips=5, batch_size=32, topk=[1, 5])
                ),
                frozen=schema.Frozen(
                    linear=schema.Linear(regularization=1.0, iterations=100),
                    retrieval=schema.Retrieval(topk=[1, 5, 10, 20, 50]),
                    **({"knn": schema.KNN(neighbours=20, temperature=0.07)} if self.knn else {}),
                ),
            ),
            report=schema.Report(title=self.title, baseline=self.baseline, decimals=1),
        )

    def job(self, out: Path, **inputs: tuple[Path, ...]) -> Job:
        """A job that names every output by itself, or those in ``inputs``."""
        roles = {
            "evaluations": "evaluate",
            "pretrainings": "pretrain",
            "finetunings": "finetune",
            "data": "decode",
        }
        named = {
            role: tuple(sorted(file.parent for file in (self.root / stage).rglob("stage.json")))
            for role, stage in roles.items()
        }
        out.mkdir()
        return Job("aggregate", {}, named | inputs, out, self.root / "scratch", 1, {})

    def parents(self) -> dict[str, tuple[Path, ...]]:
        """The same inputs as the folders that hold them, as one engine passes them."""
        return {
            "evaluations": (self.root / "evaluate",),
            "pretrainings": (self.root / "pretrain",),
            "finetunings": (self.root / "finetune",),
            "data": (self.root / "decode",),
        }

    def stage(self, stage: str, who: dict[str, str], seconds: float, **params: object) -> Path:
        kind = "pretrain" if stage == "initialize" else stage
        folder = self.root.joinpath(kind, *who.values(), "5f3a")
        folder.mkdir(parents=True)
        record = {
            "stage": stage,
            "who": who,
            "fingerprint": "5f3a",
            "seconds": seconds,
            "params": {"seed": 0, "split": 1, "clip.frames": 8, "clip.stride": 4} | params,
            "versions": {"python": "3.11.7", "torch": "2.14.0"},
        }
        (folder / "stage.json").write_text(json.dumps(record))
        return folder

    def evaluation(self, row: str, dataset: str, protocol: str, metrics: dict[str, float]) -> Path:
        who = {"encoder": row, "dataset": dataset, "protocol": protocol}
        folder = self.stage("evaluate", who, 2.4)
        one = {
            "method": row,
            "dataset": dataset,
            "protocol": protocol,
            "split": 1,
            "seed": 0,
            "n": N,
            "metrics": metrics,
        }
        (folder / "metrics.json").write_text(json.dumps(one))
        return folder

    def pretraining(self, row: str, steps: int, start: float, end: float, **params: object) -> Path:
        folder = self.stage("pretrain", {"method": row}, 93.2, **params)
        t = np.arange(steps)
        noise = np.random.default_rng([7, len(row)]).normal(0, 0.12, steps)
        loss = end + (start - end) * np.exp(-4 * t / steps) + noise
        lr = 0.05 * (1 + np.cos(np.pi * t / steps))
        lines = ["step\tepoch\tloss\tlr\taccuracy"]
        lines += [f"{i}\t{i // 20}\t{loss[i]!r}\t{lr[i]!r}\t0.5" for i in range(steps)]
        (folder / "curve.tsv").write_text(
            "\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n"
        )
        return folder

    def finetuning(self, row: str, dataset: str, top: float) -> Path:
        folder = self.stage(
            "finetune", {"encoder": row, "dataset": dataset}, 41.0, **{"finetune.epochs": 12}
        )
        lines = ["epoch\tloss\ttrain_top1\tvalidation_top1"]
        for epoch in range(12):
            share = 1 - np.exp(-0.4 * (epoch + 1))
            wobble = 0.03 * np.sin(3.0 * epoch + len(row))
            lines.append(
                f"{epoch}\t{2.5 - 2.1 * share * top:.6f}\t{share:.4f}\t{share * top + wobble:.4f}"
            )
        (folder / "curve.tsv").write_text("\n".join(lines) + "\n")
        return folder

    def decoding(self, dataset: str, rejects: int) -> Path:
        folder = self.stage("decode", {"dataset": dataset}, 11.8, **{"decode.codec": "jpeg"})
        classes = ["GrowCircle", "ShakeFast", "OrbitLeft", "<b>Odd & class</b>"]
        manifest = {
            "dataset": dataset,
            "classes": classes,
            "videos": [
                {
                    "name": f"v_{i:04d}",
                    "label": i % 4,
                    "splits": {"1": "train"},
                    "frames": 40 + i % 9,
                }
                for i in range(720)
            ],
            "rejects": [
                {"name": f"Odd/v_bad_{i:03d}.avi", "reason": "moov atom not found <truncated>"}
                for i in range(rejects)
            ],
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    def fill(self, rejects: int = 3) -> "FakeStudy":
        """All outputs of a finished study of three rows, on each dataset."""
        rows = ("scratch", "rspnet", "rho_moco")
        self.stage(
            "initialize", {"baseline": "scratch"}, 0.4, **{"baselines.scratch.weights": "random"}
        )
        self.pretraining(
            "rspnet", 400, 6.1, 3.2, **{"methods.rspnet.speeds": [1, 2], "task.margin": 0.15}
        )
        self.pretraining(
            "rho_moco", 400, 6.4, 4.1, **{"methods.rho_moco.queue": 512, "task.rho": 2}
        )
        for dataset in self.datasets:
            self.decoding(dataset, rejects)
            for place, row in enumerate(rows):
                self.finetuning(row, dataset, (0.6, 0.84, 0.88)[place])
                for protocol, metrics in CORRECT.items():
                    shares = {name: counts[place] / N for name, counts in metrics.items()}
                    self.evaluation(row, dataset, protocol, shares)
        return self


def run(study: FakeStudy, out: Path, **inputs: tuple[Path, ...]) -> Path:
    """Aggregate into ``out``."""
    aggregate.run(study.job(out, **inputs), study.params())
    return out
