"""The blocks of ``params.yaml``: which keys exist, their types and what they may hold.

These classes only accept or reject: no defaults, no derived values, nothing that changes a value.
That is why this file does not count as code of a stage (see ``stages.py``): what a stage sees is
exactly the values of ``params.yaml``, and the values are in its fingerprint. A test holds this.
What each key means to a reader is said once, beside its value in ``params.yaml``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
NO_MOTION = "none"  # what a method says that needs no entry of ``motion``


class Block(BaseModel):
    """A section of ``params.yaml``: every key required, no other key allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


# ------------------------------------------------------------------------------------ data


class SyntheticData(Block):
    """The built-in dataset, written by ``prepare``."""

    format: Literal["synthetic"]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    videos_per_class: Annotated[int, Field(ge=6, le=1000)]
    frames: Annotated[int, Field(ge=8, le=1000)]
    size: Annotated[int, Field(ge=32, le=512, multiple_of=2)]
    fps: Annotated[int, Field(ge=1, le=120)]


class FolderData(Block):
    """A dataset on disk, read by the adapter that ``format`` names."""

    format: Literal[
        "ucf101",
        "hmdb51",
        "kinetics",
        "ssv2",
        "charades",
        "ava",
        "aslan",
        "yupenn",
        "maryland",
        "folder",
        "csv",
        "frame_classes",
        "gaze",
    ]
    root: Annotated[str, Field(min_length=1)]
    missing: Annotated[float, Field(ge=0, lt=1)]
    revision: Count


Dataset = Annotated[SyntheticData | FolderData, Field(discriminator="format")]


class Decode(Block):
    """How videos become shards."""

    backend: Literal["decord", "pyav"]
    fps: Literal["native"] | Annotated[float, Field(gt=0, le=240)]
    short_side: Annotated[int, Field(ge=16, le=2160, multiple_of=2)]
    codec: Literal["jpeg", "raw"]
    quality: Annotated[int, Field(ge=1, le=100)]
    min_frames: Count
    shard_megabytes: Count


class Motion(Block):
    """Optical flow of the stored frames, or its edges."""

    algorithm: Literal["dis", "farneback"]
    content: Literal["flow", "edges"]
    step: Count
    bound: Positive
    codec: Literal["jpeg", "raw"]
    quality: Annotated[int, Field(ge=1, le=100)]
    shard_megabytes: Count


class Clip(Block):
    """The clip a network sees."""

    frames: Annotated[int, Field(ge=2, le=256)]
    stride: Annotated[int, Field(ge=1, le=64)]
    size: Annotated[int, Field(ge=16, le=512)]


# ------------------------------------------------------------------------------------ training


class Model(Block):
    """The backbone: a 3D-ResNet family member."""

    name: Literal["r3d", "r2plus1d", "r3d_rspnet", "r2plus1d_rspnet"]
    blocks: Annotated[list[Count], Field(min_length=4, max_length=4)]
    width: Annotated[int, Field(ge=4, le=256)]


class C3D(Block):
    """C3D with batch norm."""

    name: Literal["c3d"]
    width: Annotated[int, Field(ge=4, le=256)]


class S3DG(Block):
    """Separable 3D Inception with self-gating."""

    name: Literal["s3dg", "s3dg_rspnet"]
    width: Annotated[int, Field(ge=8, le=256, multiple_of=8)]


class Slow(Block):
    """The Slow pathway of SlowFast: a 2D residual network with time in its last two stages."""

    name: Literal["slow"]
    depth: Literal[18, 50, 101]
    width: Annotated[int, Field(ge=4, le=256)]


class Inflated(Block):
    """A 2D network of timm, inflated to 3D."""

    name: Literal["inflated"]
    timm: Annotated[str, Field(min_length=1)]
    weights: Annotated[str, Field(min_length=1)]


Backbone = Annotated[Model | C3D | S3DG | Slow | Inflated, Field(discriminator="name")]


class Optimizer(Block):
    """Optimiser and its peak learning rate."""

    name: Literal["sgd", "adamw", "lars", "lamb"]
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    decay_norms: bool
    clip_norm: NonNegative
    lr_base_size: Literal["none"] | Count


Pair = Annotated[list[Positive], Field(min_length=2, max_length=2)]


class Jitter(Block):
    """Colour jitter: probability and the half-width of each factor's range."""

    probability: Fraction
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction
    hue: Annotated[float, Field(ge=0, le=0.5)]


class Blur(Block):
    """Gaussian blur: probability and the range of sigma in pixels of the clip."""

    probability: Fraction
    sigma: Pair


class Augment(Block):
    """Clip-consistent augmentation: one draw per clip, the same for all its frames."""

    crop_area: Pair
    crop_aspect: Pair
    flip: Fraction
    gray: Fraction
    jitter: Jitter
    blur: Blur

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for key, (low, high) in (("crop_area", self.crop_area), ("crop_aspect", self.crop_aspect)):
            if low > high:
                raise ValueError(f"{key} = {[low, high]}: must be [low, high] with low <= high")
        if self.crop_area[1] > 1:
            raise ValueError(f"crop_area = {self.crop_area}: a share of the frame, at most 1")
        if self.blur.sigma[0] > self.blur.sigma[1]:
            raise ValueError(f"blur.sigma = {self.blur.sigma}: must be [low, high], low <= high")
        return self


class Pretrain(Block):
    """What all methods share: data, budget, augmentation."""

    dataset: Name
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    accumulate: Count
    gpus: Count
    sync_bn: bool
    warmup_epochs: Annotated[int, Field(ge=0)]
    precision: Literal["float32", "bfloat16"]
    compile: bool
    monitor_epochs: Annotated[int, Field(ge=0)]
    augment: Augment

    @model_validator(mode="after")
    def _shares(self) -> Self:
        parts = self.gpus * self.accumulate
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size = {self.batch_size}: must be a multiple of gpus x accumulate = {parts}"
            )
        return self


class Finetune(Block):
    """Supervised training of the whole network on the labelled part."""

    labels: Annotated[float, Field(gt=0, le=1)]
    validation: Annotated[float, Field(gt=0, lt=1)]
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    precision: Literal["float32", "bfloat16"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    optimizer: Optimizer
    augment: Augment


# ------------------------------------------------------------------------------------ methods


class Tasks(Block):
    """What each pretext task is; a method names the entry it reads."""

    margin: Annotated[float, Field(ge=0, le=2)]
    rho: Annotated[int, Field(ge=1, le=16)]


class RSPNet(Block):
    """RSPNet (Chen et al., AAAI 2021)."""

    task: Literal["margin"]
    motion: Literal["none"]
    speeds: Annotated[list[Count], Field(min_length=2)]
    dim: Count
    temperature: Positive
    queue: Count
    momentum: Annotated[float, Field(ge=0, lt=1)]
    appearance_weight: NonNegative
    motion_weight: NonNegative
    optimizer: Optimizer

    @model_validator(mode="after")
    def _speeds(self) -> Self:
        if len(set(self.speeds)) != len(self.speeds):
            raise ValueError(f"speeds = {self.speeds}: must differ from one another")
        return self


class RhoMoCo(Block):
    """ρMoCo (Feichtenhofer et al., CVPR 2021)."""

    task: Literal["rho"]
    motion: Literal["none"]
    dim: Count
    hidden: Count
    layers: Annotated[int, Field(ge=1, le=8)]
    temperature: Positive
    queue: Count
    momentum: Annotated[float, Field(ge=0, lt=1)]
    momentum_schedule: Literal["cosine", "constant"]
    positives: Literal["sum_in_log", "mean_of_losses"]
    mode: Literal["sequential", "parallel"]
    optimizer: Optimizer


class Methods(Block):
    """The study's methods: an entry runs, no entry does not."""

    rspnet: RSPNet | None = None
    rho_moco: RhoMoCo | None = None


class Baseline(Block):
    """A row that is not pretrained here."""

    weights: Annotated[str, Field(min_length=1)]


# ------------------------------------------------------------------------------------ downstream


class Embed(Block):
    """Features of every video, for all frozen-feature protocols."""

    clips: Count
    pool: Literal["mean", "max"]
    batch_size: Count


class Recognition(Block):
    """Multi-clip testing of the fine-tuned classifier."""

    clips: Count
    batch_size: Count
    topk: Annotated[list[Count], Field(min_length=1)]


class Linear(Block):
    """Logistic regression on frozen features."""

    regularization: Positive
    iterations: Count


class KNN(Block):
    """Weighted k-nearest-neighbour vote on frozen features."""

    neighbours: Count
    temperature: Positive


class Retrieval(Block):
    """Nearest neighbours of test videos among train videos."""

    topk: Annotated[list[Count], Field(min_length=1)]


class Frozen(Block):
    """Protocols on frozen features: an entry runs, no entry does not."""

    linear: Linear | None = None
    knn: KNN | None = None
    retrieval: Retrieval | None = None


class Finetuned(Block):
    """Protocols on the fine-tuned classifier: an entry runs, no entry does not."""

    recognition: Recognition | None = None


class Evaluate(Block):
    """Downstream protocols, and the datasets that every row is tested on."""

    datasets: Annotated[list[Name], Field(min_length=1)]
    finetuned: Finetuned
    frozen: Frozen


class Report(Block):
    """The report."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    baseline: Name
    decimals: Annotated[int, Field(ge=0, le=4)]


class Params(Block):
    """All of ``params.yaml``."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    split: Annotated[int, Field(ge=1, le=3)]
    data: Annotated[dict[Name, Dataset], Field(min_length=1)]
    decode: Decode
    motion: dict[Name, Motion]
    clip: Clip
    model: Backbone
    pretrain: Pretrain
    task: Tasks
    methods: Methods
    baselines: dict[Name, Baseline]
    finetune: Finetune
    embed: Embed
    evaluate: Evaluate
    report: Report
