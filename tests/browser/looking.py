"""Look at a page as everybody sees it: light and dark, wide and narrow, with axe."""

import os
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WIDE, NARROW = 1280, 360
AXE = Axe().axe_script
RUN_AXE = "(rules) => axe.run({resultTypes: ['violations'], ...rules}).then(it => it.violations)"
#: The dark colours change nothing but these.
ONLY_COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
#: What is wider than the window, when anything is.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll('body *')]
    .filter((it) => it.getBoundingClientRect().right > width + 1)
    .map((it) => it.outerHTML.slice(0, 120)).slice(0, 5).concat('too wide');
}"""


def look(page: Page, name: str) -> list[str]:
    """What is wrong with the page that is open, in each of its four looks.

    With PORTAL_TEST_PICTURES=folder it also leaves a picture of each there.
    """
    found = []
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": 800})
        found += [f"{name} at {width}: {it}" for it in page.evaluate(TOO_WIDE)]
        for colours, rules in (("dark", ONLY_COLOURS), ("light", {})):
            page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            violations = page.evaluate(RUN_AXE, rules)
            found += [f"{name} at {width}, {colours}: {_sentence(it)}" for it in violations]
            _take_picture(page, f"{name}-{width}-{colours}")
    page.set_viewport_size({"width": WIDE, "height": 800})
    return found


def _sentence(violation: dict[str, Any]) -> str:
    nodes = "; ".join(f"{it['html'][:160]} ({it['failureSummary']})" for it in violation["nodes"])
    return f"{violation['id']}: {nodes}"


def _take_picture(page: Page, name: str) -> None:
    if folder := os.environ.get("PORTAL_TEST_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
