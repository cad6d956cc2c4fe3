"""A real browser that stays, driven by playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.report.browser import NAMES
from tests.web.served import Page


@contextmanager
def browser(scheme: str = "light", width: int = 1240, height: int = 900) -> Iterator[Any]:
    """A page of a browser, which notes what went wrong on it in `faults`."""
    api = pytest.importorskip("playwright.sync_api", reason="it is driven by playwright: pip install playwright")
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=arguments)
        try:
            page = opened.new_page(color_scheme=scheme, viewport={"width": width, "height": height})
            page.set_default_timeout(60_000)
            page.faults = []
            page.on("pageerror", lambda error: page.faults.append(str(error)))
            page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
            page.on("dialog", lambda dialog: (page.faults.append("a dialog opened"), dialog.dismiss()))
            yield page
        finally:
            opened.close()


def log_in(page: Any, of: Page) -> None:
    """Type the token in."""
    page.goto(f"http://127.0.0.1:{of.port}/")
    page.fill("input[name=token]", of.token)
    page.click("main button")
    page.wait_for_selector("#running")
