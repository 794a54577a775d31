"""Somebody leaves, and somebody else is responsible for what they owned."""

import pytest
from playwright.sync_api import expect

from portal.models import Application
from portal.models.application import CLIENT_CREDENTIALS
from tests import factories
from tests.browser import steps
from tests.browser.looking import look

pytestmark = pytest.mark.browser


def test_an_heir_accepts_what_was_left(portal, tabs):
    with portal.models():
        leaver = factories.make_user("lena", name="Lena Leaving")
        factories.make_user("bert", name="Bert Ito")
        payroll, _ = Application.register(
            name="Payroll sync", owner=leaver, grants=[CLIENT_CREDENTIALS], scopes=["public"]
        )
    page = tabs.open()
    steps.visit(page, f"{portal.address}/admin/users/lena", "alice")
    page.get_by_role("link", name="Disable…").click()
    found = look(page, "leaving")
    page.get_by_label("New owner").fill("bert")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("1 application is offered to Bert Ito")).to_be_visible()
    found += look(page, "leaving-offered")
    page.goto(f"{portal.address}/admin/leaving")
    found += look(page, "leavers")
    page.goto(f"{portal.address}/admin/applications/{payroll.client_id}")
    expect(page.get_by_text("Its owner, Lena Leaving, has left.")).to_be_visible()

    heir = tabs.open()
    steps.visit(heir, f"{portal.address}/account/connections", "bert")
    heir.get_by_role("link", name="Accept or decline").click()
    found += look(heir, "offers")
    heir.get_by_role("button", name="Accept Payroll sync").click()
    expect(heir.get_by_text("You own Payroll sync now.")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Owned by Bert Ito")).to_be_visible()
    assert found == []
