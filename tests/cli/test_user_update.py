"""`user update`, and the last administrator, who stays."""

import pytest

from portal.models import User
from tests.factories import make_user


def fresh(user: User) -> User:
    return User.get_by_id(user.id)


def test_an_address_and_a_name_change(flask, bob):
    User.update(email_verified_at=7).where(User.id == bob.id).execute()
    told = flask("user", "update", "bob", "--email", "New@example.org", "--name", "Bob B", "--json")

    assert told.json["email"] == "New@example.org"
    assert told.json["name"] == "Bob B"
    assert told.json["email_verified"] is False
    after = fresh(bob)
    assert (after.username, after.email_key, after.name) == ("bob", "new@example.org", "Bob B")
    assert after.email_verified_at is None


def test_only_what_is_given_changes(flask, bob):
    answer = flask("user", "update", "BOB@example.org", "--name", "")
    assert (answer.code, answer.out) == (0, "bob is changed.\n")
    assert (fresh(bob).name, fresh(bob).email) == ("", "bob@example.org")


def test_an_address_that_is_known_to_be_theirs(flask, bob):
    assert flask("user", "show", "bob", "--json").json["email_verified"] is False
    assert flask("user", "update", "bob", "--email-verified").code == 0
    assert flask("user", "show", "bob", "--json").json["email_verified"] is True

    new = ("--email", "new@example.org", "--email-verified")
    assert flask("user", "update", "bob", *new, "--json").json["email_verified"] is True


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bob",), "Say what to change: --email, --name or --email-verified."),
        (("nobody", "--name", "N"), "There is nobody called 'nobody'"),
        (("bob", "--email", ""), "Enter an e-mail address."),
        (("bob", "--email", "bob"), "Enter an e-mail address such as"),
        (("bob", "--email", "Charlie@example.org"), "Somebody else has this e-mail address"),
        (("bob", "--email", "pat@work"), "Somebody else has this e-mail address"),
        (("bob", "--name", "a\nb"), "control characters"),
        (("bob", "--name", "a\udcffb"), "This is not UTF-8: bob --name a�b"),
        (("bob", "--email", "a\udcff@example.org"), "This is not UTF-8"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(flask, bob, charlie, arguments, says):
    make_user("pat@work", email="pat@example.org")
    assert says in flask("user", "update", *arguments).complaint
    assert (fresh(bob).name, fresh(bob).email) == ("Bob", "bob@example.org")


@pytest.mark.parametrize("action", ["disable", "delete"])
class TestTheLastAdministrator:
    def test_stays(self, flask, alice, bob, action):
        complaint = flask("user", action, "alice").complaint
        assert complaint.startswith("alice is the last administrator: make another one first")
        assert fresh(alice).is_active

    def test_may_go_when_there_is_another_one(self, flask, alice, action):
        make_user("anna", is_admin=True)
        assert flask("user", action, "alice").code == 0
        assert "anna is the last administrator" in flask("user", action, "anna").complaint

    def test_is_the_one_who_can_sign_in(self, flask, alice, action):
        anna = make_user("anna", is_admin=True)
        anna.disable()
        assert "alice is the last" in flask("user", action, "alice").complaint
        assert flask("user", action, "anna").code == 0
