"""The schema from nothing to today and back, on both engines, and by two runners at once."""

import json
import os
import subprocess
import sys

import pytest
from peewee import PostgresqlDatabase, SqliteDatabase
from playhouse.migrations import Runner
from playhouse.schema_diff import diff_models

from portal.clock import now
from portal.database import MIGRATIONS, database, migrate, open_database, pending_migrations
from portal.models import TABLES, Scope, Trust, User
from portal.models.search import find_applications
from tests.engines import POSTGRES, SQLITE
from tests.factories import make_application, make_user

NAMES = sorted(path.stem for path in MIGRATIONS.glob("[0-9]*.py"))

RUNNER = """
import json, sys
from portal import create_app
from portal.cli.data import upgrade_database
from portal.settings import Settings
settings = Settings(issuer="http://localhost:8000", database_url=sys.argv[1], secret_key="k" * 40)
app = create_app(settings)
sys.stdin.readline()
with app.app_context():
    print(json.dumps(upgrade_database()))
"""


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)])
def empty(request, tmp_path):
    """The address of a database with nothing in it, opened."""
    if request.param == POSTGRES:
        url = request.getfixturevalue("postgres").create("migrations")
    else:
        url = f"sqlite:///{tmp_path}/new/portal.db"
    open_database(url)
    yield url
    database.close()


def down() -> None:
    Runner(database.obj, str(MIGRATIONS)).down(NAMES[0])


#: SQLite alone has it.
TOKENS_ASK = {"application_secret_live", "application_asked"}
#: Unique in the model; there only with a condition, which every row meets.
CLIENT_ID = ("application", "client_id", "application_client_id")
#: What search needs and no model describes: PostgreSQL's indexes, SQLite's tables.
SEARCH_INDEXES = {
    f"{table}_{kind}" for table in ("application", "user_account") for kind in ("prefix", "search")
}
SEARCH_TABLES = {
    f"{table}_search{part}"
    for table in ("application", "user_account")
    for part in ("", "_config", "_data", "_docsize", "_idx")
}


def differences() -> str:
    found = diff_models(database.obj, TABLES)
    if isinstance(database.obj, PostgresqlDatabase):
        extra = [index for index in found.drop_indexes if index.name in SEARCH_INDEXES]
        assert {index.name for index in extra} in (set(), SEARCH_INDEXES)
    else:
        extra = [it for it in found.drop_indexes if it.name in (*TOKENS_ASK, CLIENT_ID[2])]
        missing = [it for it in found.add_indexes if (it.table, *it.columns) == CLIENT_ID[:2]]
        for index in missing:
            found.add_indexes.remove(index)
    for index in extra:
        found.drop_indexes.remove(index)
    return str(found)


def tables() -> set[str]:
    return {name for name in database.get_tables() if not name.startswith("sqlite_")}


def tables_of_search() -> set[str]:
    return SEARCH_TABLES if isinstance(database.obj, SqliteDatabase) else set()


def described() -> dict[str, tuple[list, list]]:
    found = {}
    for table in TABLES:
        name = table._meta.table_name
        columns = sorted((c.name, c.data_type, c.null) for c in database.get_columns(name))
        keys = [(key.column, key.dest_table) for key in database.get_foreign_keys(name)]
        found[name] = columns, sorted(keys)
    return found


def test_migrating_makes_what_the_models_describe(empty):
    assert pending_migrations() == NAMES
    assert migrate() == NAMES
    assert pending_migrations() == []
    assert differences() == ""
    # Beside the models' tables there are only the history and what search needs.
    models = {table._meta.table_name for table in TABLES}
    assert tables() == models | {"schema_migration"} | tables_of_search()


def test_the_columns_are_those_that_the_models_would_make(empty):
    """schema_diff compares names alone; this compares types, NULL and foreign keys, too."""
    migrate()
    migrated = described()
    down()
    database.create_tables(TABLES)
    assert described() == migrated


def test_on_sqlite_tokens_are_not_looked_up_by_what_keeps_client_ids_apart(empty):
    migrate()
    if isinstance(database.obj, SqliteDatabase):
        rows = database.execute_sql("SELECT sql FROM sqlite_master WHERE name = ?", CLIENT_ID[2:])
        assert rows.fetchone()[0].endswith("(client_id) WHERE id > 0")


def test_migrating_again_changes_nothing_and_keeps_the_rows(empty):
    migrate()
    Scope.add_built_in()
    application, _ = make_application(make_user("alice"))
    assert migrate() == []
    Scope.add_built_in()
    assert User.select().count() == 1
    assert type(application).get_by_id(application.id).name == "Acme Reports"
    assert Scope.select().count() == 7


def test_down_leaves_nothing_and_up_works_again(empty):
    migrate()
    make_application(make_user("alice"))
    down()
    assert tables() == {"schema_migration"}
    assert pending_migrations() == NAMES
    assert migrate() == NAMES
    assert differences() == ""
    assert User.select().count() == 0


def test_two_runners_at_once_migrate_once(empty):
    database.close()
    runners = [
        subprocess.Popen(
            [sys.executable, "-c", RUNNER, empty],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        for _ in range(2)
    ]
    for runner in runners:  # both have everything loaded and wait for this line
        runner.stdin.write("\n")
        runner.stdin.flush()
    done = [runner.communicate(timeout=60) for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], done
    assert sorted(json.loads(out) for out, _ in done) == [[], NAMES]
    open_database(empty)
    assert differences() == ""
    assert Scope.select().count() == 7


@pytest.mark.postgres
def test_without_the_right_to_add_pg_trgm_the_portal_still_works(request, caplog):
    """A hosted PostgreSQL may keep its extensions to itself."""
    cluster = request.getfixturevalue("postgres")
    cluster.create("refusing")
    for statement in (
        "DROP ROLE IF EXISTS clerk",
        "CREATE ROLE clerk LOGIN",
        "GRANT USAGE, CREATE ON SCHEMA public TO clerk",
    ):
        cluster.execute(statement, "refusing")
    open_database(cluster.url("refusing").replace("//postgres@", "//clerk@"))
    try:
        assert migrate() == NAMES
        assert "Searches will read every row" in caplog.text
        assert "pg_trgm" in caplog.text
        application, _ = make_application(make_user("alice"))
        assert find_applications("cme Rep").ids == [application.id]
        down()
        assert tables() == {"schema_migration"}
    finally:
        database.close()
        cluster.execute('DROP DATABASE "refusing" WITH (FORCE)')
        cluster.execute("DROP ROLE clerk")


def test_rows_from_before_are_found_after_the_upgrade(empty):
    migrate()
    application, _ = make_application(make_user("alice"))
    migrator = Runner(database.obj, str(MIGRATIONS))
    migrator.down("0004_lists_and_search")
    assert pending_migrations() == NAMES[3:]
    assert find_applications("cme Rep").ids == [application.id]  # as before: row by row
    migrate()
    assert find_applications("cme Rep").ids == find_applications("lice@").ids == [application.id]


def test_what_was_trusted_before_counts_as_approved_for_a_year(empty):
    migrate()
    trusted, _ = make_application(make_user("alice"), trusted=True)
    other, _ = make_application(User.get(), name="Other")
    migrator = Runner(database.obj, str(MIGRATIONS))
    migrator.down("0012_trust")
    migrate()
    fresh = type(trusted).get_by_id(trusted.id)
    assert fresh.skips_consent
    assert abs(fresh.trust_ends_at - now() - 365 * 86400) < 60
    assert Trust.get().approved_by == "upgrade"
    assert Trust.get().application_id == trusted.id
    assert type(other).get_by_id(other.id).trust_ends_at is None
    fresh.change(scopes=["openid"])
    assert not fresh.skips_consent
    # Search goes on working: its triggers are still there.
    fresh.change(name="Quite another name")
    assert find_applications("another").ids == [fresh.id]
