"""What a method needs of a video: how many of its frames, and which kind of motion.

A method's class is one of these kinds, and its class of parameters points to the same kind. So the
checks of ``params.yaml`` read what the method computes with, and import neither torch nor NumPy.

Units: a stride is a step in source frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

Content = Literal["none", "flow", "edges"]


class ClipShape(Protocol):
    """What a span depends on: ``schema.Clip`` is one."""

    @property
    def frames(self) -> int:
        """How many frames a clip has."""

    @property
    def stride(self) -> int:
        """The step between them."""


@dataclass(frozen=True)
class Reach:
    """Frames that one video must have, and the parameter that decides it."""

    block: Literal["clip", "task", "method"]  # whose parameter it is
    key: str  # its name there
    value: object
    frames: int


def span(length: int, stride: int) -> int:
    """Frames from a clip's first to its last, inclusive."""
    return (length - 1) * stride + 1


class OneClip:
    """Every window is as long as the clip that the network sees.

    Attributes:
        content: of the motion that the method learns from, or none.
    """

    content: ClassVar[Content] = "none"

    @classmethod
    def reach(cls, params: Any, task: Any, clip: ClipShape) -> Reach:
        """The longest window of a video that is drawn from.

        Args:
            params: the method's own parameters.
            task: its entry of ``task``.
            clip: the clip that the network sees.
        """
        return Reach("clip", "stride", clip.stride, span(clip.frames, clip.stride))


class FlowClip(OneClip):
    """One clip, and the flow between its frames."""

    content: ClassVar[Content] = "flow"


class EdgesClip(OneClip):
    """One clip of frames or of flow edges."""

    content: ClassVar[Content] = "edges"


class FastestClip(OneClip):
    """Clips at several speeds, all in windows of the fastest."""

    @classmethod
    def reach(cls, params: Any, task: Any, clip: ClipShape) -> Reach:
        """See ``OneClip.reach``."""
        longest = span(clip.frames, clip.stride * max(params.speeds))
        return Reach("method", "speeds", params.speeds, longest)


class TwoIntervals(OneClip):
    """Two clips of a video, at their closest."""

    @classmethod
    def reach(cls, params: Any, task: Any, clip: ClipShape) -> Reach:
        """See ``OneClip.reach``; from the first of one interval to the last of the other."""
        longest = 2 * span(clip.frames, clip.stride) + params.least_gap
        return Reach("method", "least_gap", params.least_gap, longest)


class OrderedFrames(OneClip):
    """The frames whose order is told, with their own number and step."""

    @classmethod
    def reach(cls, params: Any, task: Any, clip: ClipShape) -> Reach:
        """See ``OneClip.reach``."""
        longest = span(task.frames, clip.stride * task.stride)
        return Reach("task", "stride", task.stride, longest)


class FastestRate(OneClip):
    """A clip at the highest of several rates, which stand in place of the clip's stride."""

    @classmethod
    def reach(cls, params: Any, task: Any, clip: ClipShape) -> Reach:
        """See ``OneClip.reach``."""
        return Reach("task", "rates", task.rates, span(clip.frames, max(task.rates)))
