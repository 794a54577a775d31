"""The database: one connection a thread, kept open; transactions that lock before they read."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from peewee import Database, DatabaseProxy, PostgresqlDatabase, SqliteDatabase
from playhouse.db_url import connect
from playhouse.migrations import Runner

MIGRATIONS = Path(__file__).parent / "migrations"
#: One number that all runners agree on, for PostgreSQL's advisory lock.
MIGRATION_LOCK = 7_067_418

database = DatabaseProxy()

SQLITE_PRAGMAS = {
    "journal_mode": "wal",
    # A process may crash at any time without loss; `transaction` adds what a power cut needs.
    "synchronous": "normal",
    "busy_timeout": 10_000,
    "foreign_keys": 1,
    "cache_size": -64 * 1024,
    "mmap_size": 1024 * 1024 * 1024,
    "wal_autocheckpoint": 4000,
}


def open_database(url: str) -> Database:
    """Make the models use the database at `url`; connections open with their first statement."""
    if url.startswith("sqlite:"):
        path = url.removeprefix("sqlite:///")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Nobody else on the machine may read it; what SQLite puts beside it gets the same mode.
        with suppress(OSError):  # it is there, or cannot be made: SQLite says why
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        made = SqliteDatabase(
            path,
            pragmas=SQLITE_PRAGMAS,
            lock_type="IMMEDIATE",
            timeout=10,
            returning_clause=True,
        )
    else:
        made = connect(
            url.replace("postgres://", "postgresql://", 1),
            unquote_user=True,
            unquote_password=True,
            prefer_psycopg3=True,
            connect_timeout=5,
        )
    database.initialize(made)
    return made


def on_sqlite() -> bool:
    """Whether the open database is SQLite."""
    return isinstance(database.obj, SqliteDatabase)


@contextmanager
def transaction() -> Iterator[None]:
    """All or nothing, and on the disk when it returns.

    On SQLite it takes the write lock first (a read that later writes would fail at once when
    another writer came between) and waits for the disk at commit. Transactions may nest.
    """
    if database.in_transaction():
        with database.atomic():
            yield
        return
    with _synced(), database.transaction():
        yield


@contextmanager
def _synced() -> Iterator[None]:
    if not on_sqlite():
        yield
        return
    raw = database.connection()
    raw.execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        if not database.is_closed():
            database.connection().execute("PRAGMA synchronous = NORMAL")


def migrate() -> list[str]:
    """Make or upgrade the schema; returns the names of the migrations that ran.

    Idempotent; a second runner waits for the first.
    """
    with _migration_lock():
        return Runner(database.obj, str(MIGRATIONS)).up()


def pending_migrations() -> list[str]:
    """The names of migrations that have not run yet."""
    return [m.name for m in Runner(database.obj, str(MIGRATIONS)).status() if not m.applied]


@contextmanager
def _migration_lock() -> Iterator[None]:
    if isinstance(database.obj, PostgresqlDatabase):
        database.execute_sql("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        try:
            yield
        finally:
            database.execute_sql("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))
        return
    with open(f"{database.obj.database}.migrate", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def describe(url: str) -> str:
    """The database's address without its password, for messages."""
    if url.startswith("sqlite:"):
        return url
    parts = urlsplit(url)
    return f"postgresql://{parts.hostname or ''}:{parts.port or 5432}{parts.path}"
