"""Debian's Chromium, driven by Playwright; what a test looked at is kept as a picture in ``.screenshots/``."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Error, Page, ViewportSize, sync_playwright
from playwright.sync_api import TimeoutError as WaitedTooLong
from support.waiting import DEADLINE

TOP = Path(__file__).resolve().parents[2]
SCREENSHOTS = TOP / ".screenshots"
AXE = TOP / ".venv/axe-core"
WIDE: ViewportSize = {"width": 1440, "height": 1000}
PHONE: ViewportSize = {"width": 390, "height": 844}
Scheme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; where there is none the test is skipped, but not in CI."""
    program = shutil.which("chromium")
    if program is None:
        assert "CI" not in os.environ, "chromium is missing"
        pytest.skip("chromium is missing: apt install chromium")
    # Its sandbox refuses to run as root.
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=root)
        yield browser
        browser.close()


class Tab:
    """One tab at ``url``; what it complained of is in ``complaints``."""

    def __init__(
        self, browser: Browser, url: str, size: ViewportSize = WIDE, scheme: Scheme = "light", **more: Any
    ) -> None:
        self.context = browser.new_context(viewport=size, color_scheme=scheme, **more)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(1000 * DEADLINE)
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dialog)
        self._load(url)

    def _load(self, url: str) -> None:
        """Chromium gives up what it loads when the machine's network changes, as it does where Docker's tests run."""
        for _ in range(6):
            try:
                self.page.goto(url)
                return
            except Error as error:
                if "ERR_NETWORK_CHANGED" not in error.message:
                    raise

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: Any) -> None:
        # That the server went away is what some tests do to it.
        if message.type in ("error", "warning") and "ERR_" not in message.text:
            self.complaints.append(message.text)

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def go(self, path: str) -> None:
        """Another view, by its fragment."""
        self.page.evaluate("path => { location.hash = path; }", path)

    def wait_text(self, selector: str, text: str | re.Pattern[str]) -> None:
        """Until ``text`` is in what ``selector`` finds."""
        try:
            self.page.locator(selector).filter(has_text=text).first.wait_for()
        except WaitedTooLong as error:
            shown = self.page.locator(selector).all_inner_texts()
            raise AssertionError(f"{text!r} is not in {selector}: {shown}; complaints: {self.complaints}") from error

    def picture(self, name: str) -> None:
        """Keep what it shows now."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))

    def axe(self) -> list[str]:
        """What axe finds, each with the elements concerned."""
        self.page.evaluate(axe_source())
        result = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {violation['help']}: {[node['html'][:160] for node in violation['nodes'][:3]]}"
            for violation in result["violations"]
        ]


def axe_source() -> str:
    """axe-core, which ``scripts/machine/axe_core.py`` fetches."""
    script = TOP / "scripts/machine/axe_core.py"
    spec = importlib.util.spec_from_file_location("axe_core", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return str(module.fetch(AXE).read_text())
    except OSError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"axe-core is not there and can't be fetched: {error}")
