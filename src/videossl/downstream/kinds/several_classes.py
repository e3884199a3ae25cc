"""Kind ``classes``: a video has any number of classes, each during a time.

The target is ``{"classes": [class, …], "frames": [[first, last], …]}``, the stored frames that each
is seen in, perhaps beyond the last one.
"""

from __future__ import annotations

import math

from videossl.downstream.examples import Examples, Source


def examples(source: Source) -> Examples:
    """Every stored video that the annotations name, in the order of the store.

    But for those with actions whose container says no rate: nobody knows in which frames they are.
    """
    store = source.store
    named = {name for name, entry in source.annotations.items() if name and "actions" in entry}
    there = [video for video in store.videos if video.name in named]
    chosen = [v for v in there if v.fps or not source.annotations[v.name]["actions"]]
    if len(chosen) < len(there):
        absent = len(there) - len(chosen)
        print(f"{absent} of {len(there)} annotated videos are left out: they say no frame rate")
    targets = []
    for video in chosen:
        actions = source.annotations[video.name]["actions"]
        targets.append(
            {
                "classes": [action["class"] for action in actions],
                "frames": [
                    [
                        math.floor((action["start"] - video.begin) * video.fps),
                        math.ceil((action["end"] - video.begin) * video.fps),
                    ]
                    for action in actions
                ],
            }
        )
    splits = sorted({split for video in chosen for split in video.splits})
    return Examples(
        [video.name for video in chosen],
        targets,
        source.classes,
        {split: [video.splits.get(split, "") for video in chosen] for split in splits},
    )
