"""An administrator is about to take away an address that people sign in through."""

import pytest
from playwright.sync_api import expect

from portal.models import Application
from tests.browser import samples, steps
from tests.browser.looking import look
from tests.browser.screenshots import _request

pytestmark = pytest.mark.browser


def test_an_address_that_serves_people_is_not_lost_unseen(portal, tabs):
    with portal.models():
        reports = Application.with_client_id(samples.REPORTS)
        saved = list(reports.redirect_uris)
    person = tabs.open()
    steps.visit(person, f"{portal.address}/login", "sam")
    person.route("https://reports.example.org/**", lambda route: route.fulfill(body="Welcome"))
    for _ in range(2):
        person.goto(_request(portal, samples.CALLBACK))
        if person.get_by_role("button", name="Allow").count():
            person.get_by_role("button", name="Allow").click()
        expect(person.get_by_text("Welcome")).to_be_visible()

    page = tabs.open()
    steps.visit(page, f"{portal.address}/admin/applications/{samples.REPORTS}/edit", "priya")
    addresses = page.get_by_label("Redirect URIs")
    addresses.fill("https://reports.example.org/new")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text(f"{samples.CALLBACK} served 2 sign-ins")).to_be_visible()
    found = look(page, "before-you-save")
    page.get_by_role("button", name="Go back and edit").click()
    expect(addresses).to_have_value("https://reports.example.org/new")
    addresses.fill("\n".join([*saved, "https://reports.example.org/new"]))
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("The changes are saved")).to_be_visible()
    with portal.models():
        kept = Application.with_client_id(samples.REPORTS).redirect_uris
    assert kept == [*saved, "https://reports.example.org/new"]
    assert found == []
