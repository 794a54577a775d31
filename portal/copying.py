"""Copy a portal's rows from one database to another, whichever engines they are.

The rows alone: what triggers and indexes keep beside them, the target makes itself.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from peewee import (
    BlobField,
    BooleanField,
    Database,
    IntegerField,
    Model,
    OperationalError,
    TextField,
)

from portal.database import migrate, newer_migrations, pending_migrations
from portal.models import TABLES, Scope, SigningKey
from portal.postgres import PooledPostgres

#: Rows a transaction: a copy that is killed repeats at most so many.
CHUNK = 10_000
#: Sums of remainders fit into 64 bits, where sums of ids would not.
MODULUS = 1_000_003
#: How often a restore tries to have all tables to itself: half a minute in all.
LOCK_TRIES = 75

OnRows = Callable[[int], None]


class CopyRefused(Exception):
    """The copy cannot be made as asked: one line that says what to change."""


class HalfCopied(Exception):
    """Only a part of a portal is in the database: one line that says what to do."""


class Compared(NamedTuple):
    """A table's rows in both databases, and whether what they hold is the same."""

    table: str
    source: int
    target: int
    same: bool


class CopyPlace(Model):
    """In the target while a copy is under way: the last key of each table that arrived."""

    table_name = TextField(primary_key=True)
    last_key = TextField(null=True)
    source = TextField()

    class Meta:
        legacy_table_names = False


@contextmanager
def snapshot(database: Database) -> Iterator[None]:
    """The database as it is now, whatever others write in the meantime."""
    if isinstance(database, PooledPostgres):
        database.execute_sql("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    else:
        database.execute_sql("BEGIN DEFERRED")
    # The view is taken by the first reading.
    database.execute_sql("SELECT count(*) FROM user_account").fetchone()
    try:
        yield
    finally:
        database.execute_sql("ROLLBACK")


def begin(source: Database, target: Database, source_name: str, restart: bool) -> None:
    """Make the target ready: migrated, and empty or holding the beginning of the same copy.

    Raises CopyRefused.
    """
    if pending_migrations(source):
        raise CopyRefused(
            f"{source_name} is not up to date: run flask --app wsgi db upgrade on it first."
        )
    if newer_migrations(source) or newer_migrations(target):
        raise CopyRefused("A newer release of Portal made that database: use that release.")
    with CopyPlace.bind_ctx(target):
        place = CopyPlace.get_or_none() if CopyPlace.table_exists() else None
        if place and not restart:
            if place.source != source_name:
                raise CopyRefused(
                    f"The target holds a part of {place.source}: finish that copy, or add"
                    " --restart to empty the target and begin anew."
                )
            return
        if not place and is_used(target):
            raise CopyRefused("The target holds something already: give an empty database.")
        migrate(target)
        with target.atomic():
            clear(target)
            CopyPlace.create_table()
            CopyPlace.delete().execute()
            CopyPlace.insert_many(
                {"table_name": table._meta.table_name, "source": source_name} for table in TABLES
            ).execute()


def end(target: Database) -> None:
    """The copy is whole: forget its places."""
    with CopyPlace.bind_ctx(target):
        CopyPlace.drop_table()


def see_whole(database: Database) -> None:
    """Raise HalfCopied while a copy into this database has not come to its end."""
    with CopyPlace.bind_ctx(database):
        place = CopyPlace.get_or_none() if CopyPlace.table_exists() else None
    if place:
        raise HalfCopied(
            f"The database holds only a part of {place.source}: run that flask --app wsgi db copy"
            " again."
        )


def is_used(database: Database) -> bool:
    """Whether there is more in the database than what `db upgrade` puts there."""
    if not database.table_exists("user_account"):
        return bool([name for name in database.get_tables() if name != "schema_migration"])
    built_in = (Scope, SigningKey)
    return any(count_rows(database, table) for table in TABLES if table not in built_in)


def clear(database: Database) -> None:
    """Empty all tables, inside the caller's transaction."""
    if isinstance(database, PooledPostgres):
        names = ", ".join(f'"{table._meta.table_name}"' for table in TABLES)
        _lock(database, names)
        database.execute_sql(f"TRUNCATE {names}")
        return
    for table in reversed(TABLES):
        database.execute_sql(f'DELETE FROM "{table._meta.table_name}"')  # noqa: S608


def _lock(database: Database, names: str) -> None:
    """Lock these tables for this transaction, all or none.

    Requests take them in other orders. So whoever waits here gives up what it has long before
    PostgreSQL would look for a deadlock and end a request, and tries again.
    """
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            with database.atomic():
                database.execute_sql("SET LOCAL lock_timeout = '300ms'")
                database.execute_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
                database.execute_sql("SET LOCAL lock_timeout = 0")
            return
        except OperationalError:
            if attempt == LOCK_TRIES:
                raise
            time.sleep(0.1)


def copy_rows(source: Database, target: Database, on_rows: OnRows, places: bool = False) -> None:
    """Copy all rows, the tables that others refer to first.

    With `places` each chunk is a transaction that remembers its place, and the copy goes on
    from there; without, the caller's transaction holds everything.
    """
    for table in TABLES:
        with CopyPlace.bind_ctx(target):
            here = CopyPlace.table_name == table._meta.table_name
            place = CopyPlace.get(here).last_key if places else None
            for rows, last in _chunks(source, table, _parsed(table, place)):
                with target.atomic():
                    _write(target, table, rows)
                    if places:
                        CopyPlace.update(last_key=_text(last)).where(here).execute()
                on_rows(len(rows))


def count_rows(database: Database, table: type[Model]) -> int:
    sql = f'SELECT count(*) FROM "{table._meta.table_name}"'  # noqa: S608
    return database.execute_sql(sql).fetchone()[0]


def compare(source: Database, target: Database) -> list[Compared]:
    """Each table in both databases: its rows, and sums over all that they hold."""
    compared = []
    for table in TABLES:
        one, other = _sums(source, table), _sums(target, table)
        compared.append(Compared(table._meta.table_name, one[0], other[0], one == other))
    return compared


def _sums(database: Database, table: type[Model]) -> tuple[int, ...]:
    """Any change of a number, a switch or a length changes one of these."""
    length = (
        "octet_length({})" if isinstance(database, PooledPostgres) else "length(CAST({} AS BLOB))"
    )
    parts = ["count(*)"]
    for field in table._meta.sorted_fields:
        column = f'"{field.column_name}"'
        if isinstance(field, BooleanField):
            value = f"CASE WHEN {column} THEN 1 ELSE 0 END"
        elif _is_number(field):
            value = f"{column} - {column} / {MODULUS} * {MODULUS}"  # the remainder, in any SQL
        else:
            value = length.format(column)
        parts.append(f"coalesce(sum({value}), 0)")
    sql = f'SELECT {", ".join(parts)} FROM "{table._meta.table_name}"'  # noqa: S608
    return tuple(int(value) for value in database.execute_sql(sql).fetchone())


def _is_number(field: Any) -> bool:
    return isinstance(getattr(field, "rel_field", field), IntegerField)


def _chunks(
    database: Database, table: type[Model], after: object
) -> Iterator[tuple[list[tuple], object]]:
    """The rows by their primary key, `CHUNK` at a time, each with its last key."""
    fields = table._meta.sorted_fields
    key = fields.index(table._meta.primary_key)
    columns = ", ".join(f'"{field.column_name}"' for field in fields)
    name = f'"{fields[key].column_name}"'
    select = f'SELECT {columns} FROM "{table._meta.table_name}"'  # noqa: S608
    rest = f"ORDER BY {name} LIMIT {CHUNK}"
    while True:
        where = f"WHERE {name} > {database.param}" if after is not None else ""
        given = (after,) if after is not None else None
        rows = database.execute_sql(f"{select} {where} {rest}", given).fetchall()
        if not rows:
            return
        after = rows[-1][key]
        yield rows, after


def _write(database: Database, table: type[Model], rows: list[tuple]) -> None:
    columns = [f'"{field.column_name}"' for field in table._meta.sorted_fields]
    into = f'"{table._meta.table_name}" ({", ".join(columns)})'
    cursor = database.cursor()
    if not isinstance(database, PooledPostgres):
        marks = ", ".join("?" * len(columns))
        with _refusing(sqlite3.IntegrityError):
            cursor.executemany(f"INSERT INTO {into} VALUES ({marks})", rows)  # noqa: S608
        return
    from psycopg import IntegrityError

    with _refusing(IntegrityError), cursor.copy(f"COPY {into} FROM STDIN") as copy:
        for row in _without_nul(table, rows):
            copy.write_row(row)


@contextmanager
def _refusing(taken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except taken:
        raise CopyRefused(
            "The target was used since the copy began: copy again with --restart."
        ) from None


def _without_nul(table: type[Model], rows: list[tuple]) -> list[tuple]:
    """PostgreSQL's text takes every character but this one; SQLite takes it, too."""
    fields = enumerate(table._meta.sorted_fields)
    texts = [place for place, field in fields if isinstance(field, TextField)]
    if not any("\0" in row[place] for row in rows for place in texts if row[place]):
        return rows
    return [
        tuple(value.replace("\0", "?") if isinstance(value, str) else value for value in row)
        for row in rows
    ]


def _parsed(table: type[Model], key: str | None) -> object:
    field = table._meta.primary_key
    if key is None:
        return None
    if isinstance(field, BlobField):
        return bytes.fromhex(key)
    return int(key) if _is_number(field) else key


def _text(key: object) -> str:
    return bytes(key).hex() if isinstance(key, bytes | memoryview) else str(key)
