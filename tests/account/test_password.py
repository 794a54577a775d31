"""Changing one's own password."""

import pytest
import time_machine

from portal.models import OneTimeLink, Session, User
from portal.models.throttle import TRIES
from tests.factories import PASSWORD, post

PAGE = "/account/password"
FRESH = "another long passphrase"


def change(browser, current=PASSWORD, new=FRESH, **more):
    return post(browser, PAGE, {"current_password": current, "new_password": new, **more})


def test_it_changes_and_the_other_browsers_are_signed_out(browser_of, bob):
    here, there = browser_of(bob), browser_of(bob)
    OneTimeLink.make(bob)

    assert change(here).location == PAGE

    assert "Your password is changed" in here.get(PAGE).text
    assert there.get(PAGE).status_code == 303
    assert User.get_by_id(bob.id).password_fits(FRESH)
    assert not OneTimeLink.select().count()


def test_the_current_password_must_be_right(browser_of, bob):
    other = browser_of(bob)
    response = change(browser_of(bob), current="wrong")

    assert response.status_code == 422
    assert "The current password is wrong." in response.text
    assert 'href="#current_password"' in response.text
    assert User.get_by_id(bob.id).password_fits(PASSWORD)
    assert len(Session.of(bob.id)) == 2
    assert other.get(PAGE).status_code == 200


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"current": ""}, "Enter your current password."),
        ({"new": ""}, "Use at least 12 characters."),
        ({"new": "elevenchars"}, "Use at least 12 characters."),
        ({"new": "x" * 1001}, "Use at most 1,000 characters."),
        ({"new": "BOB@example.org"}, "than your username or e-mail address"),
        ({"new": PASSWORD}, "Choose another password than your current one."),
    ],
)
def test_bad_input_is_explained(browser_of, bob, fields, sentence):
    response = change(browser_of(bob), **fields)

    assert response.status_code == 422
    assert sentence in response.text
    assert "<title>Error: " in response.text
    assert User.get_by_id(bob.id).password_fits(PASSWORD)


def test_the_old_password_is_refused_at_its_field(browser_of, bob):
    here, there = browser_of(bob), browser_of(bob)
    response = change(here, new=PASSWORD)

    assert 'href="#new_password"' in response.text
    assert "Your password is changed" not in response.text
    assert there.get(PAGE).status_code == 200


@pytest.mark.parametrize("password", ["a\0b" * 5, "x" * 1000, "пароль из слов"])
def test_odd_passwords_work(browser_of, bob, password):
    assert change(browser_of(bob), new=password).status_code == 303
    assert User.get_by_id(bob.id).password_fits(password)


def test_guessing_is_throttled_together_with_the_sign_in_page(browser_of, client, bob):
    browser = browser_of(bob)
    with time_machine.travel(bob.session.created_at + 1, tick=False) as clock:
        for _ in range(TRIES):
            assert change(browser, current="wrong").status_code == 422

        refused = change(browser)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert "Too many wrong passwords" in refused.text
        data = {"username": "bob", "password": PASSWORD}
        assert post(client, "/login", data).status_code == 429

        clock.shift(61)
        assert change(browser).status_code == 303


def test_both_mistakes_are_named_at_once(browser_of, bob):
    response = change(browser_of(bob), current="wrong", new="short")
    assert response.status_code == 422
    assert "The current password is wrong." in response.text
    assert 'href="#new_password"' in response.text
    assert User.get_by_id(bob.id).password_fits(PASSWORD)
