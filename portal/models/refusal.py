"""What was refused and why, for the operator: coalesced, counted, and bounded.

A row holds what was sent, cut short, and never a secret. One cause is one row however often it
happens, and an application keeps at most `ROWS_EACH` rows and the last `TOLD_EACH` that its owner
was told of, so that nobody can fill the disk.
"""

from collections.abc import Iterable
from typing import Self

from peewee import BigIntegerField, IntegerField, Ordering, TextField

from portal.clock import now
from portal.credentials import hash_secret, make_reference
from portal.models.base import EpochField, IdField, Record

ROWS_EACH = 50
#: A stranger who floods the log does not wash away what people asked for help with.
TOLD_EACH = 10
TOLD_AGAIN_SECONDS = 60 * 60
#: So long a notice stays, unless an administrator is done with it before.
NOTICE_SECONDS = 7 * 24 * 60 * 60
DETAIL_LENGTH = 500
#: In place of an application's id when the client ID is nobody's.
NOBODY = 0
#: The reason that any link brings about: somebody is sent to sign in where nobody can.
CODE_FLOW_OFF = "grant_code_off"


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
    #: When somebody who met it last had the owner told; None when that is settled, too.
    told_at = EpochField(null=True, index=True)

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
        told = cls.select(cls.id).where(mine, cls.told_at.is_null(False))
        told = told.order_by(cls.told_at.desc(), cls.id.desc()).limit(TOLD_EACH)
        cls.delete().where(mine, cls.id.not_in(kept), cls.id.not_in(told)).execute()

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
    def latest(cls, limit: int) -> list[Self]:
        """The refusals of all applications and of nobody's, the latest first."""
        return list(cls.select().order_by(*cls._latest_first()).limit(limit))

    @classmethod
    def with_reference(cls, reference: str) -> Self | None:
        """The refusal with this reference as a person types it: any case, spaces, hyphens."""
        plain = "".join(letter for letter in reference.upper() if letter.isalnum())
        return cls.get_or_none(cls.reference == plain) if 0 < len(plain) <= 20 else None

    # Telling the owner

    def tell(self) -> bool:
        """Whether the owner is to be told now: at most once an hour, whoever asks how often."""
        due = Refusal.told_at.is_null() | (Refusal.told_at <= now() - TOLD_AGAIN_SECONDS)
        told = Refusal.update(told_at=now()).where(Refusal.id == self.id, due)
        return bool(told.execute())

    def settle(self) -> None:
        """Take the notice away: somebody has seen to it."""
        self.told_at = None
        Refusal.update(told_at=None).where(Refusal.id == self.id).execute()

    @classmethod
    def told(cls, application_ids: Iterable[int] | None = None, limit: int = 20) -> list[Self]:
        """What owners were told of lately, the latest first: of these applications or of all."""
        asked = cls.select().where(cls.told_at > now() - NOTICE_SECONDS)
        if application_ids is not None:
            asked = asked.where(cls.application_id.in_(list(application_ids)))
        return list(asked.order_by(cls.told_at.desc(), cls.id.desc()).limit(limit))

    @classmethod
    def told_within_the_hour(cls, application_id: int) -> int:
        """How many notices an application's owner got within an hour."""
        lately = cls.told_at > now() - TOLD_AGAIN_SECONDS
        return cls.select().where(cls.application_id == application_id, lately).count()

    @classmethod
    def _latest_first(cls) -> tuple[Ordering, Ordering]:
        return cls.last_at.desc(), cls.id.desc()  # within one second the id tells
