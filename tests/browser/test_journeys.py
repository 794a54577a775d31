"""Whole journeys through the portal in real Chromium, with a real relying application."""

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser import samples, steps
from tests.browser.relying_app import RelyingApp
from tests.factories import PASSWORD
from tests.flows import DEVICE_GRANT

pytestmark = pytest.mark.browser


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


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_a_device_gets_what_the_person_in_front_of_it_allows(portal, tabs, script):
    client_id = samples.LOBBY
    started = _post(
        portal, "/oauth/device_authorization", client_id=client_id, scope="profile rooms:book"
    )
    page = tabs.open(script=script)
    page.goto(started["verification_uri"])
    steps.sign_in(page, "bob")
    box = page.get_by_label("Code shown on your device")
    if script:  # the hyphen comes by itself
        box.press_sequentially(started["user_code"].replace("-", "").lower())
        assert box.input_value().upper() == started["user_code"]
    else:
        box.fill(started["user_code"].replace("-", " ").lower())
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Lobby Display asks for access")).to_be_visible()
    expect(page.get_by_text(started["user_code"])).to_be_visible()
    page.get_by_label("Book rooms").uncheck()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="Device connected")).to_be_visible()
    token = _poll(portal, started)
    assert token["scope"] == "profile"

    page.get_by_role("link", name="Connected apps").click()
    page.get_by_role("button", name="Remove… Lobby Display").click()
    page.get_by_role("button", name="Remove access of Lobby Display").click()
    refused = _post(
        portal,
        "/oauth/token",
        grant_type="refresh_token",
        refresh_token=token["refresh_token"],
        client_id=client_id,
    )
    assert refused["error"] == "invalid_grant"


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_a_wrong_redirect_uri_is_found_and_mended_by_an_administrator(
    portal, relying_app, tabs, script
):
    name = f"Survey {'with' if script else 'without'} scripts"
    administrator = tabs.open(script=script)
    steps.visit(administrator, f"{portal.address}/login", "alice")
    client_id, secret = steps.add_application(
        administrator, portal.address, name, f"{relying_app.address}/back", ["openid"]
    )
    relying_app.register(client_id, secret, "openid")

    # The person learns that it is not their fault; nothing goes to the address.
    visitor = tabs.open(script=script)
    steps.visit(visitor, f"{portal.address}/login", "bob")
    visitor.goto(relying_app.address)
    visitor.get_by_role("link", name="Sign in with Portal").click()
    expect(visitor.get_by_role("heading", level=1)).to_contain_text("is set up wrongly")
    expect(visitor.get_by_text("You have done nothing wrong")).to_be_visible()
    assert visitor.url.startswith(portal.address)
    assert visitor.get_by_text(relying_app.redirect_uri).count() == 0

    # The administrator sees the difference and saves the address.
    administrator.goto(f"{relying_app.address}/login")
    expect(administrator.get_by_text("For you as an administrator")).to_be_visible()
    expect(administrator.locator(".diff")).to_contain_text(relying_app.redirect_uri)
    administrator.get_by_role("link", name="Open the application").click()
    administrator.get_by_role("link", name="Save this URI…").click()
    addresses = administrator.get_by_label("Redirect URIs")
    expect(addresses).to_have_value(f"{relying_app.address}/back\n{relying_app.redirect_uri}")
    administrator.get_by_role("button", name="Save changes").click()
    expect(administrator.get_by_text("The changes are saved")).to_be_visible()

    visitor.goto(f"{relying_app.address}/login")
    visitor.get_by_role("button", name="Allow").click()
    expect(visitor.get_by_text("Granted: openid")).to_be_visible()


def test_a_secret_is_copied_once_and_neither_reload_nor_back_shows_it_again(portal, tabs):
    page = tabs.open()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=portal.address)
    steps.visit(page, f"{portal.address}/login", "alice")
    _, secret = steps.add_application(
        page, portal.address, "Once Only", "https://once.example.org/callback", ["openid"]
    )
    page.get_by_role("button", name="Copy Client secret").click()
    expect(page.get_by_role("button", name="Copied Client secret")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret

    page.reload()
    expect(page.get_by_role("heading", name="Once Only")).to_be_visible()
    assert secret not in page.content()
    _, secret = steps.add_application(
        page, portal.address, "Once More", "https://once.example.org/callback", ["openid"]
    )
    page.get_by_role("link", name="I have stored it").click()
    expect(page.get_by_role("heading", name="Copy the client secret now")).to_be_hidden()
    page.go_back()
    expect(page.get_by_role("heading", name="Add application")).to_be_visible()
    assert secret not in page.content()
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert secret not in stored


def test_without_javascript_a_reload_says_that_nothing_was_added_twice(portal, tabs):
    page = tabs.open(script=False)
    steps.visit(page, f"{portal.address}/login", "alice")
    _, secret = steps.add_application(
        page, portal.address, "Once Plain", "https://once.example.org/callback", ["openid"]
    )
    page.reload()
    expect(page.get_by_text("nothing was added twice")).to_be_visible()
    assert secret not in page.content()


def test_an_application_is_added_and_allowed_with_the_keyboard_alone(portal, relying_app, tabs):
    page = tabs.open()
    keys = Keyboard(page)
    page.goto(f"{portal.address}/admin/applications")
    keys.go_to("Username or e-mail address").type("alice")
    keys.go_to("Password").type(PASSWORD)
    keys.go_to("Sign in").press("Enter")
    expect(page.get_by_role("heading", name="Applications")).to_be_visible()

    keys.go_to("Skip to the content").press("Enter")
    keys.go_to("Add application").press("Enter")
    expect(page.get_by_role("heading", name="Add application")).to_be_visible()
    keys.go_to("Name").type("Keyboard Notes")
    keys.go_to("Authorisation Code").press("Space")
    keys.go_to("Redirect URIs").type(relying_app.redirect_uri)
    keys.go_to("Sign you in").press("Space")
    keys.go_to("See your e-mail address").press("Space")
    keys.go_to("Add application").press("Enter")
    expect(page.get_by_role("heading", name="Copy the client secret now")).to_be_visible()
    keys.go_to("I have stored it")
    client_id = page.get_by_role("textbox", name="Client ID").input_value()
    secret = page.get_by_role("textbox", name="Client secret").input_value()
    relying_app.register(client_id, secret, "openid email")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Copy the client secret now")).to_be_hidden()

    page.goto(relying_app.address)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Keyboard Notes asks for access")).to_be_visible()
    keys.go_to("See your e-mail address").press("Space")
    keys.go_to("Allow").press("Enter")
    expect(page.get_by_text("Granted: openid")).to_be_visible()
    assert relying_app.tokens["scope"] == "openid"

    # Menus open, close and give the focus back.
    page.goto(f"{portal.address}/admin/applications?q=keyboard")
    keys.go_to("Actions for Keyboard Notes").press("Enter")
    keys.go_to("Delete…")
    keys.press("Escape")
    expect(page.get_by_role("link", name="Delete…")).to_be_hidden()
    expect(page.get_by_role("button", name="Actions for Keyboard Notes")).to_be_focused()


class Keyboard:
    """Tab, Space and Enter; it complains when the focus cannot be seen."""

    #: More stops than any page has.
    MOST_STOPS = 120

    def __init__(self, page: Page) -> None:
        self.page = page

    def go_to(self, name: str) -> "Keyboard":
        """Press Tab until something of this name has the focus."""
        self.page.wait_for_load_state()
        for _ in range(self.MOST_STOPS):
            if self._focused_name() == name:
                assert self.page.evaluate(FOCUS_SHOWS), f"nothing shows that {name} has the focus"
                return self
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab never comes to {name} on {self.page.url}")

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def _focused_name(self) -> str:
        return self.page.evaluate(FOCUSED_NAME)


FOCUSED_NAME = """() => {
  const it = document.activeElement;
  const label = it.labels?.length ? it.labels[0].firstChild.textContent : null;
  return (label ?? it.getAttribute('aria-label') ?? it.innerText).trim();
}"""
#: The outline is on the box itself or, for cards, around the card; and it is on the screen.
FOCUS_SHOWS = """() => {
  const it = document.activeElement;
  const drawn = [it, it.closest('.choice-card')].some((box) => {
    const style = box && getComputedStyle(box);
    return style && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  });
  const place = it.getBoundingClientRect();
  return drawn && place.bottom > 0 && place.top < innerHeight;
}"""


def _post(portal, path: str, **fields: str) -> dict:
    return requests.post(portal.address + path, data=fields, timeout=10).json()


def _poll(portal, started: dict) -> dict:
    return _post(
        portal,
        "/oauth/token",
        grant_type=DEVICE_GRANT,
        device_code=started["device_code"],
        client_id=samples.LOBBY,
    )
