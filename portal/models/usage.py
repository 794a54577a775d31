"""How many sign-ins each redirect URI served, and how often each scope was granted, day by day.

Gathered in memory and written together, as the last uses are (portal/models/last_use.py).
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from threading import Lock
from typing import Any

from peewee import (
    BigIntegerField,
    CompositeKey,
    DatabaseError,
    IntegerField,
    InterfaceError,
    TextField,
    fn,
)

from portal.clock import now
from portal.database import database, on_sqlite
from portal.models.base import Record

DAY = 24 * 60 * 60
REDIRECT_URI, SCOPE = "redirect_uri", "scope"
#: A row is deleted after so many days.
KEPT_DAYS = 90


class Usage(Record):
    """One day of one redirect URI or scope of an application."""

    application_id = BigIntegerField()
    kind = TextField()
    value = TextField()
    day = IntegerField(index=True)
    count = IntegerField(default=0)

    class Meta:
        primary_key = CompositeKey("application_id", "kind", "value", "day")

    @classmethod
    def forget_old(cls) -> int:
        """Delete the days that are too long ago; returns how many rows."""
        return cls.delete().where(cls.day <= now() // DAY - KEPT_DAYS).execute()

    @classmethod
    def of(cls, application_id: int, days: int = 30) -> dict[str, dict[str, int]]:
        """Kind by kind, how often each value was used in the last `days` days."""
        rows: Any = (
            cls.select(cls.kind, cls.value, fn.SUM(cls.count))
            .where(cls.application_id == application_id, cls.day > now() // DAY - days)
            .group_by(cls.kind, cls.value)
        )
        found: dict[str, dict[str, int]] = {REDIRECT_URI: {}, SCOPE: {}}
        for kind, value, count in list(rows.tuples()):
            found.setdefault(kind, {})[value] = int(count)
        return found

    @classmethod
    def counted_since(cls) -> int:
        """The first day that anything was counted on, or today, as a moment."""
        first = cls.select(cls.day).order_by(cls.day).limit(1).scalar()
        return (now() // DAY if first is None else int(first)) * DAY


class UsageNotes:
    """What one process has counted and not written yet."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[int, str, str, int]] = Counter()

    def note(self, application_id: int, scopes: Iterable[str], uri: str = "") -> None:
        """Count one decision; `uri` is the registered address that it was answered at."""
        day = now() // DAY
        with self._lock:
            for scope in set(scopes):
                self._counts[application_id, SCOPE, scope, day] += 1
            if uri:
                self._counts[application_id, REDIRECT_URI, uri, day] += 1

    def write(self) -> None:
        """Write what has gathered. What the database does not take is dropped."""
        if not self._counts or database.in_transaction():
            return
        with self._lock:
            counts, self._counts = self._counts, Counter()
        by_key = [(*key, count) for key, count in sorted(counts.items())]
        with suppress(DatabaseError, InterfaceError), database.transaction():
            if not on_sqlite():
                database.execute_sql("SET LOCAL lock_timeout = '100ms'")
            for application_id, kind, value, day, count in by_key:
                Usage.insert(
                    application_id=application_id, kind=kind, value=value, day=day, count=count
                ).on_conflict(
                    conflict_target=[Usage.application_id, Usage.kind, Usage.value, Usage.day],
                    update={Usage.count: Usage.count + count},
                ).execute()
