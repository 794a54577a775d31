"""The first administrator's link: looking is free, the button uses it up, once."""

import pytest
import time_machine

from portal.models import OneTimeLink, Session, User
from tests.factories import PASSWORD, make_user, post

WHO = {"username": "root", "email": "root@example.org", "name": "Ruth Root", "password": PASSWORD}


@pytest.fixture
def link(app) -> str:
    return f"/setup/{OneTimeLink.make()}"


def set_up(client, link, **fields):
    post(client, link)
    return post(client, "/setup", {**WHO, **fields})


def test_looking_does_not_use_it_up(client, link):
    for _ in range(3):
        response = client.get(link)
        assert response.status_code == 200
        assert "<button" in response.text
        assert 'name="password"' not in response.text
    assert client.head(link).status_code == 200
    assert post(client, link).status_code == 303


def test_it_makes_an_administrator_and_signs_them_in(client, link):
    response = set_up(client, link)

    assert (response.status_code, response.location) == (303, "/admin/applications")
    root = User.named("root")
    assert (root.is_admin, root.email, root.name) == (True, "root@example.org", "Ruth Root")
    assert root.password_fits(PASSWORD)
    assert client.get("/admin/users").status_code == 200
    assert OneTimeLink.select().count() == 0


def test_it_works_once(app, client, link):
    post(client, link)
    other = app.test_client()

    for response in (other.get(link), post(other, link, page="/login"), other.get("/setup")):
        assert response.status_code == 410
        assert "flask --app wsgi setup-link" in response.text


def test_the_form_belongs_to_the_browser_that_pressed_the_button(app, client, link):
    post(client, link)

    assert client.get("/setup").status_code == 200
    assert post(app.test_client(), "/setup", WHO, "/login").status_code == 410
    assert not User.select().count()


def test_the_form_makes_one_administrator_only(client, link):
    post(client, link)
    page = client.get("/setup")
    assert page.status_code == 200
    marker = client.get_cookie("portal_session").value
    post(client, "/setup", WHO)

    replay = client.application.test_client()
    replay.set_cookie("portal_session", marker)
    response = post(replay, "/setup", {**WHO, "username": "mallory"}, "/login")
    assert response.status_code == 410
    assert User.select().count() == 1


def test_a_newer_link_replaces_it(client, link):
    OneTimeLink.make()

    assert client.get(link).status_code == 410


def test_it_expires_after_a_quarter_of_an_hour(client, app):
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        link = f"/setup/{OneTimeLink.make()}"
        clock.shift(15 * 60 - 1)
        assert client.get(link).status_code == 200
        clock.shift(1)
        assert client.get(link).status_code == 410
        assert post(client, link, page="/login").status_code == 410


def test_the_form_expires_too(client, app):
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        post(client, f"/setup/{OneTimeLink.make()}")
        clock.shift(15 * 60)
        assert post(client, "/setup", WHO, "/login").status_code == 410


def test_it_is_refused_once_there_is_an_administrator(client, link, alice):
    for response in (client.get(link), post(client, link, page="/login")):
        assert response.status_code == 410
        assert "has an administrator already" in response.text


def test_an_administrator_made_meanwhile_closes_the_form(client, link):
    post(client, link)
    make_user("alice", is_admin=True)

    assert post(client, "/setup", WHO, "/login").status_code == 410
    assert User.named("root") is None


@pytest.mark.parametrize("secret", ["x", "%00", "%ff", "ä", "a" * 3000, "..", "' OR 1=1"])
def test_a_made_up_link_is_dead(client, secret):
    assert client.get(f"/setup/{secret}").status_code in (404, 410)


def test_a_reset_link_makes_no_administrator(client, bob):
    secret = OneTimeLink.make(bob)

    assert client.get(f"/setup/{secret}").status_code == 410
    assert post(client, f"/setup/{secret}", page="/login").status_code == 410
    assert OneTimeLink.find(secret)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"username": ""}, "Enter a username."),
        ({"username": "a b"}, "Use letters a to z"),
        ({"username": "../x"}, "Use letters a to z"),
        ({"username": ".."}, "Use letters a to z"),
        ({"username": "x\0"}, "Use letters a to z"),
        ({"username": "ünal"}, "Use letters a to z"),
        ({"username": "a" * 65}, "Use letters a to z"),
        ({"username": "New"}, "is reserved"),
        ({"username": "BOB"}, "This username is taken."),
        ({"username": "bob@example.org"}, "This username is taken."),
        ({"email": ""}, "Enter an e-mail address."),
        ({"email": "root"}, "such as sam@example.org"),
        ({"email": "a@b@c"}, "such as sam@example.org"),
        ({"email": "a b@c.de"}, "such as sam@example.org"),
        ({"email": "a\0@c.de"}, "such as sam@example.org"),
        ({"email": "BOB@example.org"}, "Somebody has this e-mail address already."),
        ({"name": "x" * 201}, "Shorten the name"),
        ({"name": "a\0b"}, "control characters"),
        ({"password": ""}, "Use at least 12 characters."),
        ({"password": "elevenchars"}, "Use at least 12 characters."),
        ({"password": "x" * 1001}, "Use at most 1,000 characters."),
        ({"password": "ROOT@example.org"}, "than your username or e-mail address"),
    ],
)
def test_bad_input_is_explained_and_kept(client, link, bob, fields, sentence):
    response = set_up(client, link, **fields)

    assert response.status_code == 422
    assert "There is a problem" in response.text
    assert sentence in response.text
    assert "<title>Error: " in response.text
    kept = {**WHO, **fields}
    assert kept["password"] == "" or kept["password"] not in response.text
    if "name" not in fields:
        assert 'value="Ruth Root"' in response.text
    assert User.named("root") is None
    assert post(client, "/setup", WHO).status_code == 303


@pytest.mark.parametrize("password", ["x" * 1000, "a\0b" * 5, "пароль из слов", "spaces  stay  "])
def test_long_and_odd_passwords_work_exactly_as_typed(client, link, password):
    assert set_up(client, link, password=password).status_code == 303

    fresh = client.application.test_client()
    shortened = {"username": "root", "password": password[:-1]}
    assert post(fresh, "/login", shortened).status_code == 422
    assert post(fresh, "/login", {**shortened, "password": password}).status_code == 303


def test_without_a_csrf_token_it_is_not_used_up(client, link):
    assert client.post(link).status_code == 400
    assert client.get(link).status_code == 200


def test_fields_that_the_form_does_not_show_are_ignored(client, link):
    set_up(client, link, sub="mine", id="1", disabled_at="1")

    root = User.named("root")
    assert root.sub != "mine"
    assert root.id != 1
    assert root.is_active
    assert len(Session.of(root.id)) == 1
