"""Kind ``boxes``: what is in boxes at a moment of a video, any number of classes in each.

The target is ``{"boxes": [[left, top, right, bottom], …], "classes": [[class, …], …]}``: the true
boxes, in shares of the frame, and the classes of each. With a detector's boxes it also has
``{"detections": [[left, top, right, bottom], …], "scores": [score, …]}``; they are of videos that
some split tests, as only testing asks for them. A tested moment may have a detector's boxes and no
true one: what is found there is wrong, and is no less wrong for that.

Excluded times are no examples. The facts are ``{"evaluated": [class, …], "detector": bool}``: the
classes that the metric averages, and whether tested boxes are a detector's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from videossl.data.shards.store import Video
from videossl.downstream.examples import Examples, Source
from videossl.downstream.kinds import moments
from videossl.downstream.kinds.moments import Moment


def examples(source: Source) -> Examples:
    """Every annotated time of every stored video, in the order of the store and of time."""
    places: list[int | None] = []
    found = [
        moment
        for video, own in moments.annotated(source, "boxes")
        for moment in _moments(video, own, places)
    ]
    moments.say_beyond(places)
    evaluated = source.own.get("evaluated", range(len(source.classes)))
    facts = {
        "evaluated": [*evaluated],
        "detector": any("detections" in moment.target for moment in found),
    }
    return moments.examples(source, found, facts)


def _moments(video: Video, own: dict[str, Any], places: list[int | None]) -> Iterator[Moment]:
    """The moments of a video; ``places`` gets the stored frame of each time, or ``None``."""
    detections = own.get("detections", []) if "test" in video.splits.values() else []
    true, detected = _by_time(own["boxes"]), _by_time(detections)
    for time in sorted({*true, *detected} - {*own.get("excluded", [])}):
        frame = moments.at_second(video, time)
        places.append(frame)
        if frame is None:
            continue
        target = {
            "boxes": [one["box"] for one in true.get(time, [])],
            "classes": [one["actions"] for one in true.get(time, [])],
        }
        if detections:
            target["detections"] = [one["box"] for one in detected.get(time, [])]
            target["scores"] = [one["score"] for one in detected.get(time, [])]
        yield Moment(video, frame, target, tested_only=time not in true)


def _by_time(boxes: list[dict[str, Any]]) -> dict[float, list[dict[str, Any]]]:
    found: dict[float, list[dict[str, Any]]] = {}
    for box in boxes:
        found.setdefault(box["time"], []).append(box)
    return found
