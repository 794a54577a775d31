"""From the wall to the way through it: a trailing slash, one press each, and people are in."""

import pytest
from playwright.sync_api import expect

from portal.models import Application, Refusal, User
from portal.models.application import AUTHORIZATION_CODE, REFRESH_TOKEN
from tests.browser import steps

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_a_person_tells_the_owner_who_replaces_the_address(portal, relying_app, tabs, script):
    with portal.models():
        application, secret = Application.register(
            name="Field Diary",
            owner=User.named("alice"),
            grants=[AUTHORIZATION_CODE, REFRESH_TOKEN],
            redirect_uris=[relying_app.redirect_uri],
            scopes=["openid", "profile"],
        )
    relying_app.register(application.client_id, secret, "openid profile")
    relying_app.redirect_uri += "/"  # what a new version of its framework sends

    person = tabs.open(script=script)
    person.goto(relying_app.address)
    person.get_by_role("link", name="Sign in with Portal").click()
    expect(person.get_by_role("heading", level=1)).to_contain_text("is set up wrongly")
    person.get_by_role("button", name="Tell the owner").click()
    expect(person.get_by_role("heading", level=1)).to_have_text("The owner has been told")

    owner = tabs.open(script=script)
    steps.visit(owner, f"{portal.address}/account/applications", "alice")
    expect(owner.get_by_text("Somebody could not get into Field Diary")).to_be_visible()
    owner.get_by_role("link", name="See what to change").click()
    with portal.models():
        reference = Refusal.of(application.id)[0].reference
    expect(owner).to_have_url(f"{portal.address}/admin/doctor/{reference}")
    expect(owner.get_by_text("A trailing slash was added.")).to_be_visible()
    owner.get_by_role("button", name="Replace").click()
    expect(owner.get_by_text("the next sign-in works").first).to_be_visible()

    person.goto(relying_app.address)
    person.get_by_role("link", name="Sign in with Portal").click()
    steps.sign_in(person, "bob")
    person.get_by_role("button", name="Allow").click()
    expect(person.get_by_text("Granted: openid profile")).to_be_visible()
    owner.goto(f"{portal.address}/account/applications")
    expect(owner.get_by_text("Somebody could not get into")).to_be_hidden()
