"""What was refused and why, for the operator: coalesced, counted, and bounded.

A row holds what was sent, cut short, and never a secret. One cause is one row however often it
happens, and an application keeps at most `ROWS_EACH` rows, so that nobody can fill the disk.
"""

from typing import Self

from peewee import BigIntegerField, IntegerField, Ordering, TextField

from portal.clock import now
from portal.credentials import hash_secret, make_reference
from portal.models.base import EpochField, IdField, Record

ROWS_EACH = 50
DETAIL_LENGTH = 500
#: In place of an application's id when the client ID is nobody's.
NOBODY = 0


class Refusal(Record):
    """One cause of refusals at one application."""

    id = IdField()
    application_id = BigIntegerField()
    reason = TextField()
    detail = TextField(default="")
    #: Tells rows of one application and reason apart.
    key = TextField()
    reference = TextField(unique=True, default=make_reference)
    count = IntegerField(default=1)
    first_at = EpochField(default=now)
    last_at = EpochField(default=now)

    class Meta:
        indexes = (
            (("application_id", "reason", "key"), True),
            (("application_id", "last_at"), False),
            (("last_at", "application_id"), False),  # whose were refused today
        )

    @classmethod
    def note(cls, application_id: int | None, reason: str, detail: str = "") -> str:
        """Count a refusal; returns the reference that the person may quote."""
        return cls.counted(application_id, reason, detail).reference

    @classmethod
    def counted(cls, application_id: int | None, reason: str, detail: str = "") -> Self:
        """Count a refusal; the row has its `reference` and `count`."""
        owner, moment = application_id or NOBODY, now()
        # What came as JSON may hold half a character, which no database takes.
        detail = detail[:DETAIL_LENGTH].replace("\0", "�").encode("utf-8", "replace").decode()
        key = hash_secret(detail).hex()[:16]
        rows = (
            cls.insert(
                application_id=owner,
                reason=reason,
                detail=detail,
                key=key,
                first_at=moment,
                last_at=moment,
            )
            .on_conflict(
                conflict_target=[cls.application_id, cls.reason, cls.key],
                update={cls.count: cls.count + 1, cls.last_at: moment},
            )
            .returning(cls.reference, cls.count)
            .execute()
        )
        row = next(iter(rows))
        if row.count == 1:
            cls._forget_old(owner)
        return row

    @classmethod
    def _forget_old(cls, application_id: int) -> None:
        mine = cls.application_id == application_id
        kept = cls.select(cls.id).where(mine).order_by(*cls._latest_first()).limit(ROWS_EACH)
        cls.delete().where(mine, cls.id.not_in(kept)).execute()

    @classmethod
    def of(cls, application_id: int, limit: int = 10) -> list[Self]:
        """An application's refusals, the latest first."""
        return list(
            cls.select()
            .where(cls.application_id == application_id)
            .order_by(*cls._latest_first())
            .limit(limit)
        )

    @classmethod
    def _latest_first(cls) -> tuple[Ordering, Ordering]:
        return cls.last_at.desc(), cls.id.desc()  # within one second the id tells
