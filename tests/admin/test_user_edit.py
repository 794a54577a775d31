"""Admin > People: change a name or an e-mail address, and say that an address is known."""

import re

import pytest

from portal.models import OneTimeLink, User
from tests.factories import csrf_token, make_user, post

EDIT = "/admin/users/bob/edit"
SHOW = "/admin/users/bob"


@pytest.fixture
def admin(browser_of, alice):
    return browser_of(alice)


def edit(browser, **changes):
    return post(browser, EDIT, {"name": "Bob", "email": "bob@example.org", **changes})


def fresh(user: User) -> User:
    return User.get_by_id(user.id)


def box(page: str) -> str:
    return re.search(r'<input type="checkbox" name="email_verified"[^>]*>', page)[0]


def test_a_name_and_an_address_change_and_the_username_stays(admin, bob):
    page = admin.get(SHOW)
    assert f'href="{EDIT}"' in page.text
    form = admin.get(EDIT).text
    assert 'value="bob@example.org"' in form
    assert 'value="Bob"' in form
    OneTimeLink.make(bob)

    answer = edit(admin, name="Robert", email="robert@example.org", username="robert", is_admin="y")

    assert answer.location == SHOW
    after = fresh(bob)
    assert (after.username, after.name, after.email) == ("bob", "Robert", "robert@example.org")
    assert (after.email_key, after.is_admin) == ("robert@example.org", False)
    assert after.profile_updated_at
    assert not OneTimeLink.select().count()
    assert "What you changed about bob is saved." in admin.get(SHOW).text


def test_an_address_that_is_known_to_be_theirs(admin, bob):
    assert "Not confirmed" in admin.get(SHOW).text
    assert " checked" not in box(admin.get(EDIT).text)
    edit(admin, email_verified="y")

    assert fresh(bob).email_verified_at
    page = admin.get(SHOW).text
    assert "Confirmed" in page
    assert "Not confirmed" not in page
    assert "bob@example.org is confirmed." in admin.get(EDIT).text


def test_a_new_address_is_not_confirmed_unless_the_box_is_ticked(admin, bob):
    edit(admin, email_verified="y")
    assert " checked" not in box(admin.get(EDIT).text)
    edit(admin, name="Robert")
    assert fresh(bob).email_verified_at

    edit(admin, email="new@example.org")
    assert fresh(bob).email_verified_at is None
    edit(admin, email="newer@example.org", email_verified="y")
    assert fresh(bob).email_verified_at


def test_adding_somebody_whose_address_is_known(admin):
    new = {"username": "dora", "email": "dora@example.org", "name": "Dora"}
    assert post(admin, "/admin/users/new", {**new, "email_verified": "y"}).status_code == 201
    assert User.named("dora").email_verified_at

    new = {"username": "dan", "email": "dan@example.org", "name": "Dan"}
    assert post(admin, "/admin/users/new", new).status_code == 201
    assert User.named("dan").email_verified_at is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"email": ""}, "Enter an e-mail address."),
        ({"email": "bob"}, "Enter an e-mail address such as"),
        ({"email": "CHARLIE@example.org"}, "Somebody has this e-mail address already."),
        ({"email": "pat@work"}, "Somebody has this e-mail address already."),
        ({"name": "x" * 201}, "Shorten the name to at most 200 characters."),
        ({"name": "a\0b"}, "control characters out of the name."),
    ],
)
def test_bad_input_is_explained_and_kept(admin, bob, charlie, changes, sentence):
    make_user("pat@work", email="pat@example.org")
    typed = {"name": "Typed", "email": "typed@example.org", "email_verified": "y", **changes}
    response = edit(admin, **typed)

    assert response.status_code == 422
    assert sentence in response.text
    assert "<title>Error: " in response.text
    assert ('value="Typed"' in response.text) or ('value="typed@example.org"' in response.text)
    assert " checked" in box(response.text)
    assert (fresh(bob).name, fresh(bob).email) == ("Bob", "bob@example.org")


def test_an_address_that_is_taken_at_the_same_moment(admin, bob, charlie, monkeypatch):
    monkeypatch.setattr(User, "named", classmethod(lambda cls, text: None))
    response = edit(admin, email=charlie.email, name="Typed")

    assert response.status_code == 422
    assert "was taken just now" in response.text
    assert fresh(bob).name == "Bob"


def test_hostile_text_is_escaped(admin, bob):
    bad = "<script>alert(1)</script>\"'"
    edit(admin, name=bad, email="<b>@example.org")
    for page in (EDIT, SHOW, "/admin/users"):
        assert "<script>alert" not in admin.get(page).text
        assert "<b>@" not in admin.get(page).text


class TestWhoMay:
    def test_a_stranger_is_sent_to_sign_in(self, client, bob):
        assert client.get(EDIT).location.startswith("/login?next=")
        assert post(client, EDIT, {"name": "Eve"}, page="/login").status_code == 303
        assert fresh(bob).name == "Bob"

    def test_nobody_but_an_administrator(self, browser_of, bob):
        browser = browser_of(bob)
        assert browser.get(EDIT).status_code == 403
        token = csrf_token(browser, "/account/profile")
        data = {"csrf_token": token, "name": "Eve", "email": bob.email, "email_verified": "y"}
        assert browser.post(EDIT, data=data).status_code == 403
        assert fresh(bob).email_verified_at is None

    def test_even_an_administrator_needs_the_forms_token(self, admin, bob):
        assert admin.post(EDIT, data={"name": "Eve", "email": bob.email}).status_code == 400
        assert fresh(bob).name == "Bob"

    def test_somebody_who_is_not_there(self, admin):
        assert admin.get("/admin/users/nobody/edit").status_code == 404
