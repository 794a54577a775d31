"""Tabs of a real Chromium that note everything a page does wrong."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route, expect

from portal.htmx import VERSION

NPM_FILE = Path(__file__).parent / "node_modules/htmx.org/dist/htmx.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Nothing but this machine can be reached, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
CDN = "https://cdn.jsdelivr.net/"
#: How Chromium notes an answer of 4xx, which many of these tests ask for.
EXPECTED = "Failed to load resource: the server responded with a status of 4"
PATIENCE = 15_000
expect.set_options(timeout=PATIENCE)


def chromium_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def missing_browser() -> str | None:
    """What to install for the browser tests; None when it is there."""
    return None if chromium_path() else "no Chromium here: sudo apt install chromium"


def htmx_file() -> Path:
    """The npm package's file, which stands in for the CDN's."""
    return Path(os.environ.get("PORTAL_TEST_HTMX") or NPM_FILE)


def missing_htmx() -> str | None:
    """How to get htmx for the browser tests; None when it is there."""
    if htmx_file().is_file():
        return None
    return (
        "no htmx here: npm install --prefix tests/browser --no-save --no-package-lock"
        f" htmx.org@{VERSION}, or name a copy of htmx.min.js in PORTAL_TEST_HTMX"
    )


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))


class Tabs:
    """The tabs of one test. `problems` is what went wrong in any of them."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.contexts: list[BrowserContext] = []
        self.problems: list[str] = []
        self.downloads_of_htmx = 0

    def open(self, *, script: bool = True, width: int = 1280, **how: Any) -> Page:
        """A tab in which nobody is signed in; `script=False` has no JavaScript."""
        context = self.browser.new_context(
            java_script_enabled=script,
            viewport={"width": width, "height": 800},
            locale="en-GB",
            **how,
        )
        context.set_default_timeout(PATIENCE)
        context.route(re.compile("^https:"), self._answer)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda it: self._note_message(it, page))
        page.on("pageerror", lambda error: self.problems.append(f"{page.url}: script: {error}"))
        page.on("response", self._note_failure)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def _answer(self, route: Route) -> None:
        """The CDN's file from the npm package; Chromium still checks its hash. No other site."""
        if not route.request.url.startswith(CDN):
            self.problems.append(f"asked for {route.request.url}")
            route.abort()
        elif missing_htmx():
            route.abort()
        else:
            self.downloads_of_htmx += 1
            route.fulfill(
                path=htmx_file(),
                content_type="text/javascript",
                headers={"Access-Control-Allow-Origin": "*"},
            )

    def _note_message(self, message: Any, page: Page) -> None:
        unreachable = message.location["url"].startswith(CDN) and missing_htmx()
        expected = unreachable or message.text.startswith(EXPECTED)
        if message.type in ("error", "warning") and not expected:
            self.problems.append(f"{page.url}: {message.text}")

    def _note_failure(self, response: Any) -> None:
        if response.status >= 500:
            self.problems.append(f"{response.status} from {response.url}")
