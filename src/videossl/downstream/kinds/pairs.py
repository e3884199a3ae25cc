"""Kind ``pairs``: whether two videos show the same.

An example is a video that is in a pair, so that each is embedded once; it has no target of its own.
The pairs are a fact: ``{"pairs": [[example, example, same, fold], …]}``, same 0 or 1, in the
dataset's order.
"""

from __future__ import annotations

from videossl.downstream.examples import Examples, Source


def examples(source: Source) -> Examples:
    """The stored videos of all pairs, in the order of the store; part ``all`` of split 1.

    A pair with a video that is not stored is left out, which is said.
    """
    store = source.store
    stored = {video.name for video in store.videos}
    listed = source.own.get("pairs", [])
    kept = [pair for pair in listed if stored.issuperset(pair[:2])]
    if len(kept) < len(listed):
        print(f"{len(listed) - len(kept)} of {len(listed)} pairs have a video that is not stored")
    paired = {name for pair in kept for name in pair[:2]}
    videos = [video.name for video in store.videos if video.name in paired]
    numbers = {name: number for number, name in enumerate(videos)}
    pairs = [[numbers[a], numbers[b], same, fold] for a, b, same, fold in kept]
    parts = {"1": ["all"] * len(videos)}
    return Examples(videos, [{} for _ in videos], [], parts, facts={"pairs": pairs})
