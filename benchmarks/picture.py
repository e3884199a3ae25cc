"""The picture of the report that README shows: the top of the page, as a browser shows it.

    make                                      # the study whose report it is
    python benchmarks/picture.py              # writes docs/report.png
    python benchmarks/picture.py --page FILE --out FILE --width 390 --height 2000 --at neighbours

Needs chromium and its driver (.ci/install chromedriver chromium chromium-driver).
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from support import chromium  # noqa: E402

COLOURS = 128  # of the picture: a page is mostly flat, and a small file loads at once


def taken(page: Path, width: int, height: int, at: str, scheme: str) -> Image.Image:
    """What a screen of ``width`` x ``height`` pixels shows of a page, from section ``at`` on."""
    with tempfile.TemporaryDirectory() as profile:
        browser = chromium.start(Path(profile))
        try:
            chromium.look(browser, page.resolve(), width, scheme, "reduce", height, at)
            return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        finally:
            browser.quit()


def main() -> None:
    """Take it and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--page", type=Path, default=ROOT / "runs" / "report" / "report.html")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "report.png")
    parser.add_argument("--width", type=int, default=1080, help="pixels")
    parser.add_argument("--height", type=int, default=1350, help="pixels")
    parser.add_argument("--at", default="", help="id of a section to begin at")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    args = parser.parse_args()
    if not args.page.is_file():
        parser.error(f"{args.page} is not there: run the study first (make)")
    if not (chromium.CHROMIUM.exists() and chromium.DRIVER.exists()):
        parser.error("chromium is not there: .ci/install chromedriver chromium chromium-driver")
    picture = taken(args.page, args.width, args.height, args.at, args.scheme)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
