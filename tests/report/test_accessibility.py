"""The report's pages for everyone: axe-core finds nothing, and the keyboard reaches everything."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from support import chromium, fake_moments, fake_published
from support.fake_study import FakeStudy, run, sealed
from videossl import cli

pytestmark = chromium.needed

# The shade at the edge of a wide table is a gradient, on which axe-core judges no colour.
CHECK = """
const done = arguments[0];
document.querySelectorAll("details").forEach((one) => { one.open = true; });
document.querySelectorAll(".scroll").forEach((one) => { one.style.background = "none"; });
axe.run(document, {resultTypes: ["violations"]}).then((found) => done({
  passed: found.passes.map((rule) => rule.id),
  wrong: found.violations.flatMap((rule) =>
    rule.nodes.map((node) => rule.id + ": " + node.target.join(" ") + ": " + node.failureSummary)),
}), (error) => done({passed: [], wrong: [String(error)]}));
"""

PAGES = ("report", "gallery", "classes", "frames", "published", "empty", "compare")


@pytest.fixture(scope="module")
def axe() -> str:
    """The text of axe-core, which is all that this package is wanted for."""
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    return resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def reports(root: Path) -> tuple[Path, Path]:
    """The reports of two studies that differ in a number of one row and in a key."""
    found = []
    for name, margin, top1 in (("a", 0.15, 0.4), ("b", 0.2, 0.6)):
        study = FakeStudy(root / name)
        study.root.mkdir()
        study.stage("pretrain", "encoders", 1.0, {"row": "rspnet"}, task__margin=margin)
        study.evaluation("rspnet", "linear", {"top1": top1})
        out = run(study, root / f"{name}-report")
        sealed(out, {"probe.synthetic.data": "synthetic"})
        found.append(out)
    return found[0], found[1]


@pytest.fixture(scope="module")
def pages(
    finished: Path, searched: Path, confused: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Pages of studies: whole, with what only some have, empty; and of two compared."""
    root = tmp_path_factory.mktemp("pages")
    compared = root / "compared.html"
    assert cli.main(["compare", *map(str, reports(root)), "--html", str(compared)]) == 0
    frames = run(fake_moments.study(root / "frames", "detection"), root / "frames-report")
    (root / "empty").mkdir()
    empty = run(FakeStudy(root / "empty"), root / "empty-report")
    published = fake_published.evaluated(fake_published.study(root / "published"))
    return {
        "published": run(published, root / "published-report") / "report.html",
        "report": finished / "report.html",
        "gallery": searched / "report.html",
        "classes": confused / "report.html",
        "frames": frames / "report.html",
        "empty": empty / "report.html",
        "compare": compared,
    }


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "which", ["report", "gallery", "classes", "frames", "published", "empty", "compare"]
)
def test_axe_finds_nothing(
    browser: webdriver.Chrome, pages: dict[str, Path], axe: str, which: str, scheme: str, width: int
) -> None:
    chromium.look(browser, pages[which], width, scheme)
    browser.execute_script(axe)
    found = browser.execute_async_script(CHECK)
    assert found["wrong"] == []
    assert {"color-contrast", "document-title", "region", "html-has-lang"} <= set(found["passed"])


REACHED = "return document.activeElement === document.body ? null : document.activeElement"
CAN_BE_USED = "a[href], button, input, summary, [tabindex='0']"


@pytest.mark.parametrize("which", ["report", "gallery", "compare"])
def test_the_tab_key_reaches_everything_that_can_be_used_in_order(
    browser: webdriver.Chrome, pages: dict[str, Path], which: str
) -> None:
    chromium.look(browser, pages[which], 1280)
    wanted = browser.find_elements(By.CSS_SELECTOR, CAN_BE_USED)
    reached = []
    for _ in wanted:
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.execute_script(REACHED))
    assert reached == wanted
    # whoever looks sees where the keyboard is
    style = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(style) == "solid"


def test_the_keyboard_sorts_a_table_and_keeps_its_place(
    browser: webdriver.Chrome, pages: dict[str, Path]
) -> None:
    chromium.look(browser, pages["report"], 1280)

    def order() -> list[str]:
        heads = browser.find_elements(By.CSS_SELECTOR, "table.results tbody th")
        return [head.text.split()[0] for head in heads]

    button = browser.find_elements(By.CSS_SELECTOR, "table.results thead button")[5]  # kNN top-1
    browser.execute_script("arguments[0].focus()", button)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert order() == ["RSPNet", "ρMoCo", "scratch"]
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert order() == ["scratch", "ρMoCo", "RSPNet"]
    assert browser.switch_to.active_element == button


@pytest.mark.parametrize("which", ["report", "gallery"])
def test_the_keyboard_opens_every_fold(
    browser: webdriver.Chrome, pages: dict[str, Path], which: str
) -> None:
    chromium.look(browser, pages[which], 1280)
    folds = browser.find_elements(By.TAG_NAME, "details")
    assert folds
    for fold in folds:
        was = fold.get_attribute("open")
        summary = fold.find_element(By.TAG_NAME, "summary")
        browser.execute_script("arguments[0].focus()", summary)
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        assert fold.get_attribute("open") != was


def test_the_keyboard_moves_a_table_that_is_wider_than_the_screen(
    browser: webdriver.Chrome, pages: dict[str, Path]
) -> None:
    chromium.look(browser, pages["gallery"], 390)
    wide = [
        one
        for one in browser.find_elements(By.CSS_SELECTOR, ".scroll")
        if browser.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", one)
    ]
    assert wide
    for one in wide:
        browser.execute_script("arguments[0].focus({preventScroll: true})", one)
        for _ in range(3):
            browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        WebDriverWait(browser, 10).until(lambda _, one=one: one.get_property("scrollLeft") > 0)
