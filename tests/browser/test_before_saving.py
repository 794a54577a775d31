"""From the telephone call that never comes: who used the address is read before it is gone."""

import pytest
from playwright.sync_api import expect

from portal.models import Application, User
from portal.models.application import AUTHORIZATION_CODE, REFRESH_TOKEN
from tests.browser import steps

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_an_administrator_reads_who_used_an_address_and_keeps_it(portal, relying_app, tabs, script):
    old, new = relying_app.redirect_uri, "https://planner.example.org/callback"
    with portal.models():
        application, secret = Application.register(
            name="Shift Planner",
            owner=User.named("alice"),
            grants=[AUTHORIZATION_CODE, REFRESH_TOKEN],
            redirect_uris=[old],
            scopes=["openid", "profile"],
        )
    relying_app.register(application.client_id, secret, "openid profile")
    for username in ("alice", "bob", "priya"):
        person = tabs.open(script=script)
        person.goto(relying_app.address)
        person.get_by_role("link", name="Sign in with Portal").click()
        steps.sign_in(person, username)
        person.get_by_role("button", name="Allow").click()
        expect(person.get_by_text("Granted: openid profile")).to_be_visible()

    # What was noted second within a second is a moment late; the page may come from another worker.
    person.wait_for_timeout(2000)
    administrator = tabs.open(script=script)
    edit = f"{portal.address}/admin/applications/{application.client_id}/edit"
    steps.visit(administrator, edit, "alice")
    administrator.get_by_label("Name", exact=True).fill("Shift Planner 2")
    administrator.get_by_label("Redirect URIs").fill(new)
    administrator.get_by_role("button", name="Save changes").click()
    expect(administrator.get_by_role("heading", level=1)).to_have_text("Before you save")
    served = f"{old} served 3 sign-ins in the last 30 days."
    expect(administrator.get_by_text(served)).to_be_visible()
    administrator.get_by_role("button", name="Go back and edit").click()

    # Nothing that was typed is lost; with both addresses nothing ends, and so nothing is asked.
    expect(administrator.get_by_label("Name", exact=True)).to_have_value("Shift Planner 2")
    expect(administrator.get_by_label("Redirect URIs")).to_have_value(new)
    administrator.get_by_label("Redirect URIs").fill(f"{old}\n{new}")
    administrator.get_by_role("button", name="Save changes").click()
    expect(administrator.get_by_text("The changes are saved")).to_be_visible()
    with portal.models():
        assert Application.get_by_id(application.id).redirect_uris == [old, new]
