"""Hot statements: written with the models, turned into SQL once a process, then only run.

Building a query object costs ten times what SQLite needs to answer it.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import peewee
from peewee import (
    BigIntegerField,
    Database,
    Field,
    ForeignKeyField,
    Insert,
    IntegerField,
    Model,
    Query,
    TextField,
    Value,
)

from portal.database import database


class _Slot(str):
    """The name of a value that is given when the statement runs."""


def slot(name: str) -> Value:
    """A place in a statement that `Compiled.run` fills in."""
    return Value(_Slot(name), converter=False)


class Compiled:
    """A statement that is compiled at its first use and again only for another database."""

    def __init__(self, build: Callable[[], Query]) -> None:
        self._build = build
        self._made: _Made = (None, "", tuple)
        self._row: Callable[[Sequence[object]], Any] | None = None

    def run(self, **values: object) -> None:
        """Run the statement for what it does."""
        self._at_once(values)

    def _at_once(self, values: dict[str, object]) -> Any:
        """Run the statement; its result is read before this thread runs another one.

        peewee's own way takes longer than a small statement does.
        """
        made_for, sql, fill = self._made
        if made_for is not database.obj:
            made_for, sql, fill = self._make()
        return made_for.execute_at_once(sql, fill(values))  # type: ignore[union-attr]

    def _filled(self, values: dict[str, object]) -> tuple[str, Sequence[object]]:
        made_for, sql, fill = self._made
        if made_for is not database.obj:
            _, sql, fill = self._make()
        return sql, fill(values)

    def _make(self) -> "_Made":
        query = self._build()
        if isinstance(query, Insert):
            query = query.returning()  # peewee adds the id, and SQLite then counts no rows
        sql, template = query.sql()
        self._made = made = database.obj, sql, _filling(template)
        return made

    def run_each(self, rows: Sequence[dict[str, object]]) -> None:
        """Run the statement with each of these values, one after the other: in one go."""
        filled = [self._filled(values) for values in rows]
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            database.cursor().executemany(filled[0][0], [values for _, values in filled])

    def rows(self, **values: object) -> list[tuple]:
        """All rows, each as the driver gives it."""
        return self._at_once(values).fetchall()

    def row(self, **values: object) -> Any:
        """The first row, its columns by name; None when there is none."""
        cursor = self._at_once(values)
        found = cursor.fetchone()
        if found is None:
            return None
        if self._row is None:
            self._row = _row_maker([column[0] for column in cursor.description])
        return self._row(found)

    def count(self, **values: object) -> int:
        """How many rows the statement changed."""
        return self._at_once(values).rowcount

    def rows_for_batch(self, **values: object) -> list[tuple]:
        """All rows, each as the driver gives it: what `run_each` needs to know, in its way."""
        sql, filled = self._filled(values)
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            return database.cursor().execute(sql, filled).fetchall()


_Fill = Callable[[dict[str, object]], Sequence[object]]
_Made = tuple[Database | None, str, _Fill]


def _filling(template: Sequence[object]) -> _Fill:
    """What puts values in the places of a statement; a quicker one where nothing else is there."""
    names = [str(item) for item in template if type(item) is _Slot]
    if len(names) == len(template) == 1:
        name = names[0]
        return lambda values: (values[name],)
    if len(names) == len(template) > 1:
        return itemgetter(*names)
    return lambda values: [values[item] if type(item) is _Slot else item for item in template]


def _row_maker(columns: list[str]) -> Callable[[Sequence[object]], Any]:
    return namedtuple("Row", columns)._make  # type: ignore[attr-defined]


def load(model: type[Model], values: Sequence[object]) -> Any:
    """The row that these values are as a model: in the order of all columns.

    What peewee does after a query, without making the query.
    """
    return _loader_of_all(model)(values)


def loader(model: type[Model], fields: Sequence[Field]) -> Callable[[Sequence[object]], Any]:
    """What makes a model of a row with these fields."""
    # Numbers and text come from the driver as they are.
    columns = [(it.name, None if _is_plain(it) else it.python_value) for it in fields]

    def load_some(values: Sequence[object]) -> Any:
        row = model(__no_default__=True)
        row.__data__ = {
            name: value if convert is None else convert(value)
            for (name, convert), value in zip(columns, values, strict=True)
        }
        row._dirty.clear()  # type: ignore[attr-defined]
        return row

    return load_some


@cache
def _loader_of_all(model: type[Model]) -> Callable[[Sequence[object]], Any]:
    return loader(model, model._meta.sorted_fields)


def _is_plain(field: Field) -> bool:
    if isinstance(field, ForeignKeyField):
        return _is_plain(field.rel_field)
    plain = isinstance(field, IntegerField | BigIntegerField | TextField)
    return plain and type(field).python_value is Field.python_value
