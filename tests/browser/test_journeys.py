"""Whole journeys through the portal in real Chromium, with a real relying application."""

import re

import pytest
import requests
from playwright.sync_api import expect

from tests.browser import steps
from tests.browser.relying_app import RelyingApp

pytestmark = pytest.mark.browser

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def visited(new_portal, browser):
    """An empty portal and an application that is going to be added to it."""
    portal = new_portal()
    app = RelyingApp(portal.address)
    app.start()
    yield portal, app
    app.stop()


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_from_the_first_administrator_to_an_application_that_is_locked_out(visited, tabs, script):
    portal, app = visited
    page = tabs.open(script=script)
    steps.make_first_administrator(page, portal.setup_link())
    expect(page.get_by_text("No applications yet")).to_be_visible()
    client_id, secret = steps.add_application(
        page, portal.address, "Acme Wiki", app.redirect_uri, ["openid", "profile", "email"]
    )
    app.register(client_id, secret, "openid profile email")

    # Sign in from the relying application, in a browser of one's own.
    visitor = tabs.open(script=script)
    visitor.goto(app.address)
    visitor.get_by_role("link", name="Sign in with Portal").click()
    expect(visitor.get_by_text("to continue to Acme Wiki")).to_be_visible()
    steps.sign_in(visitor, "alice")

    expect(visitor.get_by_role("heading", level=1)).to_have_text(
        "Acme Wiki asks for access to your account"
    )
    expect(visitor.get_by_text("127.0.0.1")).to_be_visible()
    visitor.get_by_label("See your e-mail address").uncheck()
    visitor.get_by_role("button", name="Allow").click()
    expect(visitor.get_by_text("Granted: openid profile")).to_be_visible()
    assert app.tokens["scope"] == "openid profile"

    first = app.tokens
    visitor.get_by_role("button", name="Refresh").click()
    expect(visitor.get_by_text("Granted: openid profile")).to_be_visible()
    assert app.tokens["refresh_token"] != first["refresh_token"]
    assert app.tokens["scope"] == "openid profile"
    assert _is_active(portal, app, app.tokens["access_token"])

    # Take the access away again.
    visitor.goto(f"{portal.address}/account/connections")
    expect(visitor.get_by_role("heading", name="Acme Wiki")).to_be_visible()
    expect(visitor.get_by_text("See your e-mail address")).to_be_hidden()
    visitor.get_by_role("button", name="Remove… Acme Wiki").click()
    visitor.get_by_role("button", name="Remove access of Acme Wiki").click()
    expect(visitor.get_by_text("No connected apps")).to_be_visible()

    assert not _is_active(portal, app, app.tokens["access_token"])
    visitor.goto(app.address)
    visitor.get_by_role("button", name="Refresh").click()
    expect(visitor.get_by_role("heading", name="Signed out")).to_be_visible()
    expect(visitor.get_by_text("invalid_grant")).to_be_visible()

    # It has to ask again; this time the answer is no.
    visitor.get_by_role("link", name="Sign in with Portal").click()
    visitor.get_by_role("button", name="Deny").click()
    expect(visitor.get_by_role("heading", name="Not signed in")).to_be_visible()
    expect(visitor.get_by_text("access_denied")).to_be_visible()


def _is_active(portal, app, token: str) -> bool:
    answer = requests.post(
        f"{portal.address}/oauth/introspect",
        data={"token": token},
        auth=(app.client.client_id, app.client.client_secret),
        timeout=10,
    )
    return answer.json()["active"]
