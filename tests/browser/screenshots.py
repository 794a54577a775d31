"""Make the pictures of the README: .venv/bin/python -m tests.browser.screenshots [NAME…]

They come from a portal that runs, with the sample data of `samples.py`. With names, only the
pictures of these names are written.
"""

import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Page, sync_playwright

from portal.models.application import DEVICE_CODE
from tests.browser import samples, steps
from tests.browser.portal_server import ROOT, PortalServer
from tests.browser.tabs import Tabs, launch, missing_browser, missing_htmx
from tests.flows import CHALLENGE

FOLDER = ROOT / "docs" / "pictures"
SCOPES = "openid profile email reports:write"


def main() -> None:
    if missing := missing_browser() or missing_htmx():
        raise SystemExit(missing)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        portal = PortalServer(Path(folder))
        # The address of `make run` in the commands that the pages show.
        portal.environ["PORTAL_ISSUER"] = "http://localhost:8000"
        portal.start()
        browser = launch(playwright)
        tabs = Tabs(browser)
        try:
            _fill(portal)
            _take_all(portal, tabs)
        finally:
            tabs.close()
            browser.close()
            portal.stop()
    if tabs.problems:
        raise SystemExit("\n".join(tabs.problems))


def _fill(portal: PortalServer) -> None:
    with portal.models():
        samples.add_people_and_applications()
        samples.connect_people(samples.REPORTS, 214)


def _take_all(portal: PortalServer, tabs: Tabs) -> None:
    administrator = tabs.open(reduced_motion="reduce")
    steps.visit(administrator, f"{portal.address}/admin/applications", "priya")
    administrator.get_by_role("row").last.wait_for()
    _take(administrator, "applications")
    administrator.emulate_media(color_scheme="dark")
    _take(administrator, "applications-dark")
    administrator.emulate_media(color_scheme="light")
    administrator.goto(f"{portal.address}/admin/applications/{samples.SURVEY}")
    administrator.get_by_role("heading", name="Health").wait_for()
    _take(administrator, "health", full_page=False)
    with portal.models():
        samples.note_wrong_callback()
        samples.let_trust_wait()
    administrator.goto(f"{portal.address}/admin/trust/{samples.WIKI}")
    _take(administrator, "trust")
    _fill_in_the_form(administrator, portal)
    _take(administrator, "add-application")
    with portal.models():
        samples.add_second_secret(samples.INVOICES)
    administrator.goto(f"{portal.address}/admin/secrets/{samples.INVOICES}")
    _take(administrator, "secrets")
    with portal.models():
        grafana = samples.add_grafana()
    administrator.goto(f"{portal.address}/admin/setup/{grafana}/grafana")
    _take(administrator, "setup")
    with portal.models():
        samples.reuse_secrets()
    administrator.goto(f"{portal.address}/admin/reuse")
    _take(administrator, "reuse")
    with portal.models():
        samples.sign_out("sam", samples.INVOICES, "late", "198.51.100.0/24")
        samples.sign_out("tom", samples.INVOICES, "elsewhere", "203.0.113.0/24")
    administrator.goto(f"{portal.address}/admin/connections?application={samples.INVOICES}")
    administrator.get_by_text("Timeline").first.click()
    _take(administrator, "connections")
    administrator.goto(f"{portal.address}/admin/applications/{samples.REPORTS}")
    administrator.get_by_role("button", name="Rotate secret").click()
    administrator.get_by_role("button", name="Make a new secret").click()
    administrator.get_by_role("heading", name="Copy the client secret now").wait_for()
    _take(administrator, "application")
    administrator.get_by_role("link", name="History").click()
    administrator.get_by_text("Details of event").first.click()
    _take(administrator, "audit")
    administrator.goto(_request(portal, samples.WRONG_CALLBACK))
    _take(administrator, "mismatch")
    stopped = tabs.open(reduced_motion="reduce")
    stopped.goto(_request(portal, samples.WRONG_CALLBACK))
    _take(stopped, "tell-owner")
    stopped.get_by_role("button", name="Tell the owner").click()
    stopped.get_by_role("heading", name="The owner has been told").wait_for()
    administrator.get_by_role("link", name="Open the doctor").click()
    administrator.get_by_role("heading", name="What to do").wait_for()
    _take(administrator, "doctor")
    _try_it(administrator, portal)

    with portal.models():
        samples.note_usage(samples.REPORTS, 412)
    administrator.goto(f"{portal.address}/admin/applications/{samples.REPORTS}/edit")
    administrator.get_by_label("Redirect URIs").fill("https://reports.example.org/oidc/callback")
    administrator.locator('[name=scopes][value="reports:write"]').uncheck()
    administrator.get_by_role("button", name="Save changes").click()
    administrator.get_by_role("heading", name="Before you save").wait_for()
    _take(administrator, "before-saving")

    with portal.models():
        samples.add_somebody_who_leaves()
    administrator.goto(f"{portal.address}/admin/leaving/nora")
    administrator.get_by_label("New owner").fill("ben")
    _take(administrator, "leaving")

    person = tabs.open(reduced_motion="reduce")
    steps.visit(person, f"{portal.address}/login", "sam")
    person.goto(_request(portal, samples.CALLBACK))
    _take(person, "consent")
    with portal.models():
        code = samples.start_device(samples.LOBBY, ["profile", "rooms:book"], "WDJBMJHT")
    person.goto(f"{portal.address}/device?user_code={code}")
    _take(person, "device")


def _fill_in_the_form(page: Page, portal: PortalServer) -> None:
    page.goto(f"{portal.address}/admin/applications/new")
    page.get_by_label("Name", exact=True).fill("Field Notes")
    page.locator("[name=grants][value=authorization_code]").check()
    page.locator(f'[name=grants][value="{DEVICE_CODE}"]').check()
    page.get_by_label("Redirect URIs").fill("https://notes.example.org/callback")
    for scope in ("openid", "profile", "email"):
        page.locator(f'[name=scopes][value="{scope}"]').check()
    page.locator("#preview li").nth(2).wait_for()
    page.locator("#scope-list").evaluate("(it) => { it.scrollTop = 0; }")


def _try_it(page: Page, portal: PortalServer) -> None:
    """The wrong secret is pasted, so that the picture says what happens then."""
    # The callback is at the address that the commands show, where nobody listens.
    shown = portal.environ["PORTAL_ISSUER"]
    page.route(
        f"{shown}/**",
        lambda route: route.fulfill(
            status=303, headers={"Location": route.request.url.replace(shown, portal.address)}
        ),
    )
    page.goto(f"{portal.address}/admin/tester/{samples.REPORTS}")
    page.get_by_role("button", name="Try it").click()
    page.get_by_role("button", name="Allow").click()
    page.get_by_label("Client secret").fill("pcs_the-secret-of-last-year")
    page.get_by_role("button", name="Swap the code for tokens").click()
    page.get_by_text("The client secret is wrong").wait_for()
    _take(page, "try-it")


def _request(portal: PortalServer, redirect_uri: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": samples.REPORTS,
        "redirect_uri": redirect_uri,
        "scope": SCOPES,
        "state": "st4te",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"{portal.address}/oauth/authorize?{urlencode(asked)}"


def _take(page: Page, name: str, full_page: bool = True) -> None:
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=FOLDER / f"{name}.png", full_page=full_page)


if __name__ == "__main__":
    main()
