"""One portal a test, with its own database; people with the parts they always play."""

import os
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal import create_app
from portal.database import database, migrate
from portal.models import Scope, User
from portal.settings import Settings
from tests import factories

ISSUER = "http://localhost:8000"


@pytest.fixture
def database_url(tmp_path) -> str:
    return os.environ.get("PORTAL_TEST_DATABASE_URL") or f"sqlite:///{tmp_path}/portal.db"


@pytest.fixture
def settings(tmp_path, database_url) -> Settings:
    return Settings(
        issuer=ISSUER, database_url=database_url, secret_key="k" * 40, instance=tmp_path
    )


@pytest.fixture
def app(settings) -> Iterator[Flask]:
    made = create_app(settings)
    made.testing = True
    # Errors become pages in tests as they do in production.
    made.config["PROPAGATE_EXCEPTIONS"] = False
    migrate()
    factories.empty_tables()
    Scope.add_built_in()
    yield made
    database.close()


@pytest.fixture
def client(app) -> FlaskClient:
    """A browser in which nobody is signed in."""
    return app.test_client()


@pytest.fixture
def alice(app) -> User:
    """An administrator; owns applications."""
    return factories.make_user("alice", is_admin=True)


@pytest.fixture
def bob(app) -> User:
    """An ordinary person who shares things with applications."""
    return factories.make_user("bob")


@pytest.fixture
def charlie(app) -> User:
    """An ordinary person who may do nothing here."""
    return factories.make_user("charlie")


@pytest.fixture
def browser_of(app):
    """Make a signed-in browser: `browser_of(alice).get(...)`."""

    def make(user: User) -> FlaskClient:
        return factories.sign_in(app.test_client(), user)

    return make
