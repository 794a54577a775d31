"""`user …` and `setup-link`."""

import pytest

from portal.models import OneTimeLink, Session, User
from tests import factories

PASSWORD = "a few words in a row"


def create(flask, *more, name="dana", email="dana@example.org", password=PASSWORD):
    return flask(
        "user", "create", name, "--email", email, "--password-stdin", *more, stdin=password
    )


def test_a_new_person_can_sign_in_with_the_password_from_standard_input(flask):
    answer = create(flask, "--name", "Dana Scully", "--json", password=f"{PASSWORD}\n").json
    assert answer["username"] == "dana"
    assert answer["email"] == "dana@example.org"
    assert (answer["name"], answer["is_admin"], answer["disabled"]) == ("Dana Scully", False, False)
    dana = User.named("dana")
    assert dana.password_fits(PASSWORD)
    assert not dana.password_fits(f"{PASSWORD}\n")


def test_the_password_appears_nowhere(flask):
    for answer in (create(flask, "--json"), flask("user", "show", "dana", "--json")):
        assert PASSWORD not in answer.out + answer.err


def test_admin_makes_an_administrator(flask):
    assert create(flask, "--admin", "--json").json["is_admin"] is True


def test_without_a_password_a_link_lets_the_person_choose_one(flask):
    answer = flask("user", "create", "dana", "--email", "dana@example.org", "--json").json
    secret = answer["password_link"].removeprefix("http://localhost:8000/reset/")
    assert OneTimeLink.find(secret).user_id == User.named("dana").id


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "da na"}, "username"),
        ({"name": ""}, "username"),
        ({"name": "new"}, "reserved"),
        ({"email": "nowhere"}, "e-mail"),
        ({"password": ""}, "too short"),
        ({"password": "short"}, "too short"),
        ({"password": "x" * 1001}, "at most"),
        ({"password": f"{PASSWORD}\nand another line"}, "one line"),
        ({"password": b"\xff\xfe-not-text-at-all"}, "UTF-8"),
    ],
)
def test_a_person_who_cannot_be_added(flask, change, says):
    assert says in create(flask, **change).complaint
    assert User.select().count() == 0


def test_a_weak_password_is_the_administrators_choice(flask):
    answer = create(flask, password="short one")
    assert answer.code == 0
    assert answer.err.startswith("Warning: the password is weak.")


def test_a_taken_name_or_address_says_which(flask):
    create(flask)
    assert "username DANA is taken" in create(flask, name="DANA", email="d@x.org").complaint
    assert "e-mail address" in create(flask, name="other", email="Dana@Example.org").complaint


def test_the_list_shows_everybody(flask, alice, bob):
    assert [row["username"] for row in flask("user", "list", "--json").json] == ["alice", "bob"]
    table = flask("user", "list").out
    assert "alice@example.org" in table
    assert "Administrator" in table


def test_a_disabled_person_is_signed_out_until_enabled(flask, bob):
    bob.start_session("127.0.0.1", "test")
    assert flask("user", "disable", "bob", "--json").json["disabled"] is True
    assert Session.of(bob.id) == []
    assert flask("user", "enable", "BOB@example.org", "--json").json["disabled"] is False


def test_deleting_an_owner_needs_an_heir(flask, alice, bob):
    application, _ = factories.make_application(owner=bob)
    assert "--heir" in flask("user", "delete", "bob").complaint
    assert User.named("bob")
    assert flask("user", "delete", "bob", "--heir", "alice", "--json").json["deleted"] is True
    assert User.named("bob") is None
    assert type(application).get_by_id(application.id).owner.id == alice.id


@pytest.mark.parametrize(
    ("heir", "says"), [("bob", "own heir"), ("nobody", "nobody called"), ("charlie", "disabled")]
)
def test_an_heir_who_cannot_inherit(flask, bob, charlie, heir, says):
    charlie.disable()
    factories.make_application(owner=bob)
    assert says in flask("user", "delete", "bob", "--heir", heir).complaint
    assert User.named("bob")


def test_the_last_administrator_cannot_go(flask, alice):
    for action in ("disable", "delete"):
        answer = flask("user", action, "alice")
        assert answer.code == 2
        assert "last administrator" in answer.complaint
    assert User.named("alice").is_active


def test_set_password_ends_the_links(flask, bob):
    OneTimeLink.make(bob)
    flask("user", "set-password", "bob", "--password-stdin", stdin=f"{PASSWORD}\r\n")
    assert User.named("bob").password_fits(PASSWORD)
    assert OneTimeLink.select().count() == 0


def test_set_password_does_not_ask(flask, bob):
    assert "--password-stdin" in flask("user", "set-password", "bob").complaint


def test_a_reset_link_is_for_one_person(flask, bob):
    url = flask("user", "reset-link", "bob", "--json").json["url"]
    assert OneTimeLink.find(url.rpartition("/")[2]).user_id == bob.id


def test_nobody_disabled_gets_a_reset_link(flask, bob):
    bob.disable()
    assert "user enable bob" in flask("user", "reset-link", "bob").complaint


def test_a_setup_link_replaces_the_former_one(flask):
    first = flask("setup-link", "--json").json
    second = flask("setup-link", "--json").json
    assert first["url"].startswith("http://localhost:8000/setup/")
    assert first["expires_in"] == 900
    assert OneTimeLink.find(first["url"].rpartition("/")[2]) is None
    assert OneTimeLink.find(second["url"].rpartition("/")[2]).user_id is None


def test_no_setup_link_once_there_is_an_administrator(flask, alice):
    assert "reset-link" in flask("setup-link").complaint


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "show"),
        ("user", "show", "nobody"),
        ("user", "show", "no\0body"),
        ("user", "disable", "nobody"),
        ("user", "enable", "nobody"),
        ("user", "delete", "nobody"),
        ("user", "set-password", "nobody", "--password-stdin"),
        ("user", "reset-link", "nobody"),
        ("user", "create", "dana"),
        ("user", "creat"),
        ("user", "list", "--jsn"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(flask, arguments):
    assert flask(*arguments, stdin=PASSWORD).complaint
