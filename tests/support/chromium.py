"""Pages in a real browser: chromium without a window, driven by selenium."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium import webdriver

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]

needed = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()),
    reason=f"{CHROMIUM} or {DRIVER} is not installed: run "
    ".ci/install chromedriver chromium chromium-driver",
)


def start(profile: Path) -> webdriver.Chrome:
    """A browser whose own files are in ``profile``; whoever starts it quits it."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))


def look(
    browser: webdriver.Chrome,
    page: Path,
    width: int,
    scheme: str = "light",
    motion: str = "no-preference",
    height: int = 900,
    at: str = "",
) -> None:
    """Open a file, at a section, on a screen for one who prefers this scheme and motion."""
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(page.as_uri() + (f"#{at}" if at else ""))
