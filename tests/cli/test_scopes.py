"""`scope …`."""

import pytest

from portal.models import Application, Scope
from portal.models.scope import BUILT_IN
from tests import factories


def create(flask, name="files:read", title="Read your files", description="All of them.", *more):
    return flask("scope", "create", name, "--title", title, "--description", description, *more)


def test_a_new_scope_joins_the_catalogue(flask):
    assert create(flask, "files:read", "Read your files", "All.", "--sensitive", "--json").json == {
        "name": "files:read",
        "title": "Read your files",
        "description": "All.",
        "sensitive": True,
        "builtin": False,
    }
    names = [row["name"] for row in flask("scope", "list", "--json").json]
    assert names == [*(name for name, *_ in BUILT_IN), "files:read"]
    assert "Read your files" in flask("scope", "list").out


@pytest.mark.parametrize(
    ("name", "title", "description", "says"),
    [
        ("two words", "T", "D", "letters"),
        ("", "T", "D", "letters"),
        ("ünder", "T", "D", "letters"),
        ("x" * 65, "T", "D", "64"),
        ("openid", "T", "D", "already"),
        ("files", " ", "D", "--title"),
        ("files", "T", "two\nlines", "--description"),
        ("files", "T" * 101, "D", "--title"),
    ],
)
def test_a_scope_that_cannot_be_added(flask, name, title, description, says):
    assert says in create(flask, name, title, description).complaint
    assert Scope.select().count() == len(BUILT_IN)


def test_a_scope_in_use_does_not_vanish_silently(flask):
    factories.make_scope("files:read")
    application, _ = factories.make_application(scopes=["openid", "files:read"])
    assert "Acme Reports" in flask("scope", "delete", "files:read").complaint
    assert flask("scope", "delete", "files:read", "--force", "--json").json["applications"] == 1
    assert Application.get_by_id(application.id).scopes == ["openid"]


def test_an_unused_scope_is_deleted(flask):
    factories.make_scope("files:read")
    assert flask("scope", "delete", "files:read").code == 0
    assert not Scope.get_or_none(Scope.name == "files:read")


@pytest.mark.parametrize(("name", "says"), [("openid", "built in"), ("nope", "scope list")])
def test_a_scope_that_cannot_be_deleted(flask, name, says):
    assert says in flask("scope", "delete", name).complaint
