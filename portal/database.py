"""The database: SQLite keeps one connection a thread, PostgreSQL has a pool (`postgres.py`).

Transactions lock before they read.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import peewee
from peewee import (
    Database,
    DatabaseError,
    DatabaseProxy,
    InterfaceError,
    OperationalError,
    SqliteDatabase,
)
from playhouse.migrations import Runner

from portal import patience, postgres
from portal.disk import Disk, settle
from portal.patience import Busy

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
    "wal_autocheckpoint": 4000,
}
#: More than SQLite ever maps, which is 2 GB.
WHOLE_FILE = 1 << 32
#: So long waits a thread that others wait for.
MOMENT_MS = 30


def lose_patience() -> None:
    """From now on this thread waits for locks of SQLite a moment only."""
    if patience.this.patient:
        database.close()  # a connection keeps what it was opened with
        patience.this.patient = False


def give_way(error: Exception) -> None:
    """Raise Busy when `error` says that somebody else writes, and this thread may not wait."""
    failed = isinstance(error, OperationalError | sqlite3.OperationalError)
    if failed and not patience.this.patient and "locked" in str(error):
        raise Busy from error


class Unwritable(OperationalError):
    """A file beside the database cannot be written."""


class Sqlite(SqliteDatabase):
    """SQLite, and the disk that its write-ahead log is on."""

    def __init__(self, path: str, **options: Any) -> None:
        self.disk = Disk(f"{path}-wal")
        self.maps_file = False
        super().__init__(path, **options)

    @property
    def is_there(self) -> bool:
        """Whether there is a file, or something else that SQLite has to say about it."""
        try:
            os.stat(self.database)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            pass
        return True

    def is_writable(self) -> bool:
        """Ask it; whether rows can be added: not so on a disk that is mounted to be read only."""
        self.execute_sql("SELECT 1")
        path = Path(self.database).resolve()  # beside which SQLite writes its log
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)

    def make_file(self) -> None:
        """Make an empty file, and its folder, unless it is there. Raises Unwritable."""
        folder = Path(self.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unwritable(f"The folder {folder} cannot be made: {error.strerror}") from None
        # Nobody else on the machine may read it; what SQLite puts beside it gets the same mode.
        with suppress(OSError):  # it is there, or cannot be made: SQLite says why
            os.close(os.open(self.database, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _connect(self) -> Any:
        # SQLite would make one: at a mistyped address, or while the right one is away.
        if not self.is_there:
            raise OperationalError("there is no such file")
        try:
            connection = super()._connect()  # type: ignore[misc]
        except UnicodeDecodeError:  # the driver's, about what SQLite says of it
            raise OperationalError("its schema is damaged") from None
        if not patience.this.patient:
            connection.execute(f"PRAGMA busy_timeout = {MOMENT_MS}")
        if self.maps_file:
            connection.execute(f"PRAGMA mmap_size = {WHOLE_FILE}")
        return connection

    def execute_at_once(self, sql: str, parameters: Sequence[object]) -> Any:
        """Like `execute_sql`, by the shortest way to the driver."""
        if self.query_hooks:
            return self.execute_sql(sql, parameters)
        try:
            return self.connection().execute(sql, parameters)
        except sqlite3.Error:
            with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
                raise


def open_database(url: str) -> Database:
    """Make the models use the database at `url`; connections open with their first statement."""
    close_database()
    made = connect(url)
    database.initialize(made)
    return made


def on_sqlite() -> bool:
    """Whether the open database is SQLite."""
    return isinstance(database.obj, SqliteDatabase)


def map_file() -> None:
    """Read SQLite's file as memory, by the connections that open from now on.

    For a process that writes alone, and by one connection nearly always: after another one wrote,
    SQLite maps the file anew, which costs more than it saves.
    """
    if on_sqlite():
        database.obj.maps_file = True


def connect(url: str) -> Database:
    """The database at `url`, beside the one that the models use; SettingError for a bad address."""
    if not url.startswith("sqlite:"):
        return postgres.connect(url)
    return Sqlite(
        url.removeprefix("sqlite:///"),
        pragmas=SQLITE_PRAGMAS,
        lock_type="IMMEDIATE",
        timeout=10,
        returning_clause=True,
    )


@contextmanager
def connected(url: str) -> Iterator[Database]:
    """`connect(url)` for the length of a block."""
    made = connect(url)
    if isinstance(made, postgres.PooledPostgres):
        made.lock_seconds = 0  # a copy or a backup waits for whoever is at work
    try:
        yield made
    finally:
        made.close()
        if isinstance(made, postgres.PooledPostgres):
            made.close_idle()


def close_database() -> None:
    """Close this thread's connection and those that no thread uses."""
    if isinstance(database.obj, postgres.PooledPostgres):
        if not database.in_transaction():
            database.close()
        database.obj.close_idle()


@contextmanager
def transaction() -> Iterator[None]:
    """All or nothing, and on the disk when it returns.

    On SQLite it takes the write lock first (a read that later writes would fail at once when
    another writer came between) and waits for the disk after the commit. Transactions may nest.
    """
    if database.in_transaction():
        with database.atomic():
            yield
        return
    with database.transaction():
        yield
    if on_sqlite():
        settle(database.obj.disk)


def tried(write: Callable[[], None]) -> bool:
    """Do this in a transaction that waits for nobody; False when the database did not let it."""
    try:
        with database.transaction():
            if not on_sqlite():  # where the lock was had a moment ago
                database.execute_sql("SET LOCAL lock_timeout = '100ms'")
            write()
    except (DatabaseError, InterfaceError):
        return False
    return True


def migrate(which: Database | None = None) -> list[str]:
    """Make or upgrade the schema; returns the names of the migrations that ran.

    Idempotent; a second runner waits for the first.
    """
    which = which or database.obj
    if isinstance(which, Sqlite):
        which.make_file()
    with _migration_lock(which):
        return Runner(which, str(MIGRATIONS)).up()


def pending_migrations(which: Database | None = None) -> list[str]:
    """The names of migrations that have not run yet."""
    which = which or database.obj
    if is_missing(which):
        return sorted(path.stem for path in MIGRATIONS.glob("[0-9]*.py"))
    return [m.name for m in Runner(which, str(MIGRATIONS)).status() if not m.applied]


def is_missing(which: Database | None = None) -> bool:
    """Whether it is an SQLite database that nobody has made yet."""
    which = which or database.obj
    return isinstance(which, Sqlite) and not which.is_there


def newer_migrations(which: Database) -> list[str]:
    """The names of migrations that ran there and that this release does not have."""
    status = Runner(which, str(MIGRATIONS)).status()
    return [m.name for m in status if m.path is None]


@contextmanager
def _migration_lock(which: Database) -> Iterator[None]:
    if isinstance(which, postgres.PooledPostgres):
        which.connection()  # what cannot be reached says so here, as an error of peewee
        # A transaction of its own holds it: pgbouncer may give each of ours another session.
        with closing(which.extra_connection()) as holder, holder.transaction(), which.waiting():
            holder.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            yield
        return
    path = f"{which.database}.migrate"
    try:
        lock = open(path, "w")  # noqa: SIM115
    except OSError as error:
        raise Unwritable(f"{path} cannot be written: {error.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def describe(url: str) -> str:
    """The database's address without its password, for messages."""
    if url.startswith("sqlite:"):
        return url
    parts = urlsplit(url)
    return f"postgresql://{parts.hostname or ''}:{parts.port or 5432}{parts.path}"
