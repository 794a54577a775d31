"""Trust is no tick for ever: a second administrator approves it, and a change asks again."""

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from portal.models import Application, Trust, User
from portal.models.application import AUTHORIZATION_CODE
from tests.browser import steps
from tests.flows import CHALLENGE

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_a_changed_application_is_not_trusted_as_before(portal, tabs, script):
    with portal.models():
        application, _ = Application.register(
            name=f"Canteen {'with' if script else 'without'} scripts",
            owner=User.named("sam"),
            grants=[AUTHORIZATION_CODE],
            redirect_uris=[f"{portal.address}/healthz"],
            scopes=["openid", "profile"],
        )
    request = f"{portal.address}/oauth/authorize?" + urlencode(
        {
            "response_type": "code",
            "client_id": application.client_id,
            "redirect_uri": f"{portal.address}/healthz",
            "scope": "openid profile",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
    )
    edit = f"{portal.address}/admin/applications/{application.client_id}/edit"
    asker, approver, person = (tabs.open(script=script) for _ in range(3))

    def is_asked() -> None:
        person.goto(request)
        expect(person.get_by_role("button", name="Allow")).to_be_visible()

    def is_not_asked() -> None:
        person.goto(request)
        expect(person).to_have_url(re.compile(r"/healthz\?code="))

    steps.visit(person, request, "bob")
    steps.visit(asker, edit, "alice")
    asker.get_by_role("checkbox", name="Trusted").check()
    asker.get_by_label("Why is it trusted?").fill("The canteen belongs to us.")
    asker.get_by_label("Type the application’s name").fill(application.name)
    asker.get_by_role("button", name="Save changes").click()
    expect(asker.get_by_text("people see the consent page until another").first).to_be_visible()
    is_asked()

    steps.visit(approver, f"{portal.address}/admin/applications", "priya")
    approver.get_by_role("link", name="Look and decide").click()
    approver.get_by_role("link", name=application.name, exact=True).click()
    expect(approver.get_by_text("The canteen belongs to us.")).to_be_visible()
    approver.get_by_role("button", name="Approve").click()
    expect(approver.get_by_text("people are not asked").first).to_be_visible()
    is_not_asked()

    asker.goto(edit)
    uris = asker.get_by_label("Redirect URIs")
    uris.fill(uris.input_value() + "\nhttps://elsewhere.example.com/callback")
    asker.get_by_role("button", name="Save changes").click()
    asker.get_by_role("link", name="Look and decide").click()
    expect(asker.get_by_text("You asked for it, so another administrator")).to_be_visible()
    expect(asker.get_by_role("button", name="Approve")).to_have_count(0)
    is_asked()

    approver.reload()
    expect(approver.locator("ins")).to_have_text("Added: + https://elsewhere.example.com/callback")
    expect(approver.locator("del")).to_have_count(0)
    approver.get_by_role("button", name="Approve").click()
    expect(approver.get_by_text("people are not asked").first).to_be_visible()
    is_not_asked()
    with portal.models():
        assert Trust.of(application.id).approved_by == "priya"
        application.remove()
