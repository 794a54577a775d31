"""What htmx adds to the pages, with the very file that the CDN serves."""

import base64
import hashlib
import re

import pytest
from playwright.sync_api import Page, expect

from portal.htmx import INTEGRITY
from tests.browser import samples, steps
from tests.browser.tabs import htmx_file

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("htmx")]


@pytest.fixture
def applications(tabs, portal) -> Page:
    """The list of applications, opened by an administrator."""
    page = tabs.open()
    steps.visit(page, f"{portal.address}/admin/applications", "priya")
    expect(page.get_by_role("row")).to_have_count(26)
    assert tabs.downloads_of_htmx == 1
    # A click before htmx has seen the page is a plain link's.
    expect(page.get_by_role("searchbox")).to_have_attribute("data-htmx-powered", "true")
    return page


def test_the_hash_in_the_pages_is_that_of_the_npm_package():
    digest = hashlib.sha384(htmx_file().read_bytes()).digest()
    assert f"sha384-{base64.b64encode(digest).decode()}" == INTEGRITY


def test_typing_searches_and_the_address_can_be_shared(applications, portal):
    page = applications
    box = page.get_by_role("searchbox")
    box.press_sequentially("okafor", delay=30)
    expect(page.locator("tbody .name")).to_have_text(["Field Survey", "Room Booking CLI"])
    expect(box).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="2 applications")).to_be_attached()
    expect(page).to_have_url(re.compile(r"\?q=okafor"))

    page.reload()
    expect(page.locator("tbody .name")).to_have_text(["Field Survey", "Room Booking CLI"])
    expect(box).to_have_value("okafor")
    box.fill("nothing like it")
    expect(page.get_by_text("No application matches ‘nothing like it’")).to_be_visible()
    box.clear()
    expect(page.get_by_role("row")).to_have_count(26)


def test_chips_order_and_pages_change_the_table_and_back_returns(applications):
    page = applications
    page.evaluate("window.stillHere = true")
    page.get_by_role("link", name="Trusted 2").click()
    expect(page.locator("tbody .name")).to_have_text(["HR Connect", "Wiki"])
    expect(page.get_by_role("link", name="Trusted 2")).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("link", name="Trusted 2")).to_be_focused()
    expect(page).to_have_url(re.compile(r"\?chip=trusted"))

    page.get_by_role("link", name="Application", exact=True).click()
    expect(page.locator("tbody .name")).to_have_text(["Wiki", "HR Connect"])
    expect(page.get_by_role("columnheader", name="Application")).to_have_attribute(
        "aria-sort", "descending"
    )
    # The search keeps the chip and the order.
    page.get_by_role("searchbox").fill("team")
    expect(page).to_have_url(re.compile(r"q=team&chip=trusted&sort=-name"))
    expect(page.locator("tbody .name")).to_have_text(["Wiki", "HR Connect"])
    assert page.evaluate("window.stillHere"), "htmx changed the table, not the whole page"

    page.go_back()
    expect(page.locator("tbody .name")).to_have_text(["HR Connect", "Wiki"])
    page.go_back()
    expect(page.get_by_role("row")).to_have_count(26)
    page.get_by_role("link", name="Next page").click()
    expect(page.locator(".pager")).to_contain_text("26–")
    expect(page.locator("tbody .name").last).to_have_text("Wiki")
    page.get_by_role("link", name="Previous page").click()
    expect(page.locator("tbody .name").first).to_have_text("Acme Reports")


def test_a_row_that_htmx_brought_has_a_menu_that_works(applications, portal):
    page = applications
    page.get_by_role("searchbox").press_sequentially("sensor 07")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("button", name="Actions for Sensor 07").click()
    page.get_by_role("link", name="Disable…").click()
    page.get_by_role("button", name="Disable application").click()
    expect(page.get_by_text("Sensor 07 is disabled.")).to_be_visible()


def test_the_preview_and_the_owner_follow_what_is_typed(applications, portal):
    page = applications
    page.goto(f"{portal.address}/admin/applications/new")
    preview = page.locator("#preview")
    page.get_by_label("Name", exact=True).fill("Field Notes")
    expect(preview).to_contain_text("Field Notes asks for access to your account")
    page.get_by_label("Authorisation Code").check()
    page.get_by_label("See your e-mail address").check()
    expect(preview.get_by_role("listitem")).to_have_text("See your e-mail address")
    page.get_by_role("checkbox", name="Trusted").check()
    expect(preview).to_contain_text("receives this without asking")
    assert preview.get_by_text("FN", exact=True).is_visible()

    owner = page.get_by_role("combobox", name="Owner")
    owner.fill("")
    owner.press_sequentially("okaf")
    people = page.locator("#owner-options").get_by_role("option")
    expect(people).to_have_text(["Tom Okafor tom@example.org"])
    expect(owner).to_have_attribute("aria-expanded", "true")
    owner.press("ArrowDown")
    expect(owner).to_have_attribute("aria-activedescendant", "owner-option-1")
    owner.press("Enter")
    expect(owner).to_have_value("tom")
    expect(people).to_have_count(0)
    expect(owner).to_have_attribute("aria-expanded", "false")
    # With the mouse, too.
    owner.fill("")
    owner.press_sequentially("team")
    page.get_by_role("option", name="People team").click()
    expect(owner).to_have_value("hr")
    # Nobody can be chosen where nobody is found.
    owner.fill("")
    owner.press_sequentially("qqq")
    expect(people).to_have_text([re.compile("^Nobody who can sign in has this")])
    owner.press("ArrowDown")
    people.click(force=True)
    expect(owner).to_have_value("qqq")
    owner.press_sequentially("q")
    expect(people).to_have_count(1)
    owner.press("Escape")
    expect(people).to_have_count(0)
    expect(owner).to_have_attribute("aria-expanded", "false")


def test_the_scope_picker_filters(applications, portal):
    page = applications
    page.goto(f"{portal.address}/admin/applications/new")
    page.get_by_role("searchbox", name="Filter scopes").fill("report")
    expect(page.locator("#scope-list > :visible")).to_have_count(2)


def test_a_failure_is_said_and_the_table_stays(applications, tabs):
    page = applications
    page.route(re.compile(r"q=fail"), lambda route: route.fulfill(status=503, body="down"))
    page.route(re.compile(r"q=gone"), lambda route: route.abort())
    page.get_by_role("searchbox").fill("fail")
    expect(page.get_by_text("Portal could not do that just now.")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(26)
    page.get_by_role("searchbox").fill("gone")
    expect(page.get_by_text("Portal cannot be reached.")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(26)
    assert all(re.search("503|Failed|ERR_", problem) for problem in tabs.problems)
    tabs.problems.clear()


def test_a_session_that_ended_leads_to_the_whole_sign_in_page(applications, portal):
    page = applications
    with portal.models():
        samples.end_sessions("priya")
    page.get_by_role("searchbox").fill("wiki")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    steps.sign_in(page, "priya")
    expect(page.get_by_role("heading", name="Applications")).to_be_visible()


def test_a_file_that_is_not_the_expected_one_never_runs(tabs, portal):
    page = tabs.open()
    page.route(
        re.compile("cdn.jsdelivr.net"),
        lambda route: route.fulfill(
            body=htmx_file().read_bytes() + b"\nwindow.evil = true",
            content_type="text/javascript",
            headers={"Access-Control-Allow-Origin": "*"},
        ),
    )
    steps.visit(page, f"{portal.address}/admin/applications", "priya")
    # The form still works, as a form.
    page.get_by_role("searchbox").fill("okafor")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody .name")).to_have_text(["Field Survey", "Room Booking CLI"])
    assert page.evaluate("[typeof htmx, typeof evil]") == ["undefined", "undefined"]
    assert all("integrity" in problem for problem in tabs.problems)
    assert tabs.problems
    tabs.problems.clear()
