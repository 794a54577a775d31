"""How many sign-ins each address, scope and grant flow of an application served, day by day.

Who came is not kept. A row is one day of one thing; the rows of an application are no more than
what is registered for it, times the days that are kept. Sign-ins are counted one by one, when a
code or a device gets its yes. What an application takes for itself is not counted (that would
cost as much as the token): `Application.machine_days` has the last day.
"""

from collections.abc import Iterable
from threading import Lock
from typing import Any, NamedTuple

from peewee import BigIntegerField, IntegerField, TextField, fn

from portal.clock import now
from portal.credentials import new_id
from portal.database import database, tried
from portal.models.base import IdField, Record
from portal.models.compiled import Compiled, slot

DAY = 24 * 60 * 60
#: So many days are asked about, and so many are kept.
RECENT_DAYS = 30
KEPT_DAYS = 90
REDIRECT_URI, SCOPE, FLOW = "redirect_uri", "scope", "flow"
#: No use: a scope that an application got later than its others, on the day it got it.
REGISTERED = "registered"
#: In place of an application's id: since when this database counts, where it is older than that.
SINCE_ID, SINCE = 0, "since"
#: So many notes are written sooner than after a second, as in `LastUse`.
MOST = 100


class Usage(Record):
    """How often one thing of an application was used on one day (UTC)."""

    id = IdField()
    application_id = BigIntegerField()
    #: Days since 1970-01-01.
    day = IntegerField()
    kind = TextField()
    value = TextField()
    count = IntegerField()

    class Meta:
        indexes = ((("application_id", "day", "kind", "value"), True),)

    @classmethod
    def of(cls, application_id: int, days: int = RECENT_DAYS) -> dict[str, dict[str, int]]:
        """How often each thing was used in the last days, today among them: by kind and value.

        Kinds and values without any use are missing; ask `since` what that means.
        """
        found: dict[str, dict[str, int]] = {}
        rows: Any = (
            cls.select(cls.kind, cls.value, fn.SUM(cls.count))
            .where(cls.application_id == application_id, cls.day > today() - days)
            .group_by(cls.kind, cls.value)
        )
        for kind, value, count in rows.tuples():
            found.setdefault(kind, {})[value] = int(count)
        return found

    @classmethod
    def of_scope(
        cls, name: str, application_ids: Iterable[int], days: int = RECENT_DAYS
    ) -> dict[int, int]:
        """At how many sign-ins a scope was given to each of some applications in the last days."""
        rows: Any = (
            cls.select(cls.application_id, fn.SUM(cls.count))
            .where(
                cls.application_id.in_(list(application_ids)),
                cls.day > today() - days,
                cls.kind == SCOPE,
                cls.value == name,
            )
            .group_by(cls.application_id)
        )
        return {application: int(count) for application, count in rows.tuples()}

    @classmethod
    def scopes_last_used(cls, application_id: int) -> dict[str, int]:
        """The last day on which people gave each scope; those of 90 days ago are gone."""
        rows: Any = (
            cls.select(cls.value, fn.MAX(cls.day))
            .where(cls.application_id == application_id, cls.kind == SCOPE)
            .group_by(cls.value)
        )
        return dict(rows.tuples())

    @classmethod
    def note_registered(cls, application_id: int, scopes: Iterable[str]) -> None:
        """Note that an application may ask for these from today on; forgotten like any day."""
        rows = [
            {
                "application_id": application_id,
                "day": today(),
                "kind": REGISTERED,
                "value": scope,
                "count": 0,
            }
            for scope in sorted(scopes)
        ]
        if rows:
            cls.insert_many(rows).on_conflict_ignore().execute()

    @classmethod
    def since(cls) -> int | None:
        """When this portal began to count, if it is less than 90 days ago and it is older."""
        row = cls.get_or_none(cls.application_id == SINCE_ID, cls.kind == SINCE)
        return int(row.value) if row and int(row.value) > now() - KEPT_DAYS * DAY else None


def today() -> int:
    """The day (UTC), counted from 1970-01-01."""
    return now() // DAY


class _Key(NamedTuple):
    application_id: int
    day: int
    kind: str
    value: str


_ADD = Compiled(
    lambda: Usage.insert(
        {
            Usage.id: slot("id"),
            Usage.application_id: slot("application_id"),
            Usage.day: slot("day"),
            Usage.kind: slot("kind"),
            Usage.value: slot("value"),
            Usage.count: slot("count"),
        }
    ).on_conflict(
        conflict_target=[Usage.application_id, Usage.day, Usage.kind, Usage.value],
        update={Usage.count: Usage.count + slot("count")},
    )
)


class UsageNotes:
    """What one process has seen and not yet written; written and dropped as in `LastUse`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._signs: dict[_Key, int] = {}
        self._written_at = 0

    def sign_in(
        self, application_id: int, flow: str, scopes: Iterable[str], redirect_uri: str | None = None
    ) -> None:
        """Count a person's yes; `redirect_uri` is the registered address, ports folded."""
        day = today()
        used = [(FLOW, flow), *((SCOPE, scope) for scope in scopes)]
        if redirect_uri is not None:
            used.append((REDIRECT_URI, redirect_uri))
        with self._lock:
            for kind, value in used:
                key = _Key(application_id, day, kind, value)
                self._signs[key] = self._signs.get(key, 0) + 1
        if now() != self._written_at or len(self._signs) >= MOST:
            self.write()

    def write(self) -> None:
        """Write what has gathered. What the database does not take is dropped: answers go out."""
        if not self._signs or database.in_transaction():
            return
        with self._lock:
            signs, self._signs = self._signs, {}
            self._written_at = now()
        # In one order, so that two processes do not wait for each other.
        rows = [{**key._asdict(), "count": signs[key], "id": new_id()} for key in sorted(signs)]
        if rows:  # another thread may have been faster
            tried(lambda: _ADD.run_each(rows))
