"""What all tables share."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

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


class DaysField(TextField):
    """Days (counted from 1970-01-01, UTC) by name, kept as one line: `email=20781 public=20780`."""

    def db_value(self, value: Mapping[str, int]) -> str:
        return " ".join(f"{name}={day}" for name, day in sorted(value.items()))

    def python_value(self, value: str | None) -> Mapping[str, int]:
        return read_days(value or "")  # None comes of an outer join


@lru_cache(1000)
def read_days(text: str) -> Mapping[str, int]:
    """What `DaysField` keeps; many rows say the same."""
    pairs = (pair.rpartition("=") for pair in text.split())
    return MappingProxyType({name: int(day) for name, _, day in pairs})


class EpochField(BigIntegerField):
    """A moment in whole seconds since 1970-01-01 UTC."""
