"""Admin > Scopes: the catalogue, built-in scopes locked, a used one not lost by accident."""

import pytest

from portal.models import Application, Consent, Scope
from tests.factories import csrf_token, make_application, make_scope, post

LIST = "/admin/scopes"
NEW = f"{LIST}/new"
HOSTILE = "<script>alert(1)</script>"
GOOD = {
    "name": "reports:read",
    "title": "Read your reports",
    "description": "View every report you can view.",
}
ROUTES = [
    ("GET", LIST),
    ("GET", NEW),
    ("POST", NEW),
    ("GET", f"{LIST}/reports:read/edit"),
    ("POST", f"{LIST}/reports:read/edit"),
    ("GET", f"{LIST}/reports:read/delete"),
    ("POST", f"{LIST}/reports:read/delete"),
]


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


def find(name: str = "reports:read") -> Scope | None:
    return Scope.get_or_none(Scope.name == name)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_stranger_is_sent_to_sign_in(app, client, method, path):
    app.config["WTF_CSRF_ENABLED"] = False
    make_scope()
    response = client.open(path, method=method)
    assert response.status_code == 303
    assert response.location.startswith("/login")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_charlie_may_not_enter(app, browser_of, charlie, method, path):
    app.config["WTF_CSRF_ENABLED"] = False
    make_scope()
    response = browser_of(charlie).open(path, method=method)
    assert response.status_code == 403
    assert find()


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "POST"])
def test_a_post_without_the_token_changes_nothing(browser, path):
    make_scope()
    fields = {"name": "stolen", "title": "x", "description": "x", "confirm_name": "reports:read"}
    assert browser.post(path, data=fields).status_code == 400
    assert find().title == "Read your reports"
    assert find("stolen") is None


def test_the_catalogue_shows_words_and_locks(browser):
    make_scope("reports:read", sensitive=True)
    text = browser.get(LIST).text
    assert "Sign you in" in text
    assert "Built in" in text
    assert "Read your reports" in text
    assert "Sensitive" in text
    assert f"{LIST}/reports%3Aread/edit" in text
    assert f"{LIST}/openid/edit" not in text


def test_the_catalogue_says_how_many_applications_use_a_scope(browser, alice):
    make_scope("read")
    make_scope("read:all")
    make_application(alice, scopes=["openid", "read:all"])
    text = browser.get(LIST).text
    assert text.count("1 application<") == 2


@pytest.mark.parametrize("name", ["reports:read", "https://api.example.org/a//b", "x", "a_b-c.d"])
def test_a_scope_is_added_edited_and_deleted(browser, name):
    from urllib.parse import quote

    response = post(browser, NEW, {**GOOD, "name": f" {name} ", "sensitive": "y"})
    assert response.status_code == 303
    assert find(name).sensitive
    page = f"{LIST}/{quote(name, safe='')}"
    assert GOOD["title"] in browser.get(f"{page}/edit").text
    change = {"title": "Look at reports", "description": "Only look."}
    assert post(browser, f"{page}/edit", change).status_code == 303
    changed = find(name)
    assert (changed.title, changed.description, changed.sensitive) == (*change.values(), False)
    assert post(browser, f"{page}/delete", {"confirm_name": name}).status_code == 303
    assert find(name) is None


REFUSED = [
    ({"name": ""}, "Enter a name"),
    ({"name": "two words"}, "Use letters, digits"),
    ({"name": 'quo"te'}, "Use letters, digits"),
    ({"name": "lös"}, "Use letters, digits"),
    ({"name": "a\0"}, "Use letters, digits"),
    ({"name": ":first"}, "Use letters, digits"),
    ({"name": "x" * 65}, "Use letters, digits"),
    ({"name": "openid"}, "There is a scope openid already"),
    ({"title": ""}, "Enter a title"),
    ({"title": "x" * 101}, "Shorten the title"),
    ({"title": "a\0b"}, "Remove the invisible characters"),
    ({"title": "a\u202eb"}, "Remove the invisible characters"),
    ({"description": " "}, "Enter a description"),
    ({"description": "x" * 301}, "Shorten the description"),
    ({"description": "two\nlines"}, "Remove the invisible characters"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_a_bad_form_says_what_to_change_and_keeps_what_was_typed(browser, changes, words):
    before = Scope.select().count()
    response = post(browser, NEW, {**GOOD, **changes})
    assert response.status_code == 422
    assert words in response.text
    assert "<title>Error:" in response.text
    assert Scope.select().count() == before
    for name, value in GOOD.items():
        if name not in changes:
            assert value in response.text


@pytest.mark.parametrize("changes", [c for c, _ in REFUSED if "name" not in c])
def test_a_bad_change_changes_nothing(browser, changes):
    make_scope()
    response = post(browser, f"{LIST}/reports:read/edit", {**GOOD, **changes})
    assert response.status_code == 422
    assert find().title == "Read your reports"


def test_fields_that_are_no_fields_are_ignored(browser):
    post(browser, NEW, {**GOOD, "builtin": "y", "created_at": "1"})
    assert not find().builtin
    assert find().created_at != 1
    post(browser, f"{LIST}/reports:read/edit", {**GOOD, "name": "other", "builtin": "y"})
    assert find()
    assert not find().builtin


@pytest.mark.parametrize("action", ["edit", "delete"])
@pytest.mark.parametrize("name", ["openid", "public", "nothing", "%00", "a%20b", "x" * 999])
def test_built_in_and_unknown_scopes_have_no_such_page(browser, name, action):
    path = f"{LIST}/{name}/{action}"
    assert browser.get(path).status_code == 404
    token = csrf_token(browser, NEW)
    fields = {"csrf_token": token, "title": "x", "description": "x", "confirm_name": name}
    assert browser.post(path, data=fields).status_code == 404
    assert find("openid").title == "Sign you in"


def test_a_scope_in_use_names_its_applications_and_needs_its_name(browser, alice, bob):
    make_scope()
    wiki, _ = make_application(alice, name=f"Wiki {HOSTILE}", scopes=["openid", "reports:read"])
    Consent.give(bob.id, wiki.id, ["openid", "reports:read"], ["openid", "reports:read"])
    path = f"{LIST}/reports:read/delete"
    text = browser.get(path).text
    assert "1 application may ask" in text
    assert "Wiki" in text
    assert HOSTILE not in text
    refused = post(browser, path, {"confirm_name": "reports"})
    assert refused.status_code == 422
    assert "Type the name, reports:read, to confirm." in refused.text
    assert find()
    post(browser, path, {"confirm_name": "reports:read"})
    assert find() is None
    assert Application.get_by_id(wiki.id).scopes == ["openid"]
    assert Application.get_by_id(wiki.id).version > wiki.version
    assert Consent.of(bob.id, wiki.id).scopes == ["openid"]


def test_hostile_words_are_shown_as_text(browser):
    post(browser, NEW, {**GOOD, "title": HOSTILE, "description": HOSTILE})
    for path in (LIST, f"{LIST}/reports:read/edit", f"{LIST}/reports:read/delete"):
        assert HOSTILE not in browser.get(path).text
