"""The report in a real browser: it shows, fits a phone, and asks nobody for anything."""

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from support import chromium

pytestmark = chromium.needed

OPEN = "document.querySelectorAll('details').forEach((one) => { one.open = true })"


def look(browser: webdriver.Chrome, finished: Path, width: int, **wishes: str) -> None:
    chromium.look(browser, finished / "report.html", width, **wishes)


def test_desktop_shows_everything(browser: webdriver.Chrome, finished: Path) -> None:
    look(browser, finished, 1200)
    assert browser.title == "RSPNet and ρMoCo on the built-in dataset"
    rows = browser.find_elements(By.CSS_SELECTOR, "table.results tbody tr")
    names = [row.find_element(By.TAG_NAME, "th").text for row in rows]
    assert names == ["scratch baseline", "RSPNet", "ρMoCo"]
    assert rows[1].text.split()[1:3] == ["82.2≈", "+24.4"]
    drawings = browser.find_elements(By.CSS_SELECTOR, "figure svg")
    assert len(drawings) == 8  # four of bars, two of pretraining, two of fine-tuning
    for drawing in drawings:
        assert drawing.size["width"] > 300
        assert drawing.size["height"] > 80
    assert len(browser.find_elements(By.CSS_SELECTOR, "table.rejects tbody tr")) == 50
    table = browser.find_element(By.CSS_SELECTOR, ".scroll")
    hidden = "return arguments[0].scrollWidth - arguments[0].clientWidth"
    assert browser.execute_script(hidden, table) == 0


def test_no_error_and_no_request(browser: webdriver.Chrome, finished: Path) -> None:
    browser.get_log("browser")  # what earlier pages said
    look(browser, finished, 1200)
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [320, 390, 768])
@pytest.mark.parametrize("which", ["finished", "searched", "confused"])
def test_narrow_screens_do_not_overflow(
    browser: webdriver.Chrome, request: pytest.FixtureRequest, which: str, width: int
) -> None:
    look(browser, request.getfixturevalue(which), width)
    browser.execute_script(OPEN)
    inner, client, scroll = browser.execute_script(
        "const root = document.documentElement;"
        "return [window.innerWidth, root.clientWidth, root.scrollWidth]"
    )
    assert inner == width  # a page that is too wide makes a phone zoom out
    assert scroll == client


def test_a_printed_page_holds_the_whole_table(browser: webdriver.Chrome, finished: Path) -> None:
    look(browser, finished, 688)  # A4 within its margins
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    inner, scroll = browser.execute_script(
        "return [window.innerWidth, document.documentElement.scrollWidth]"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert scroll <= inner == 688


def test_column_head_sorts_and_method_restores(browser: webdriver.Chrome, finished: Path) -> None:
    look(browser, finished, 1200)

    def order() -> list[str]:
        heads = browser.find_elements(By.CSS_SELECTOR, "table.results tbody th")
        return [head.text.split()[0] for head in heads]

    buttons = browser.find_elements(By.CSS_SELECTOR, "table.results thead button")
    buttons[5].click()  # kNN top-1
    assert order() == ["RSPNet", "ρMoCo", "scratch"]
    assert browser.find_elements(By.CSS_SELECTOR, "th[aria-sort=descending]")[0].text[:5] == "top-1"
    buttons[5].click()
    assert order() == ["scratch", "ρMoCo", "RSPNet"]
    buttons[0].click()
    assert order() == ["scratch", "RSPNet", "ρMoCo"]


MOVING = """
return [...document.querySelectorAll(".strip")].filter(
  (strip) => strip.getAnimations().some((one) => one.playState === "running")).length
"""


def test_videos_play_until_they_are_stopped_by_key(
    browser: webdriver.Chrome, searched: Path
) -> None:
    look(browser, searched, 1200)
    shown = len(browser.find_elements(By.CSS_SELECTOR, ".strip"))
    assert browser.execute_script(MOVING) == shown > 10
    for switch in browser.find_elements(By.CSS_SELECTOR, ".moving input"):
        own = browser.execute_script(
            'return arguments[0].closest("section").querySelectorAll(".strip").length', switch
        )
        assert own > 0
        browser.execute_script("arguments[0].focus()", switch)
        browser.switch_to.active_element.send_keys(Keys.SPACE)
        shown -= own
        assert browser.execute_script(MOVING) == shown
    assert shown == 0
    assert browser.get_log("browser") == []


def test_videos_stand_still_for_who_asks_for_it(browser: webdriver.Chrome, searched: Path) -> None:
    look(browser, searched, 1200, motion="reduce")
    assert browser.execute_script(MOVING) == 0
    look(browser, searched, 1200)


def test_every_strip_is_a_picture_and_asks_nobody(
    browser: webdriver.Chrome, searched: Path
) -> None:
    look(browser, searched, 1200)
    script = """
    return Promise.all([...document.querySelectorAll(".strip")].map((strip) => {
      const picture = new Image();
      picture.src = getComputedStyle(strip).backgroundImage.slice(5, -2);
      return picture.decode().then(() => [picture.naturalWidth, picture.naturalHeight]);
    }))
    """
    assert {tuple(size) for size in browser.execute_script(script)} == {(288, 48), (192, 48)}
    names = browser.execute_script(
        "return performance.getEntriesByType('resource').map((one) => one.name.slice(0, 5))"
    )
    assert set(names) <= {"data:"}


CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c;
  }
};
const worst = {};
for (const e of document.querySelectorAll("body *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || e.tagName === "SCRIPT") continue;
  const style = getComputedStyle(e);
  const a = light(numbers(e.closest("svg") ? style.fill : style.color)), b = light(ground(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) worst[e.tagName + "." + (e.className.baseVal ?? e.className)] = ratio;
}
return worst;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["finished", "searched", "confused"])
def test_text_has_contrast_in_both_schemes(
    browser: webdriver.Chrome, request: pytest.FixtureRequest, which: str, scheme: str
) -> None:
    """At least 4.5 : 1 for all text (WCAG 2.2, AA)."""
    look(browser, request.getfixturevalue(which), 1200, scheme=scheme)
    browser.execute_script(OPEN)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert browser.execute_script(CONTRAST) == {}
