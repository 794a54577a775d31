"""The audit log: who did what to what; rows are only ever added, each sealed with the one before.

The seal is keyed, so whoever can write to the database alone cannot make the chain fit again.
"""

import hmac
import json
from collections.abc import Iterator
from typing import Any, Self

from peewee import BigIntegerField, BlobField, TextField

from portal.clock import now
from portal.database import database, on_sqlite, transaction
from portal.models.base import EpochField, Record

#: One number that all writers agree on, for PostgreSQL's advisory lock.
CHAIN_LOCK = 7_067_419
#: What the first row is sealed with.
START = b""
SEAL = "sha256"


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
            (("person_id", "id"), False),
            (("actor_id", "id"), False),
            (("event", "id"), False),
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

    def sealed(self, key: bytes, previous: bytes) -> bytes:
        """The seal that this row must have after a row with the seal `previous`."""
        told = {name: value for name, value in self.__data__.items() if name != "hash"}
        text = json.dumps(told, sort_keys=True, ensure_ascii=False)
        return hmac.digest(key, previous + text.encode("utf-8", "replace"), SEAL)

    @classmethod
    def first_broken(cls, key: bytes) -> int | None:
        """The id of the first row that is missing or was changed; None when all is as it was."""
        previous = START
        expected = 1
        for row in cls._in_order():
            if row.id != expected or not hmac.compare_digest(
                row.sealed(key, previous), bytes(row.hash)
            ):
                return expected
            previous, expected = bytes(row.hash), expected + 1
        return None

    @classmethod
    def _in_order(cls) -> Iterator[Self]:
        yield from cls.select().order_by(cls.id).iterator()


def _as_json(values: dict[str, Any] | None) -> str:
    return json.dumps(values or {}, ensure_ascii=False)
