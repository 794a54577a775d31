"""Find applications and people by any part of their names, at the same cost among a million.

SQLite keeps trigrams in FTS5 tables (migration 0004). PostgreSQL answers the same LIKE as always,
from its pg_trgm index when there is one. What holds no trigram finds the names that begin with it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peewee import (
    SQL,
    Expression,
    Field,
    NodeList,
    PostgresqlDatabase,
    Select,
    SqliteDatabase,
    Value,
    fn,
)

from portal.database import database
from portal.models.application import Application
from portal.models.base import Record
from portal.models.compiled import Compiled, slot
from portal.models.user import User, fold

#: A search looks at so many matches, the newest: more than anybody reads.
MOST_FOUND = 500
#: From so many characters on any part of a name is found.
TRIGRAM = 3
#: So many pages of an index are written in one short transaction.
MERGED_PAGES = 16


@dataclass(frozen=True)
class Found:
    """The applications that a search found."""

    text: str
    ids: list[int]
    #: Whether there are more, or may be.
    more: bool
    #: The people whose applications are among them.
    owners: list[int]

    @property
    def among(self) -> Any:
        """The condition that an application is one of `ids`."""
        return is_one_of(Application.id, self.ids)

    @property
    def matches(self) -> Any:
        """The condition itself, for the few rows of another index: tests every one of them."""
        if is_short(self.text):
            return _begins(Application.name_key, self.text)
        return _contains(Application, self.text) | is_one_of(Application.owner, self.owners)


def find_applications(text: str) -> Found:
    """The applications with this text in their name or client ID, or their owner's names."""
    if is_short(text):
        ids = _find(Application, text, Application.name_key)
        return Found(text, ids[:MOST_FOUND], len(ids) > MOST_FOUND, [])
    ids, owners = _find(Application, text), _find(User, text)
    if owners:
        theirs = _OWNED.rows(owners=as_parameter(owners), most=MOST_FOUND + 1)
        ids += [row_id for (row_id,) in theirs]
    ids = list(dict.fromkeys(ids))
    more = len(ids) > MOST_FOUND or len(owners) > MOST_FOUND
    return Found(text, ids[:MOST_FOUND], more, owners)


def find_people(text: str) -> tuple[list[int], bool]:
    """The ids of the people with this text in their names or address; whether there are more."""
    ids = _find(User, text, User.username_key)
    return ids[:MOST_FOUND], len(ids) > MOST_FOUND


def merge_some(table: type[Record]) -> bool:
    """Merge some parts of the table's index: each costs every search something.

    One short transaction; False when nothing is left to merge. See FTS5, "The 'merge' Command".
    """
    index = _trigrams(table)
    if index is None:
        return False
    connection = database.connection()
    before = connection.total_changes
    merge = f"INSERT INTO {index} ({index}, rank) VALUES ('merge', ?)"  # noqa: S608 - a table's name
    database.execute_sql(merge, (MERGED_PAGES,))
    # The command itself counts as one change.
    return bool(connection.total_changes - before >= 2)


def is_short(text: str) -> bool:
    """Whether only the beginning of a name is looked at."""
    return len(fold(text)) < TRIGRAM


def is_one_of(field: Field, ids: Sequence[int] | Value) -> Any:
    """`field IN (…)` with one parameter, however many ids; a slot takes `as_parameter(ids)`."""
    given = ids if isinstance(ids, Value) else Value(as_parameter(ids), False, False)
    if isinstance(database.obj, PostgresqlDatabase):
        return field == fn.ANY(given)
    return field.in_(NodeList((SQL("(SELECT value FROM json_each("), given, SQL("))"))))


def as_parameter(ids: Sequence[int]) -> object:
    """How the database takes a list of ids."""
    return list(ids) if isinstance(database.obj, PostgresqlDatabase) else json.dumps(list(ids))


def _find(table: type[Record], text: str, name: Field | None = None) -> list[int]:
    """At most one more than `MOST_FOUND` ids; `name` is what a short text must begin."""
    if name is not None and is_short(text):
        rows = table.select(table.id).where(_begins(name, text)).order_by(name)  # type: ignore[attr-defined]
    elif index := _trigrams(table):
        phrase = '"' + fold(text).replace('"', '""') + '"'
        asked = f"SELECT rowid FROM {index} WHERE {index} MATCH ? ORDER BY rowid DESC LIMIT ?"  # noqa: S608 - a table's name
        return [row_id for (row_id,) in database.execute_sql(asked, (phrase, MOST_FOUND + 1))]
    else:
        rows = table.select(table.id).where(_contains(table, text)).order_by(table.id.desc())  # type: ignore[attr-defined]
    return _ids(rows)


def _ids(rows: Select) -> list[int]:
    # Straight from the driver: peewee's rows would cost more than finding them.
    return [row_id for (row_id,) in database.execute(rows.limit(MOST_FOUND + 1))]


_OWNED = Compiled(
    lambda: (
        Application.select(Application.id)
        .where(is_one_of(Application.owner, slot("owners")))
        .limit(slot("most"))
    )
)


def _contains(table: type[Record], text: str) -> Any:
    key = fold(text)
    if table is User:
        return (
            User.username_key.contains(key) | User.email_key.contains(key) | User.name.contains(key)
        )
    return Application.name_key.contains(key) | Application.client_id.contains(text)


def _begins(name: Field, text: str) -> Any:
    key = fold(text)
    if isinstance(database.obj, PostgresqlDatabase):
        for sign in "\\%_":
            key = key.replace(sign, f"\\{sign}")
        return Expression(name, "LIKE", f"{key}%")
    return (name >= key) & (name < key + chr(0x10FFFF))


def _trigrams(table: type[Record]) -> str | None:
    """The FTS5 table of this table; None where there is none."""
    if not isinstance(database.obj, SqliteDatabase):
        return None
    index = f"{table._meta.table_name}_search"
    asked = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return index if database.execute_sql(asked, (index,)).fetchone() else None
