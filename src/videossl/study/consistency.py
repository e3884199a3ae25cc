"""Values of ``params.yaml`` that are possible one by one and impossible together."""

from __future__ import annotations

from collections.abc import Iterator

from videossl.study import schema
from videossl.study.registry import LABELS, OBJECTIVES, PROTOCOLS

BUILT_IN_SPLITS = 3  # of the built-in dataset
# by kind of labels, the keys of a test's views that other kinds do not have
VIEW_KEYS = {"class": ("average", "topk"), "boxes": ("detector_score",)}
UNDIVIDED = ("scene", "pairs")  # kinds whose examples are all in one part
# kinds whose examples are moments, and how many crops of a clip they may be tested on: of one,
# places in the frame are tested
MOMENTS = {"boxes": 1, "frame_class": 3, "gaze": 1}


def references(params: schema.Params) -> Iterator[str]:
    """Names of entries that are not there; the other checks follow references blindly."""
    for row, spec in params.methods.items():
        for section in ("data", "task", "backbone", "optimizer", "pretrain"):
            yield from _absent(params, f"methods.{row}", section, getattr(spec, section))
        if spec.motion != schema.NO_MOTION:
            yield from _absent(params, f"methods.{row}", "motion", spec.motion)
    for row, baseline in params.baselines.items():
        yield from _absent(params, f"baselines.{row}", "backbone", baseline.backbone)
    for name, motion in params.motion.items():
        yield from _absent(params, f"motion.{name}", "data", motion.data)
    for form, tests in (("finetune", params.finetune), ("probe", params.probe)):
        for name, test in tests.items():
            yield from _absent(params, f"{form}.{name}", "data", test.data)
    for name, finetune in params.finetune.items():
        yield from _absent(params, f"finetune.{name}", "optimizer", finetune.optimizer)


def _absent(params: schema.Params, holder: str, section: str, name: str) -> Iterator[str]:
    entries = getattr(params, section)
    if name not in entries:
        allowed = ", ".join(entries) or "it has none"
        yield f"{holder}.{section} = {name!r}: must be an entry of {section}: {allowed}"


def errors(params: schema.Params) -> Iterator[str]:
    """Values that are possible one by one and impossible together."""
    if len(set(params.seeds)) < len(params.seeds):
        yield f"seeds = {params.seeds}: must differ from one another"
    if not params.methods and not params.baselines:
        yield "methods: empty, and so are baselines; at least one row is needed"
    for section in ("motion", "methods", "baselines", "finetune", "probe"):
        if schema.NO_MOTION in getattr(params, section):
            yield f"{section}.{schema.NO_MOTION}: the name is taken: it stands for no entry"
    for name in params.baselines:
        if name in params.methods:
            yield f"baselines.{name}: also an entry of methods; give the baseline another name"
    yield from _tests(params)
    yield from _dilated(params)
    yield from _motions(params)
    yield from _warm_ups(params)
    for row, spec in params.methods.items():
        budget = params.pretrain[spec.pretrain]
        for key in ("queue", "code_queue"):
            size = getattr(spec, key, 0)  # 0 is no queue, where the type allows it
            if 0 < size < budget.batch_size:
                yield (
                    f"methods.{row}.{key} = {size}: must hold at least one batch "
                    f"(pretrain.{spec.pretrain}.batch_size = {budget.batch_size})"
                )
        together = budget.batch_size // budget.accumulate
        if spec.bn_group != "all" and together % spec.bn_group:
            yield (
                f"methods.{row}.bn_group = {spec.bn_group}: must divide the {together} videos that "
                f"are worked on at a time (pretrain.{spec.pretrain}: batch_size / accumulate), or "
                "be all"
            )
        yield from _too_short(params, row, spec)


def _tests(params: schema.Params) -> Iterator[str]:
    """Tests whose dataset has other labels, or too few splits; clips longer than every video."""
    for form, tests in (("finetune", params.finetune), ("probe", params.probe)):
        for name, test in tests.items():
            data, key = params.data[test.data], f"{form}.{name}"
            offered = LABELS[data.format]
            testable = sorted(x for x, kind in offered.items() if kind in _kinds(form))
            if test.labels not in offered:
                yield (
                    f"{key}.labels = {test.labels!r}: must be labels of data.{test.data} "
                    f"(format {data.format}): {', '.join(sorted(offered))}"
                )
            elif test.labels not in testable:
                yield (
                    f"{key}.labels = {test.labels!r}: are of kind {offered[test.labels]}, "
                    f"which {form} cannot test; it can: {', '.join(sorted(_kinds(form)))}"
                )
            elif isinstance(test, schema.Finetune):
                yield from _of_kind(key, test, offered[test.labels])
            else:
                yield from _probed(key, test, offered[test.labels])
            if isinstance(test, schema.Probe) and test.attentive and not test.features.tokens:
                yield f"{key}.features.tokens = False: must be true for {key}.attentive"
            if len(set(test.splits)) < len(test.splits):
                yield f"{key}.splits = {test.splits}: must differ from one another"
            if isinstance(data, schema.SyntheticData):
                if max(test.splits) > BUILT_IN_SPLITS:
                    yield (
                        f"{key}.splits = {test.splits}: the built-in dataset has the splits "
                        f"1 to {BUILT_IN_SPLITS}"
                    )
                yield from _clip_too_long(f"{key}.clip", test.clip, test.data, data)


def _dilated(params: schema.Params) -> Iterator[str]:
    """Fine-tuning with dilation, of networks that do not offer it."""
    rows = [*params.methods.items(), *params.baselines.items()]
    for test in [name for name, spec in params.finetune.items() if spec.dilated]:
        for row, spec in rows:
            network = params.backbone[spec.backbone]
            if not isinstance(network, schema.Slow):
                yield (
                    f"finetune.{test}.dilated = True: only slow can be dilated; "
                    f"backbone.{spec.backbone} of row {row} is {network.name}"
                )


def _of_kind(key: str, test: schema.Finetune, kind: str) -> Iterator[str]:
    """Keys that a kind of labels needs or does not know, and clips that it cannot have."""
    for name in sorted({name for names in VIEW_KEYS.values() for name in names}):
        there, wanted = getattr(test.test, name) is not None, name in VIEW_KEYS.get(kind, ())
        if there != wanted:
            what = "missing" if wanted else "no such key"
            yield f"{key}.test.{name}: {what}; {key}.labels = {test.labels!r} are of kind {kind}"
    if kind in MOMENTS:
        yield from _of_moments(key, test, kind)
    elif test.sampling == "cover" and test.clip.stride != 1:
        yield (
            f"{key}.clip.stride = {test.clip.stride}: must be 1: {key}.sampling = 'cover' takes "
            "the frames from the whole video"
        )


def _probed(key: str, test: schema.Probe, kind: str) -> Iterator[str]:
    """Protocols, splits and clips that a kind of labels does not have."""
    are = f"{key}.labels = {test.labels!r} are of kind {kind}"
    for name in test.run:
        kinds = PROTOCOLS[name].kinds
        if kind not in kinds:
            yield f"{key}.{name}: tests labels of kind {', '.join(kinds)}; {are}"
    if kind in UNDIVIDED and test.splits != [1]:
        yield f"{key}.splits = {test.splits}: must be [1]; {are}, which has no splits"
    if kind in MOMENTS and test.features.clips != 1:
        yield f"{key}.features.clips = {test.features.clips}: must be 1, around the frame; {are}"


def _of_moments(key: str, test: schema.Finetune, kind: str) -> Iterator[str]:
    """Views that a moment does not have: its one clip is around it."""
    about = f"{key}.labels = {test.labels!r} are of kind {kind}"
    if test.sampling != "window":
        yield f"{key}.sampling = {test.sampling!r}: must be window: {about}, of a moment each"
    if test.test.clips != 1:
        yield f"{key}.test.clips = {test.test.clips}: must be 1: {about}, of a moment each"
    if test.test.crops > MOMENTS[kind]:
        yield f"{key}.test.crops = {test.test.crops}: must be 1: {about}, of whole frames"


def _kinds(form: str) -> set[str]:
    """The kinds of labels that fine-tuning, or a protocol on frozen features, can test."""
    if form == "finetune":
        return set(OBJECTIVES)
    return {kind for protocol in PROTOCOLS.values() for kind in protocol.kinds}


def _motions(params: schema.Params) -> Iterator[str]:
    """Motion that no frames are there for, and motion that a row asks for and is not there."""
    for name, motion in params.motion.items():
        if motion.step >= params.decode.min_frames:
            yield (
                f"motion.{name}.step = {motion.step}: must be less than "
                f"decode.min_frames = {params.decode.min_frames}"
            )
    for row, spec in params.methods.items():
        content = spec.needs.content
        motion_of = params.motion.get(spec.motion)
        found = motion_of.content if motion_of is not None else ""
        if content != "none" and found != content:
            yield (
                f"methods.{row}.motion = {spec.motion!r}: must be an entry of motion with content "
                f"{content}" + (f"; it has {found}" if found else "")
            )
        elif motion_of is not None and motion_of.data != spec.data:
            yield (
                f"methods.{row}.motion = {spec.motion!r}: is the motion of {motion_of.data!r}; "
                f"the row learns from {spec.data!r}"
            )
        stride = params.pretrain[spec.pretrain].clip.stride
        if motion_of is not None and content == "flow" and motion_of.step != stride:
            yield (
                f"motion.{spec.motion}.step = {motion_of.step}: must be "
                f"pretrain.{spec.pretrain}.clip.stride = {stride}, or the flow is not between the "
                f"frames of a clip (methods.{row} reads it)"
            )


def _warm_ups(params: schema.Params) -> Iterator[str]:
    """Rates that would still rise when the training is over."""
    pairs = dict.fromkeys((spec.pretrain, spec.optimizer) for spec in params.methods.values())
    trained = [(f"pretrain.{b}", params.pretrain[b].epochs, o) for b, o in pairs]
    trained += [
        (f"finetune.{name}", test.epochs, test.optimizer) for name, test in params.finetune.items()
    ]
    for key, epochs, name in trained:
        warm_up = params.optimizer[name].warmup_epochs
        if warm_up > epochs:
            yield (
                f"optimizer.{name}.warmup_epochs = {warm_up}: must be at most {key}.epochs = "
                f"{epochs}"
            )


def _clip_too_long(
    key: str, clip: schema.Clip, name: str, data: schema.SyntheticData
) -> Iterator[str]:
    longest = (clip.frames - 1) * clip.stride + 1
    if longest > data.frames:
        yield (
            f"{key}.stride = {clip.stride}: {clip.frames} frames then span {longest}, longer than "
            f"every video (data.{name}.frames = {data.frames})"
        )


def _too_short(params: schema.Params, row: str, spec: schema.MethodBlock) -> Iterator[str]:
    """What a row needs of videos that are all shorter: the built-in dataset's."""
    data = params.data[spec.data]
    if not isinstance(data, schema.SyntheticData):
        return
    clip = params.pretrain[spec.pretrain].clip
    yield from _clip_too_long(f"pretrain.{spec.pretrain}.clip", clip, spec.data, data)
    reach = spec.needs.reach(spec, params.task[spec.task], clip)
    if reach.block != "clip" and reach.frames > data.frames:  # the clip has its line already
        holder = f"task.{spec.task}" if reach.block == "task" else f"methods.{row}"
        yield (
            f"{holder}.{reach.key} = {reach.value}: needs {reach.frames} frames, more than every "
            f"video has (data.{spec.data}.frames = {data.frames})"
        )
