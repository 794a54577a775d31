"""Find applications and people by any part of their names, at the same cost among a million.

SQLite keeps trigrams in FTS5 tables (migration 0004). PostgreSQL answers the same LIKE as always,
from its pg_trgm index when there is one. What holds no trigram finds the names that begin with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from typing import Any

from peewee import (
    JOIN,
    OP,
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

#: A search looks at so many matches: more than anybody reads. Of texts with trigrams the newest.
MOST_FOUND = 500
#: From so many characters on any part of a name is found.
TRIGRAM = 3
#: At least so many pages of an index are written in one transaction. What all rows have is one
#: piece: among a million the longest takes about 0.1 s, as when SQLite merges by itself.
MERGED_PAGES = 16


@dataclass(frozen=True)
class Found:
    """The applications that a search found."""

    text: str
    ids: list[int]
    #: Whether there are more, or may be.
    more: bool
    #: The people with the text in their names, at most one more than `MOST_FOUND`.
    owners: list[int]

    @property
    def more_people(self) -> bool:
        """Whether more people match than those whose applications were looked at."""
        return len(self.owners) > MOST_FOUND

    @property
    def among(self) -> Any:
        """The condition that an application is one of `ids`."""
        return is_one_of(Application.id, self.ids)

    def matching(self, ids: Sequence[int]) -> list[int]:
        """Which of these match, each looked at: for the few rows of another index."""
        statement = _AMONG_BEGINNING if is_short(self.text) else _AMONG_PART
        owners = as_parameter(self.owners)
        return _ids(statement.rows(ids=as_parameter(ids), owners=owners, **_parts(self.text)))


def find_applications(text: str) -> Found:
    """The applications with this text in their name or client ID, or their owner's names."""
    ids = _find(Application, text)
    owners = [] if is_short(text) else _find(User, text)
    if owners and len(ids) <= MOST_FOUND:  # else there are enough already
        ids += _ids(_OWNED.rows(owners=as_parameter(owners), most=MOST_FOUND + 1))
        ids = list(dict.fromkeys(ids))
    more = len(ids) > MOST_FOUND or len(owners) > MOST_FOUND
    return Found(text, ids[:MOST_FOUND], more, owners)


def find_people(text: str) -> tuple[list[int], bool]:
    """The ids of the people with this text in their names or address; whether there are more."""
    ids = _find(User, text)
    return ids[:MOST_FOUND], len(ids) > MOST_FOUND


def merge_some(table: type[Record]) -> bool:
    """Merge some parts of the table's index: each costs every search something.

    One transaction; False when nothing is left to merge. See FTS5, "The 'merge' Command".
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
    return min(len(text.strip()), len(fold(text))) < TRIGRAM  # ß is folded to ss


def is_one_of(field: Field, ids: Sequence[int] | Value) -> Any:
    """`field IN (…)` with one parameter, however many ids; a slot takes `as_parameter(ids)`."""
    given = ids if isinstance(ids, Value) else Value(as_parameter(ids), False, False)
    if isinstance(database.obj, PostgresqlDatabase):
        return field == fn.ANY(given)
    return field.in_(NodeList((SQL("(SELECT value FROM json_each("), given, SQL("))"))))


def with_each(field: Field, ids: Value, *columns: Any) -> Select:
    """The applications whose `field` is one of hundreds of different ids, a slot.

    SQLite goes through them as they come; those of `IN` it would sort first.
    """
    query = Application.select(*columns)
    if isinstance(database.obj, PostgresqlDatabase):
        return query.where(is_one_of(field, ids))
    given = query.from_(fn.JSON_EACH(ids).alias("given")).join(Application, JOIN.CROSS)
    return given.where(field == SQL("given.value"))


def as_parameter(ids: Sequence[int]) -> str:
    """How the database takes ids: as one text, for a driver looks at each item of a list."""
    text = str(list(ids))
    return f"{{{text[1:-1]}}}" if isinstance(database.obj, PostgresqlDatabase) else text


def read_parameter(text: str) -> list[int]:
    """The ids in what `as_parameter` made, or a column of `gathered`."""
    return [int(it) for it in text[1:-1].split(",")] if len(text) > 2 else []


def gathered(ids: Any, condition: Any = None) -> Any:
    """A column with all these ids, or those that meet a condition, as `as_parameter` says them.

    So ids that go into the next statement need no reading on the way.
    """
    postgres = isinstance(database.obj, PostgresqlDatabase)
    all_of = fn.ARRAY_AGG(ids) if postgres else fn.JSON_GROUP_ARRAY(ids)
    some = all_of if condition is None else all_of.filter(condition)
    return fn.COALESCE(some.cast("TEXT"), SQL("'{}'")) if postgres else some


def _find(table: type[Record], text: str) -> list[int]:
    """At most one more than `MOST_FOUND` ids: what begins with a short text, or contains it."""
    most = MOST_FOUND + 1
    if is_short(text):
        return _ids(_WITH_BEGINNING[table].rows(most=most, **_parts(text)))
    if index := _trigrams(table):
        # Full names are kept as they were typed: Groß is not GROSS there.
        phrases = dict.fromkeys((fold(text), text.strip().lower()))
        phrase = " OR ".join('"' + each.replace('"', '""') + '"' for each in phrases)
        asked = f"SELECT rowid FROM {index} WHERE {index} MATCH ? ORDER BY rowid DESC LIMIT ?"  # noqa: S608 - a table's name
        return _ids(database.execute_sql(asked, (phrase, most)).fetchall())
    return _ids(_WITH_PART[table].rows(most=most, **_parts(text)))


def _ids(rows: list[tuple[int]]) -> list[int]:
    return [row_id for (row_id,) in rows]


def _parts(text: str) -> dict[str, str]:
    """What the conditions below ask for: the names that begin with a text, or contain it."""
    key = fold(text)
    pattern, typed = (re.sub(r"([\\%_])", r"\\\1", each) for each in (key, text.strip()))
    return {
        "from": key,
        "to": key + chr(0x10FFFF),
        "beginning": f"{pattern}%",
        "part": f"%{pattern}%",
        "typed": f"%{typed}%",
    }


def _begins(name: Field) -> Any:
    if isinstance(database.obj, PostgresqlDatabase):
        return Expression(name, "LIKE", slot("beginning"))
    return (name >= slot("from")) & (name < slot("to"))


def _contains(*names: Field) -> Any:
    # PostgreSQL takes a backslash for itself, and would read no index if it were told to.
    escape = () if isinstance(database.obj, PostgresqlDatabase) else (SQL("ESCAPE '\\'"),)
    part, typed = (NodeList((slot(name), *escape)) for name in ("part", "typed"))
    found = [Expression(name, OP.ILIKE, part) for name in names]
    # Full names are kept as they were typed: Groß is not GROSS there.
    found += [Expression(name, OP.ILIKE, typed) for name in names if name is User.name]
    return reduce(or_, found)


def _with_beginning(table: Any) -> Select:
    name = _NAMES[table][0]
    return table.select(table.id).where(_begins(name)).order_by(name).limit(slot("most"))


def _with_part(table: Any) -> Select:
    rows = table.select(table.id).where(_contains(*_NAMES[table]))
    return rows.order_by(table.id.desc()).limit(slot("most"))


def _among(matches: Any) -> Select:
    return Application.select(Application.id).where(is_one_of(Application.id, slot("ids")), matches)


#: Names in which a search looks for a text; of the first it may also be the beginning.
_NAMES: dict[type[Record], tuple[Field, ...]] = {
    Application: (Application.name_key, Application.client_id),
    User: (User.username_key, User.email_key, User.name),
}
# Building these takes longer than running them.
_WITH_BEGINNING = {table: Compiled(partial(_with_beginning, table)) for table in _NAMES}
_WITH_PART = {table: Compiled(partial(_with_part, table)) for table in _NAMES}
_OWNED = Compiled(
    lambda: with_each(Application.owner, slot("owners"), Application.id).limit(slot("most"))
)
_AMONG_BEGINNING = Compiled(lambda: _among(_begins(Application.name_key)))
_AMONG_PART = Compiled(
    lambda: _among(_contains(*_NAMES[Application]) | is_one_of(Application.owner, slot("owners")))
)


def _trigrams(table: type[Record]) -> str | None:
    """The FTS5 table of this table; None where there is none."""
    if not isinstance(database.obj, SqliteDatabase):
        return None
    index = f"{table._meta.table_name}_search"
    asked = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return index if database.execute_sql(asked, (index,)).fetchone() else None
