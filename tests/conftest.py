"""One portal a test, with its own database; people with the parts they always play."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache

from portal import create_app, logs
from portal.credentials import derive_key
from portal.database import database, migrate, open_database
from portal.health import Readiness
from portal.models import Scope, SigningKey, User
from portal.oauth.server import make_server
from portal.settings import Settings
from tests import doors, engines, factories
from tests.postgres.cluster import Cluster, find_programs, running_cluster, what_is_missing
from tests.requirements import require

SECRET_KEY = "k" * 40
ISSUER = "http://localhost:8000"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that no worker is left with them alone at the end."""
    items.sort(key=lambda item: "test_the_suite_passes_on_postgresql" not in item.name)


class Prepared(NamedTuple):
    """A migrated SQLite file to copy, and its signing keys: made once, since both take long."""

    path: Path
    keys: list[dict]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Prepared:
    path = tmp_path_factory.mktemp("database") / "portal.db"
    open_database(f"sqlite:///{path}")
    migrate()
    Scope.add_built_in()
    SigningKey.ensure(derive_key(SECRET_KEY, "signing keys"))
    keys = list(SigningKey.select().dicts())
    database.close()
    return Prepared(path, keys)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A throw-away PostgreSQL cluster."""
    require("postgres", what_is_missing())
    programs = find_programs()
    assert programs
    with running_cluster(programs) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_url(postgres) -> str:
    """A migrated database of that cluster; `app` empties its tables."""
    # Races hold many connections at once, a thread each.
    return postgres.create("portal") + "?pool=100"


@pytest.fixture
def database_url(request, tmp_path, prepared) -> str:
    """SQLite, unless the test says `on_both_engines` or the run names another database."""
    if getattr(request, "param", engines.SQLITE) == engines.POSTGRES:
        return request.getfixturevalue("postgres_url")
    if url := os.environ.get("PORTAL_TEST_DATABASE_URL"):
        # Each worker of a parallel run has a database of its own.
        return url + os.environ.get("PYTEST_XDIST_WORKER", "")
    shutil.copy(prepared.path, tmp_path / "portal.db")
    return f"sqlite:///{tmp_path}/portal.db"


def usual_settings(database_url: str, instance: Path) -> Settings:
    return Settings(
        issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY, instance=instance
    )


@pytest.fixture
def settings(tmp_path, database_url) -> Settings:
    return usual_settings(database_url, tmp_path)


@cache
def migrate_once(database_url: str) -> None:
    """Migrate the open database, the first time that this run meets it."""
    migrate()


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory) -> FileSystemBytecodeCache:
    """Compiling the templates anew for each test would take longer than the tests."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


def built(settings: Settings, templates: FileSystemBytecodeCache) -> Flask:
    made = create_app(settings)
    made.testing = True
    made.jinja_env.bytecode_cache = templates
    # Errors become pages in tests as they do in production.
    made.config["PROPAGATE_EXCEPTIONS"] = False
    return made


@pytest.fixture(scope="session")
def ordinary_app(tmp_path_factory, compiled_templates) -> Flask:
    """A portal with the usual settings: building one takes longer than many a test."""
    folder = tmp_path_factory.mktemp("ordinary")
    return built(usual_settings(f"sqlite:///{folder}/portal.db", folder), compiled_templates)


@pytest.fixture
def app(settings, prepared, compiled_templates, ordinary_app) -> Iterator[Flask]:
    """The portal of this test, as fresh as its database."""
    usual = settings == usual_settings(settings.database_url, settings.instance)
    made = ordinary_app if usual else built(settings, compiled_templates)
    made.extensions["portal.settings"] = settings
    opened = made.extensions["portal.database"] = open_database(settings.database_url)
    made.extensions["portal.oauth"] = make_server(settings)
    made.extensions["portal.readiness"] = Readiness()
    made.instance_path = str(settings.instance)
    config = dict(made.config)
    if not settings.database_url.startswith("sqlite"):
        migrate_once(settings.database_url)
        factories.empty_tables()
        Scope.add_built_in()
        SigningKey.insert_many(prepared.keys).execute()
    yield made
    made.config.update(config)
    database.close()
    opened.close()  # a test may have opened another one since


@pytest.fixture
def client(app) -> FlaskClient:
    """A browser in which nobody is signed in."""
    return app.test_client()


@pytest.fixture(params=doors.DOORS)
def door(request, app, monkeypatch) -> str:
    """The door that requests to the machines' endpoints take; see `through_both_doors`."""
    if request.param == doors.FLASK:
        monkeypatch.setattr(app, "test_client_class", doors.InChunks)
    return request.param


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


@pytest.fixture
def statements(app):
    """Collect the SQL statements of a block: `with statements() as seen: …`."""

    @contextmanager
    def collect() -> Iterator[list[str]]:
        seen: list[str] = []

        def hook(event) -> None:
            seen.append(event.sql)

        # Else the block's first request would write them, if another second begins before it.
        app.extensions["portal.oauth"].write_notes()
        hooks = database.obj.query_hooks
        hooks.append(hook)
        try:
            yield seen
        finally:
            hooks.remove(hook)

    return collect


@pytest.fixture
def configured(settings, capsys) -> Iterator:
    """Log as these settings say, `configured(log="json")`; capsys has what was written.

    Only the test itself may call it: before, standard error is another one.
    """
    root = logging.getLogger()
    names = ("portal", logs.ACCESS, "uvicorn")
    before = root.handlers[:], root.level, [logging.getLogger(name).level for name in names]

    def configure(**changes) -> None:
        logs.configure(replace(settings, **changes))

    yield configure
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for name, old in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(old)
