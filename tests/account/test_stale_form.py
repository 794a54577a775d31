"""A form of another session: what was typed into it is kept, and nobody else can use that."""

import re
from html import unescape

import pytest

from portal.models import Application, User
from tests.factories import PASSWORD, csrf_token, make_application, post

OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
NEW = "/admin/applications/new"
PROFILE = "/account/profile"


def fields(page) -> list[tuple[str, str]]:
    """What the page's form sends."""
    found = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', page.text)
    return [(unescape(name), unescape(value)) for name, value in found]


def data(page) -> dict[str, list[str]]:
    sent: dict[str, list[str]] = {}
    for name, value in fields(page):
        sent.setdefault(name, []).append(value)
    return sent


def application_of(owner: User) -> dict:
    return {
        "name": 'The "long" form & <b>',
        "owner": owner.username,
        "grants": ["authorization_code", "client_credentials"],
        "redirect_uris": "https://one.example/cb\nhttps://two.example/cb",
        "scopes": ["openid", "email"],
        "confidential": "y",
    }


def test_what_was_typed_is_sent_again_after_signing_in_in_another_tab(browser_of, alice):
    browser = browser_of(alice)
    typed = {"csrf_token": csrf_token(browser, NEW), **application_of(alice)}
    post(browser, "/logout", page="/account/sessions")
    post(browser, "/login", {"username": "alice", "password": PASSWORD})
    page = browser.post(NEW, data=typed, headers=OWN_PAGE)
    assert page.status_code == 400
    assert not Application.select().exists()
    assert "signed in as <strong>alice</strong>" in page.text
    assert browser.post(NEW, data=data(page)).status_code == 200
    added = Application.get()
    assert added.name == 'The "long" form & <b>'
    assert added.redirect_uris == ["https://one.example/cb", "https://two.example/cb"]
    assert set(added.scopes) == {"openid", "email"}
    assert set(added.grants) == {"authorization_code", "client_credentials"}


def test_who_is_signed_out_signs_in_in_another_tab_and_loses_nothing(browser_of, alice):
    browser = browser_of(alice)
    typed = {"csrf_token": csrf_token(browser, NEW), **application_of(alice)}
    post(browser, "/logout", page="/account/sessions")
    out = browser.post(NEW, data=typed, headers=OWN_PAGE)
    assert (out.status_code, out.headers["Cache-Control"]) == (400, "no-store")
    assert "You are signed out" in out.text
    assert 'href="/login" target="_blank"' in out.text
    post(browser, "/login", {"username": "alice", "password": PASSWORD})
    again = browser.post(NEW, data=data(out), headers=OWN_PAGE)
    assert again.status_code == 400
    assert browser.post(NEW, data=data(again)).status_code == 200
    assert Application.get().name == 'The "long" form & <b>'


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", None])
def test_what_another_site_sends_is_not_offered(browser_of, alice, site):
    headers = {"Sec-Fetch-Site": site} if site else {}
    page = browser_of(alice).post(NEW, data=application_of(alice), headers=headers)
    assert page.status_code == 400
    assert "The page was open for too long" in page.text
    assert "Send it again" not in page.text
    assert "one.example" not in page.text


def test_passwords_and_secrets_are_not_written_into_the_page(browser_of, bob):
    typed = {"name": "Robert", "email": "b@example.org", "current_password": PASSWORD}
    page = browser_of(bob).post(PROFILE, data={**typed, "secret": "pcs_x"}, headers=OWN_PAGE)
    assert ("name", "Robert") in fields(page)
    assert PASSWORD not in page.text
    assert "pcs_x" not in page.text


def test_a_decision_is_not_sent_again_unseen(browser_of, alice):
    application, _ = make_application(alice)
    browser = browser_of(alice)
    for address in ("/oauth/consent", "/device/decision"):
        page = browser.post(address, data={"decision": "allow"}, headers=OWN_PAGE)
        assert page.status_code == 400
        assert "Send it again" not in page.text
    where = f"/admin/applications/{application.client_id}/disable"
    bare = browser.post(where, headers=OWN_PAGE)
    assert "The page was open for too long" in bare.text


def test_a_part_of_a_page_shows_no_form(browser_of, alice):
    headers = {**OWN_PAGE, "HX-Request": "true", "HX-Request-Type": "partial"}
    page = browser_of(alice).post(f"{NEW[:-3]}preview", data=application_of(alice), headers=headers)
    assert page.status_code == 400
    assert "Send it again" not in page.text
