"""Somebody is signed out: the person and the administrator read why."""

import pytest
import requests
from playwright.sync_api import expect

from portal.models import Application, TokenFamily, User
from portal.models.application import DEVICE_CODE, REFRESH_TOKEN
from tests.browser import steps

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_a_client_that_refreshes_twice_is_told_from_a_thief(portal, tabs, script):
    name = f"Hall screen {'with' if script else 'without'} scripts"
    with portal.models():
        screen, secret = Application.register(
            name=name,
            owner=User.named("alice"),
            grants=[DEVICE_CODE, REFRESH_TOKEN],
            scopes=["openid", "profile"],
        )

    def ask(path: str, **data) -> requests.Response:
        address, auth = f"{portal.address}/oauth/{path}", (screen.client_id, secret)
        return requests.post(address, data=data, auth=auth, timeout=10)

    device = ask("device_authorization", scope="openid profile").json()
    page = tabs.open(script=script)
    steps.visit(page, device["verification_uri_complete"], "alice")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Allow").click()
    code = {"grant_type": DEVICE_CODE, "device_code": device["device_code"]}
    old = ask("token", **code).json()["refresh_token"]
    refresh = {"grant_type": REFRESH_TOKEN, "refresh_token": old}
    assert ask("token", **refresh).status_code == 200
    with portal.models():  # two minutes later
        family = TokenFamily.get(TokenFamily.application_id == screen.id)
        family.rotated_at -= 120
        family.history = [*family.history[:1], f"{family.rotated_at}@127.0.0.0/24"]
        family.save()
    assert ask("token", **refresh).status_code == 400

    page.goto(f"{portal.address}/account/connections")
    mine = page.get_by_role("region", name="Signed out for your safety")
    mine = mine.get_by_role("listitem").filter(has_text=name).first
    expect(mine).to_contain_text("Retried late")
    expect(mine).to_contain_text("a mistake in the application, not like a theft")
    mine.get_by_text("Timeline").click()
    expect(mine.get_by_text("You let a device in")).to_be_visible()

    page.goto(f"{portal.address}/admin/applications/{screen.client_id}")
    page.get_by_role("link", name="See why").click()
    reused = page.get_by_role("region", name="Signed out because an old refresh token came")
    expect(reused).to_contain_text("let only one process refresh at a time")
    reused.get_by_text("Timeline").click()
    expect(reused.get_by_text("The person let a device in")).to_be_visible()


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_a_long_form_survives_being_signed_out(portal, tabs, script):
    name = f"Typed for an hour {'with' if script else 'without'} scripts"
    page = tabs.open(script=script)
    steps.visit(page, f"{portal.address}/admin/applications/new", "alice")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Authorisation Code").check()
    page.get_by_label("Redirect URIs").fill("https://one.example/cb\nhttps://two.example/cb")
    page.context.clear_cookies()
    page.get_by_role("button", name="Add application").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in in another tab").click()
    steps.sign_in(opened.value, "alice")
    expect(opened.value.get_by_role("heading", level=1)).to_have_text("Applications")
    page.get_by_role("button", name="Send it again").click()
    expect(page.get_by_text("You are signed in as alice")).to_be_visible()
    page.get_by_role("button", name="Send it again").click()
    expect(page.get_by_role("heading", name="Copy the client secret now")).to_be_visible()
    with portal.models():
        added = Application.get(Application.name == name)
    assert added.redirect_uris == ["https://one.example/cb", "https://two.example/cb"]
