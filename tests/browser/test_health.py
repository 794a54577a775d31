"""From a red row to a green one: an administrator sees what is broken and what to do first."""

import pytest
from playwright.sync_api import expect

from portal.clock import now
from portal.models import Application, Refusal, User
from portal.models.application import AUTHORIZATION_CODE, REFRESH_TOKEN
from tests.browser import steps

pytestmark = pytest.mark.browser
QUIET = 20 * 60


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_what_broke_is_red_until_somebody_signs_in_again(portal, relying_app, tabs, script):
    name = f"Field Notes {'with' if script else 'without'} scripts"
    with portal.models():
        application, secret = Application.register(
            name=name,
            owner=User.named("alice"),
            grants=[AUTHORIZATION_CODE, REFRESH_TOKEN],
            redirect_uris=[relying_app.redirect_uri],
            scopes=["openid", "profile"],
        )
    relying_app.register(application.client_id, secret, "openid profile")
    right = relying_app.redirect_uri
    administrator = tabs.open(script=script)
    listed = f"{portal.address}/admin/applications?q={name.replace(' ', '+')}"
    steps.visit(administrator, listed, "alice")
    expect(administrator.locator("#chip-broken span")).to_have_text("0")

    relying_app.redirect_uri = right + "/"  # an update of its proxy
    person = tabs.open(script=script)
    person.goto(relying_app.address)
    person.get_by_role("link", name="Sign in with Portal").click()
    expect(person.get_by_role("heading", level=1)).to_contain_text("is set up wrongly")

    administrator.goto(listed)
    expect(administrator.locator("#chip-broken span")).to_have_text("1")
    administrator.get_by_role("link", name=f"{name}: 1 redirect error today").click()
    health = administrator.locator("#health")
    expect(health.get_by_role("heading")).to_have_text("Health: broken — 1 redirect error today")
    expect(health).to_contain_text("A trailing slash was added.")
    health.get_by_role("link", name="Open the doctor").click()
    expect(administrator.get_by_role("heading", name="What to do")).to_be_visible()

    relying_app.redirect_uri = right
    with portal.models():  # it took twenty minutes to mend
        Refusal.update(last_at=now() - QUIET).where(
            Refusal.application_id == application.id
        ).execute()
    person.goto(relying_app.address)
    person.get_by_role("link", name="Sign in with Portal").click()
    steps.sign_in(person, "bob")
    person.get_by_role("button", name="Allow").click()
    expect(person.get_by_text("Granted: openid profile")).to_be_visible()
    administrator.goto(f"{portal.address}/admin/applications/{application.client_id}")
    expect(health.get_by_role("heading")).to_have_text("Health: healthy")
    administrator.goto(listed)
    expect(administrator.locator("#chip-attention span")).to_have_text("0")
