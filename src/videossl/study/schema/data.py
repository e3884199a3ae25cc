"""Blocks of ``params.yaml`` about data: datasets, decoding, motion, the clip."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from videossl.study.schema.blocks import Block, Count, Name, Positive


class SyntheticData(Block):
    """The built-in dataset, written by ``prepare``."""

    format: Literal["synthetic"]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    videos_per_class: Annotated[int, Field(ge=6, le=1000)]
    frames: Annotated[int, Field(ge=8, le=1000)]
    size: Annotated[int, Field(ge=32, le=512, multiple_of=2)]
    fps: Annotated[int, Field(ge=1, le=120)]
    flicker: Annotated[float, Field(ge=0, le=1)]
    scenes: Literal["class", "group"]


class FolderData(Block):
    """A dataset on disk, read by the adapter that ``format`` names."""

    format: Literal[
        "ucf101",
        "hmdb51",
        "kinetics",
        "ssv2",
        "diving48",
        "gym99",
        "gym288",
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
    """Optical flow of a dataset's stored frames, or its edges."""

    data: Name
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
