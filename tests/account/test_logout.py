"""Signing out ends the session on the server, not only in the browser."""

import pytest

from portal.models import Session
from tests.factories import post


def test_the_old_cookie_is_dead_after_signing_out(app, browser_of, bob):
    browser = browser_of(bob)
    browser.get("/account/sessions")
    old = browser.get_cookie("portal_session").value

    response = post(browser, "/logout", {"decision": "allow"})

    assert (response.status_code, response.location) == (303, "/login")
    thief = app.test_client()
    thief.set_cookie("portal_session", old)
    assert thief.get("/account/sessions").status_code == 303
    assert not Session.of(bob.id)


def test_only_this_browser_is_signed_out(browser_of, bob):
    here, there = browser_of(bob), browser_of(bob)
    post(here, "/logout", {"decision": "allow"})

    assert here.get("/account/sessions").status_code == 303
    assert there.get("/account/sessions").status_code == 200


def test_looking_at_the_page_changes_nothing(browser_of, bob):
    browser = browser_of(bob)
    response = browser.get("/logout?next=/device")

    assert 'name="decision" value="allow"' in response.text
    assert 'name="next" value="/device"' in response.text
    assert "form-action" not in response.headers["Content-Security-Policy"]
    assert browser.get("/account/sessions").status_code == 200


def test_a_stranger_is_sent_to_sign_in(client):
    assert client.get("/logout").location == "/login"


def test_without_a_csrf_token_one_stays_signed_in(browser_of, bob):
    browser = browser_of(bob)

    assert browser.post("/logout", data={"decision": "allow"}).status_code == 400
    assert browser.get("/account/sessions").status_code == 200


def test_it_comes_back_to_next(browser_of, bob):
    data = {"decision": "allow", "next": "/oauth/authorize?client_id=x"}

    assert post(browser_of(bob), "/logout", data).location == "/oauth/authorize?client_id=x"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_next_never_leads_to_another_site(browser_of, bob, target):
    assert post(browser_of(bob), "/logout", {"next": target}).location == "/login"


def test_signing_out_twice_is_harmless(client):
    assert post(client, "/logout", page="/login").location == "/login"


def test_the_sign_in_page_says_so_once(browser_of, bob):
    browser = browser_of(bob)
    done = post(browser, "/logout", page="/account/sessions")
    assert "You are signed out." in browser.get(done.location).text
    assert "You are signed out." not in browser.get("/login").text


def test_a_form_of_before_leads_to_the_sign_in_page(browser_of, bob):
    browser = browser_of(bob)
    post(browser, "/logout", page="/account/sessions")
    late = browser.post("/account/profile", data={"name": "Late"})
    assert late.status_code == 400
    assert "You are signed out" in late.text
    assert 'href="/login?next=%2Faccount%2Fprofile"' in late.text
    late = browser.post("/account/sessions/end-others")
    assert 'href="/login"' in late.text, "there is no such page to come back to"
