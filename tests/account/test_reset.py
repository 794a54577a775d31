"""The one-time link that sets a password."""

import pytest
import time_machine

from portal.models import OneTimeLink, Session, User
from tests.factories import PASSWORD, post

FRESH = "another long passphrase"


@pytest.fixture
def link(bob) -> str:
    return f"/reset/{OneTimeLink.make(bob)}"


def test_looking_does_not_use_it_up(client, link):
    for _ in range(3):
        assert "Bob" in client.get(link).text
    assert post(client, link).location == "/reset"


def test_it_sets_the_password_and_signs_in(client, link, bob):
    post(client, link)
    response = post(client, "/reset", {"password": FRESH})

    assert (response.status_code, response.location) == (303, "/account/connections")
    assert client.get("/account/sessions").status_code == 200
    assert User.get_by_id(bob.id).password_fits(FRESH)
    assert not User.get_by_id(bob.id).password_fits(PASSWORD)


def test_the_persons_other_browsers_are_signed_out(client, browser_of, link, bob):
    other = browser_of(bob)
    post(client, link)
    assert other.get("/account/sessions").status_code == 200
    post(client, "/reset", {"password": FRESH})

    assert other.get("/account/sessions").status_code == 303
    assert len(Session.of(bob.id)) == 1


def test_it_works_once(app, client, link):
    post(client, link)
    other = app.test_client()
    assert other.get(link).status_code == 410
    assert post(other, link, page="/login").status_code == 410
    assert "Ask an administrator" in other.get(link).text

    marker = client.get_cookie("portal_session").value
    post(client, "/reset", {"password": FRESH})
    other.set_cookie("portal_session", marker)
    assert post(other, "/reset", {"password": "mallory knows this"}, "/login").status_code == 410


def test_it_lasts_a_day_and_then_a_quarter_of_an_hour(client, app, bob):
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        link = f"/reset/{OneTimeLink.make(bob)}"
        clock.shift(24 * 3600 - 1)
        post(client, link)
        clock.shift(15 * 60 - 1)
        assert client.get("/reset").status_code == 200
        clock.shift(1)
        assert client.get("/reset").status_code == 410


def test_a_throttled_person_gets_in_with_it(client, link, bob):
    for _ in range(11):
        post(client, "/login", {"username": "bob", "password": "wrong"})
    post(client, link)
    post(client, "/reset", {"password": FRESH})
    fresh = client.application.test_client()

    assert post(fresh, "/login", {"username": "bob", "password": FRESH}).status_code == 303


def test_disabling_kills_the_link(client, link, bob):
    bob.disable()
    assert client.get(link).status_code == 410
    bob.enable()
    assert client.get(link).status_code == 410


def test_disabling_closes_the_form(client, link, bob):
    post(client, link)
    bob.disable()

    assert post(client, "/reset", {"password": FRESH}, "/login").status_code == 410


def test_changing_the_password_kills_the_link(client, link, bob):
    bob.set_password(FRESH)

    assert client.get(link).status_code == 410


def test_a_setup_link_sets_no_password(client, bob):
    secret = OneTimeLink.make()

    assert client.get(f"/reset/{secret}").status_code == 410
    assert OneTimeLink.find(secret)


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("short", "Use at least 12 characters."),
        ("x" * 1001, "Use at most 1,000 characters."),
        ("Bob@Example.org", "than your username or e-mail address"),
    ],
)
def test_a_bad_password_is_explained_and_not_repeated(client, link, bob, password, sentence):
    post(client, link)
    response = post(client, "/reset", {"password": password})

    assert response.status_code == 422
    assert sentence in response.text
    assert password not in response.text
    assert User.get_by_id(bob.id).password_fits(PASSWORD)


def test_without_a_csrf_token_it_is_not_used_up(client, link):
    assert client.post(link).status_code == 400
    assert client.get(link).status_code == 200
