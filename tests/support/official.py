"""Small trees in the official layouts of datasets, large enough for published batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from support.trees import plant

CLASSES = tuple("abcdef")  # at least as many as top-5 needs
Numbered = Iterator[tuple[int, str]]


def clips(count: int) -> Numbered:
    """(number, class) of ``count`` clips."""
    return ((number, CLASSES[number % len(CLASSES)]) for number in range(count))


def kinetics(root: Path, train: int, test: int) -> None:
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    for part, count in (("train", train), ("val", test)):
        names = {n: f"{part[0]}{n:010d}" for n in range(count)}
        rows = "".join(f"{label},{names[n]},5,15,{part},0\n" for n, label in clips(count))
        films = {f"{part}/{label}/{names[n]}_000005_000015.mp4": "x" for n, label in clips(count)}
        plant(root, {f"annotations/{part}.csv": header + rows, **films})


def ucf101(root: Path, train: int, test: int) -> None:
    lists = {"classInd.txt": "".join(f"{n} {name}\n" for n, name in enumerate(CLASSES, 1))}
    names = [
        (f"{label}/v_{label}_g01_c{n:03d}.avi", CLASSES.index(label) + 1)
        for n, label in clips(train + test)
    ]
    for split in "123":
        rows = {
            "trainlist": "".join(f"{name} {label}\n" for name, label in names[:train]),
            "testlist": "".join(f"{name}\n" for name, _ in names[train:]),
        }
        lists |= {f"{part}0{split}.txt": text for part, text in rows.items()}
    plant(root / "ucfTrainTestlist", lists)
    plant(root / "UCF-101", {name: "x" for name, _ in names})


def hmdb51(root: Path, train: int, test: int) -> None:
    films = list(clips(train + test))
    for split in "123":
        texts = {
            f"{name}_test_split{split}.txt": "".join(
                f"{n}_{name}.avi {1 if n < train else 2}\n" for n, label in films if label == name
            )
            for name in CLASSES
        }
        plant(root / "testTrainMulti_7030_splits", texts)
    plant(root / "hmdb51_org", {f"{label}/{n}_{label}.avi": "x" for n, label in films})


def ssv2(root: Path, train: int, test: int) -> None:
    numbers = {f"Moving {name}": str(n) for n, name in enumerate(CLASSES)}
    parts = {"train": range(train), "validation": range(train, train + test)}
    texts = {"labels.json": json.dumps(numbers)}
    for part, ids in parts.items():
        rows = [{"id": str(n), "template": f"Moving [{CLASSES[n % len(CLASSES)]}]"} for n in ids]
        texts[f"{part}.json"] = json.dumps(rows)
    plant(root / "labels", texts)
    plant(root / "20bn-something-something-v2", {f"{n}.webm": "x" for n in range(train + test)})


def charades(root: Path, train: int, test: int) -> None:
    header = "id,subject,actions,length\n"
    numbers = {"train": range(train), "test": range(train, train + test)}
    lists = {
        f"Charades_v1_{part}.csv": header
        + "".join(f"V{n:04d},x,c{n % len(CLASSES):03d} 1.00 9.50,30.0\n" for n in ids)
        for part, ids in numbers.items()
    }
    names = "".join(f"c{n:03d} Holding {name}\n" for n, name in enumerate(CLASSES))
    plant(root / "Charades", {**lists, "Charades_v1_classes.txt": names})
    films = {f"V{n:04d}.mp4": "x" for n in range(train + test)}
    plant(root / "Charades_v1_480", films)


def ava(root: Path, train: int, test: int) -> None:
    names = [f"film{n:04d}" for n in range(train + test)]
    boxes = {name: f"{name},0902,0.1,0.2,0.5,0.9,{n % 2 + 1},0\n" for n, name in enumerate(names)}
    parts = {"train": names[:train], "val": names[train:]}
    action = 'label {{\n  name: "{}"\n  label_id: {}\n  label_type: PERSON_MOVEMENT\n}}\n'
    lists = {"ava_action_list_v2.2.pbtxt": action.format("sit", 1) + action.format("stand", 2)}
    for part, own in parts.items():
        lists[f"ava_{part}_v2.2.csv"] = "".join(boxes[name] for name in own)
        lists[f"ava_{part}_excluded_timestamps_v2.2.csv"] = ""
    plant(root / "annotations", lists)
    plant(root / "videos", {f"trainval/{name}.mp4": "x" for name in names})


def frame_classes(root: Path, train: int, test: int) -> None:
    parts = {n: "train" if n < train else "test" for n in range(train + test)}
    splits = "".join(f"{n}.mp4,{part}\n" for n, part in parts.items())
    frames = "".join(f"{n}.mp4,3,{label}\n" for n, label in clips(train + test))
    plant(
        root, {"splits.csv": f"video,split\n{splits}", "frames.csv": f"video,frame,class\n{frames}"}
    )
    plant(root / "videos", {f"{n}.mp4": "x" for n in parts})


TREES: dict[str, Callable[[Path, int, int], None]] = {
    "kinetics": kinetics,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "ssv2": ssv2,
    "charades": charades,
    "ava": ava,
    "frame_classes": frame_classes,
}
