"""The gallery shows the videos that were found, in their order, and says which are right."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from support import fake_gallery
from support.fake_gallery import CLASSES, LABELS, NEAREST
from support.fake_study import FakeStudy, run
from videossl.data.shards.store import ClipStore
from videossl.job import UserError
from videossl.report import gallery, strips

SCRIPT = "&lt;script&gt;alert(1)&lt;/script&gt;"


@pytest.fixture
def study(tmp_path: Path) -> FakeStudy:
    return fake_gallery.searched(tmp_path / "study")


def section(study: FakeStudy, out: Path) -> tuple[str, str]:
    """The whole page, and its part about neighbours."""
    page = (run(study, out) / "report.html").read_text().replace("<wbr>", "")
    return page, page.partition('<h2 id="neighbours">')[2].partition("</section>")[0]


def video_of(page: str, strip: str) -> int:
    """Which of the made-up videos a strip shows, by its colours; its frames are looked at, too."""
    (data,) = re.findall(
        rf"\.{strip} {{ background-image: url\(data:image/webp;base64,(.+?)\)", page
    )
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (48, 6 * 48, 3)
    middle = picture[24, 24::48, ::-1].astype(int)  # RGB of each of the six frames
    video = round((middle[:, 0].mean() - 10) / 15)
    wanted = [fake_gallery.colour(video, frame) for frame in (0, 2, 4, 6, 8, 10)]
    assert np.abs(middle - wanted).max() < 8
    return video


def test_queries_and_neighbours_are_those_that_were_found(study, tmp_path):
    page, found = section(study, tmp_path / "out")
    train, test = fake_gallery.train(), fake_gallery.test()
    blocks = found.split('<div class="query">')[1:]
    titles = [re.search(r"<b>(\w+) query</b>", block)[1] for block in blocks]
    assert titles == ["Best", "Median", "Worst"]
    places = []
    for block in blocks:
        seen = [video_of(page, s) for s in re.findall(r'class="strip (strip-\d+)"', block)]
        query, neighbours = seen[0], np.reshape(seen[1:], (2, 5)).tolist()
        place = test.index(query)
        places.append(place)
        wanted = [[train[n] for n in NEAREST[row][place]] for row in ("scratch", "rspnet")]
        assert neighbours == wanted
        marks = re.findall(r'<td class="(\w+)">.*?<span class="unseen">(\w+):</span> (.*?)<', block)
        assert [mark for mark, said, _ in marks if mark != said] == []
        flat = [video for row in wanted for video in row]
        assert [m == "right" for m, _, _ in marks] == [LABELS[v] == LABELS[query] for v in flat]
        assert [c.replace(SCRIPT, CLASSES[2]) for _, _, c in marks] == [
            CLASSES[LABELS[v]] for v in flat
        ]
        assert block.count("✓") == sum(LABELS[v] == LABELS[query] for v in flat)
    by_hand = [
        sum(LABELS[train[n]] == LABELS[test[q]] for row in NEAREST.values() for n in row[q])
        for q in range(len(test))
    ]
    assert by_hand[places[0]] == max(by_hand)
    assert by_hand[places[2]] == min(by_hand)
    assert by_hand[places[1]] == sorted(by_hand, reverse=True)[len(by_hand) // 2]


def test_names_are_text(study, tmp_path):
    page, found = section(study, tmp_path / "out")
    assert SCRIPT in found
    assert "<script>alert" not in page
    assert 'v"' not in found
    assert "v&#34;" in found


def test_a_video_is_on_the_page_once(study, tmp_path):
    page, found = section(study, tmp_path / "out")
    shown = re.findall(r'class="strip (strip-\d+)"', found)
    stored = re.findall(r"^\.(strip-\d+) {", page, re.MULTILINE)
    assert len(shown) > len(stored) == len(set(shown))


def test_of_few_queries_each_is_shown_once():
    yes, no = np.ones((1, 2), bool), np.zeros((1, 2), bool)
    assert gallery.choose([yes]) == [("Best", 0)]
    assert gallery.choose([np.concatenate([no, yes])]) == [("Best", 1), ("Median", 0)]
    level = np.zeros((5, 3), bool)
    assert gallery.choose([level, level]) == [("Best", 0), ("Median", 2)]


def test_a_page_does_not_grow_without_end(study, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "MOST_BYTES", 2000)
    page, found = section(study, tmp_path / "out")
    assert "Retrieval: synthetic: left out" in found
    assert "data:image/webp" not in page


def test_without_a_search_there_is_no_gallery(empty_study, tmp_path):
    _, found = section(empty_study, tmp_path / "out")
    assert "No neighbours yet." in found


def test_neighbours_that_are_no_examples_are_one_line(study, tmp_path):
    (path,) = study.root.glob("evaluate/rspnet/**/predictions.npz")
    stored = dict(np.load(path))
    np.savez(path, **(stored | {"neighbours": stored["neighbours"] + 5}))
    with pytest.raises(UserError, match="found examples that its test does not have"):
        run(study, tmp_path / "out")


def test_rows_with_other_queries_are_one_line(study, tmp_path):
    (path,) = study.root.glob("evaluate/rspnet/**/predictions.npz")
    stored = dict(np.load(path))
    np.savez(path, **(stored | {"examples": stored["examples"][::-1]}))
    with pytest.raises(UserError, match="rspnet: synthetic has other test videos"):
        run(study, tmp_path / "out")


def test_a_video_that_is_not_stored_is_one_line(study, tmp_path):
    (path,) = study.root.glob("select/**/examples.csv")
    path.write_text(path.read_text().replace('v""', "w"))
    with pytest.raises(UserError, match=r"has no video 'w\d+.avi', which is an example"):
        run(study, tmp_path / "out")


def test_gray_videos_have_strips(tmp_path, monkeypatch):
    fake_gallery.store(tmp_path)
    stored = ClipStore(tmp_path)
    whole = stored.clip
    monkeypatch.setattr(stored, "clip", lambda video, frames: whole(video, frames)[..., :1])
    drawn = strips.draw(stored, stored.number(fake_gallery.name(3)))
    assert drawn.shape == (48, 288, 3)
    assert (drawn == 10 + 15 * 3).all()
