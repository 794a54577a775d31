"""The audit log: who did what to what; rows are only ever added, each sealed with the one before.

The seal is keyed, so whoever can write to the database alone cannot make the chain fit again.
"""

import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

from peewee import BigIntegerField, BlobField, TextField

from portal.clock import now
from portal.database import database, on_sqlite, transaction
from portal.models.base import EpochField, Record

#: One number that all writers agree on, for PostgreSQL's advisory lock.
CHAIN_LOCK = 7_067_419
#: What the first row is sealed with.
START = b""
SEAL = "sha256"
SEAL_LENGTH = 32
#: Rows read at a time.
CHUNK = 2000
DAY = 24 * 60 * 60
#: So many events of one application are looked at to find the same one.
LOOKED_BACK = 200


class AuditEvent(Record):
    """One thing that somebody did. Its id is its place in the chain: 1, 2, 3 without a gap."""

    id = BigIntegerField(primary_key=True)
    at = EpochField(index=True)
    event = TextField()
    #: None: the portal itself, the command line, or somebody who is not signed in.
    actor_id = BigIntegerField(null=True)
    #: The actor's name as it was then: people and their names change.
    actor = TextField()
    #: What it was done to; `subject` is its name as it was then.
    application_id = BigIntegerField(null=True)
    person_id = BigIntegerField(null=True)
    subject = TextField(default="")
    #: JSON objects; never a secret.
    before = TextField(default="{}")
    after = TextField(default="{}")
    address = TextField(default="")
    hash = BlobField()

    class Meta:
        # Read from the latest backwards: all of them, or those of one application or person.
        indexes = (
            (("application_id", "id"), False),
            (("application_id", "event", "id"), False),
            (("person_id", "id"), False),
            (("actor_id", "id"), False),
            (("event", "id"), False),
            (("subject", "id"), False),
        )

    @classmethod
    def append(
        cls,
        key: bytes,
        event: str,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Self:
        """Add the next row of the chain; in the transaction of what it tells, when there is one."""
        with transaction():
            if not on_sqlite():  # where a transaction locks out other writers anyway
                database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (CHAIN_LOCK,))
            last = cls.select(cls.id, cls.hash).order_by(cls.id.desc()).first()
            fields = {name: _storable(value) for name, value in fields.items()}
            row = cls(
                id=last.id + 1 if last else 1,
                at=now(),
                event=event,
                before=_as_json(before),
                after=_as_json(after),
                **fields,
            )
            row.hash = row.sealed(key, bytes(last.hash) if last else START)
            row.save(force_insert=True)
            return row

    @classmethod
    def head(cls) -> int:
        """The id of the latest row; 0 when there is none."""
        last = cls.select(cls.id).order_by(cls.id.desc()).first()
        return last.id if last else 0

    @classmethod
    def was_told(cls, application_id: int, event: str, after: dict[str, Any]) -> bool:
        """Whether an application's latest events say the same within a day."""
        latest = cls.select().where(cls.application_id == application_id)
        same = (event, _as_json(after))
        return any(
            row.at > now() - DAY and (row.event, row.after) == same
            for row in latest.order_by(cls.id.desc()).limit(LOOKED_BACK)
        )

    def sealed(self, key: bytes, previous: bytes, *, whole: bool = True) -> bytes:
        """The seal that this row must have after a row with the seal `previous`.

        Not `whole`: as bursts of refusals were sealed once, without the columns that are NULL.
        """
        # Every column, also one that was not given: as the row reads when it comes back.
        names = type(self)._meta.sorted_field_names
        told = {name: getattr(self, name) for name in names if name != "hash"}
        if not whole:
            told = {name: value for name, value in told.items() if value is not None}
        text = json.dumps(told, sort_keys=True, ensure_ascii=False)
        return hmac.digest(key, previous + text.encode("utf-8", "replace"), SEAL)

    def fits(self, key: bytes, previous: bytes) -> bool:
        """Whether the row is as it was written after a row with the seal `previous`."""
        found = bytes(self.hash)
        return any(
            hmac.compare_digest(self.sealed(key, previous, whole=whole), found)
            for whole in (True, False)
        )

    @classmethod
    def check(cls, key: bytes, on_row: Callable[[int], None] = lambda row_id: None) -> "Checked":
        """Go through the whole chain: what does not fit is told, and the next goes on from it."""
        broken: list[tuple[int, int]] = []
        last = None
        for row in cls.in_order():
            expected, previous = (last.id + 1, bytes(last.hash)) if last else (1, START)
            if row.id != expected or not row.fits(key, previous):
                first = min(expected, row.id)
                if broken and broken[-1][1] == expected - 1:  # the row before did not fit, either
                    first, _ = broken.pop()
                broken.append((first, row.id))
            last = row
            on_row(row.id)
        return Checked(broken, last)

    @classmethod
    def in_order(
        cls, which: Callable[[Any], Any] = lambda rows: rows, *, newest_first: bool = False
    ) -> Iterator[Self]:
        """All rows, or those that `which` leaves of a query, however many: `CHUNK` at a time."""
        order, last = (cls.id.desc() if newest_first else cls.id), None
        while True:
            rows = which(cls.select()).order_by(order).limit(CHUNK)
            if last is not None:
                rows = rows.where(cls.id < last if newest_first else cls.id > last)
            found = list(rows)
            yield from found
            if len(found) < CHUNK:
                return
            last = found[-1].id

    @property
    def seal(self) -> str:
        """How the row's seal begins, to be kept elsewhere."""
        return bytes(self.hash).hex()[:SEAL_LENGTH]


class Checked(NamedTuple):
    """From and to which rows one is missing or was changed, and the last row of all."""

    broken: list[tuple[int, int]]
    last: AuditEvent | None


def _as_json(values: dict[str, Any] | None) -> str:
    text: str = _storable(json.dumps(values or {}, ensure_ascii=False))
    return text


def _storable(value: Any) -> Any:
    """Text as every database takes and returns it: no NUL, no half of a character."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
