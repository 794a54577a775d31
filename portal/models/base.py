"""What all tables share."""

from collections.abc import Iterable

from peewee import BigIntegerField, Model, TextField

from portal.credentials import new_id
from portal.database import database


class Record(Model):
    """A row; every model of the portal is one."""

    class Meta:
        database = database
        legacy_table_names = False


class IdField(BigIntegerField):
    """A primary key that sorts by time and is never reused."""

    def __init__(self) -> None:
        super().__init__(primary_key=True, default=new_id)


class WordsField(TextField):
    """A list of words without spaces (scopes, grants, URIs), kept as one line."""

    def db_value(self, value: Iterable[str] | str | None) -> str | None:
        # A pattern of `contains` comes as one string.
        return value if value is None or isinstance(value, str) else " ".join(value)

    def python_value(self, value: str | None) -> list[str]:
        return value.split() if value else []


class EpochField(BigIntegerField):
    """A moment in whole seconds since 1970-01-01 UTC."""
