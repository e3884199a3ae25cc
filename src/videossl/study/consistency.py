"""Values of ``params.yaml`` that are possible one by one and impossible together."""

from __future__ import annotations

from collections.abc import Iterator

from videossl.study import schema
from videossl.study.registry import KINDS


def found(params: schema.Params) -> Iterator[str]:
    """Values that are possible one by one and impossible together."""
    if params.pretrain.dataset not in params.data:
        allowed = ", ".join(params.data)
        yield f"pretrain.dataset = {params.pretrain.dataset!r}: must be an entry of data: {allowed}"
    for name, dataset in params.data.items():
        if (dataset.format == "synthetic") != (name == "synthetic"):
            yield (
                f"data.{name}.format = {dataset.format!r}: the built-in dataset is the entry "
                "named 'synthetic', and only it"
            )
    yield from _untestable(params)
    yield from _motions(params)
    methods = params.methods.model_fields_set
    for name in params.baselines:
        if name in methods:
            yield f"baselines.{name}: also an entry of methods; give the baseline another name"
    if not methods and not params.baselines:
        yield "methods: empty, and so are baselines; at least one row is needed"
    rows = [*params.baselines, *params.methods.model_dump(exclude_unset=True)]
    if params.report.baseline not in rows:
        yield f"report.baseline = {params.report.baseline!r}: must be a row: {', '.join(rows)}"
    for name in sorted(methods):
        block = getattr(params.methods, name)
        for key in ("queue", "code_queue"):
            size = getattr(block, key, 0)  # 0 is no queue, where the type allows it
            if 0 < size < params.pretrain.batch_size:
                yield (
                    f"methods.{name}.{key} = {size}: must hold at least one batch "
                    f"(pretrain.batch_size = {params.pretrain.batch_size})"
                )
    yield from _too_short(params)


def _untestable(params: schema.Params) -> Iterator[str]:
    """Datasets that the study tests on and cannot."""
    tested = params.evaluate.datasets
    for name in tested:
        if name not in params.data:
            allowed = ", ".join(params.data)
            yield f"evaluate.datasets = {tested}: {name!r} must be an entry of data: {allowed}"
        elif (kind := KINDS[params.data[name].format]) != "recognition":
            yield f"evaluate.datasets = {tested}: {name!r} is of kind {kind}; must be recognition"
    if len(set(tested)) < len(tested):
        yield f"evaluate.datasets = {tested}: must differ from one another"


def _motions(params: schema.Params) -> Iterator[str]:
    """Motion that no frames are there for, and motion that a method asks for and is not there."""
    for name, motion in params.motion.items():
        if name == schema.NO_MOTION:
            yield f"motion.{name}: the name is taken: it is what methods without motion say"
        if motion.step >= params.decode.min_frames:
            yield (
                f"motion.{name}.step = {motion.step}: must be less than "
                f"decode.min_frames = {params.decode.min_frames}"
            )
    for name in sorted(params.methods.model_fields_set):
        block = getattr(params.methods, name)
        wanted, content = block.motion, block.needs.content
        if wanted not in (schema.NO_MOTION, *params.motion):
            allowed = ", ".join(params.motion) or "it has none"
            yield f"methods.{name}.motion = {wanted!r}: must be an entry of motion: {allowed}"
            continue
        found = getattr(params.motion.get(wanted), "content", "")
        if content != "none" and found != content:
            yield (
                f"methods.{name}.motion = {wanted!r}: must be an entry of motion with content "
                f"{content}" + (f"; it has {found}" if found else "")
            )


def _too_short(params: schema.Params) -> Iterator[str]:
    """Clips whose span is longer than every video of the built-in dataset."""
    data = params.data.get("synthetic")
    if not isinstance(data, schema.SyntheticData):
        return
    clip = params.clip
    longest = (clip.frames - 1) * clip.stride + 1
    if longest > data.frames:
        yield (
            f"clip.stride = {clip.stride}: {clip.frames} frames then span {longest}, longer than "
            f"every video (data.synthetic.frames = {data.frames})"
        )
    if params.pretrain.dataset != "synthetic":
        return
    for name in sorted(params.methods.model_fields_set):
        block = getattr(params.methods, name)
        reach = block.needs.reach(block, getattr(params.task, block.task), clip)
        if reach.block != "clip" and reach.frames > data.frames:  # the clip has its line already
            place = f"task.{block.task}" if reach.block == "task" else f"methods.{name}"
            yield (
                f"{place}.{reach.key} = {reach.value}: needs {reach.frames} frames, more than "
                f"every video has (data.synthetic.frames = {data.frames})"
            )
