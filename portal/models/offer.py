"""Applications offered to somebody else: whoever is asked becomes the owner by accepting."""

from typing import Self

from peewee import BigIntegerField, TextField

from portal.clock import now
from portal.database import transaction
from portal.models.base import EpochField, Record

REASON_LENGTH = 300

#: What became of an offer.
OPEN, DECLINED, VOID = "open", "declined", "void"


class Offer(Record):
    """The latest offer of one application. Until it is accepted, its owner stays the owner."""

    application_id = BigIntegerField(primary_key=True)
    #: Who owns it, and who is asked.
    owner_id = BigIntegerField(index=True)
    heir_id = BigIntegerField()
    state = TextField(default=OPEN)
    #: Why it was declined; may be empty.
    reason = TextField(default="")
    offered_at = EpochField(default=now)
    answered_at = EpochField(null=True)

    class Meta:
        indexes = ((("heir_id", "state", "application_id"), False),)

    @classmethod
    def of(cls, application_id: int) -> Self | None:
        return cls.get_or_none(cls.application_id == application_id)

    @classmethod
    def make(cls, application_id: int, owner_id: int, heir_id: int) -> bool:
        """Offer it, in place of any former offer; False when this very offer is open already."""
        with transaction():
            mine = cls.application_id == application_id
            same = mine & (cls.owner_id == owner_id) & (cls.heir_id == heir_id)
            if cls.select().where(same, cls.state == OPEN).exists():
                return False
            fresh = {
                cls.owner_id: owner_id,
                cls.heir_id: heir_id,
                cls.state: OPEN,
                cls.reason: "",
                cls.offered_at: now(),
                cls.answered_at: None,
            }
            cls.insert({cls.application_id: application_id, **fresh}).on_conflict(
                conflict_target=[cls.application_id], update=fresh
            ).execute()
        return True

    @classmethod
    def take(cls, application_id: int, heir_id: int) -> bool:
        """Use an open offer up; False when it is open no more, or somebody else's."""
        return cls.delete().where(cls._open(application_id, heir_id)).execute() == 1

    @classmethod
    def decline(cls, application_id: int, heir_id: int, reason: str) -> bool:
        """Answer no; False when there is nothing to answer any more."""
        answer = {cls.state: DECLINED, cls.reason: reason, cls.answered_at: now()}
        return cls.update(answer).where(cls._open(application_id, heir_id)).execute() == 1

    @classmethod
    def withdraw(cls, application_id: int) -> None:
        """Forget it: somebody else decided who owns the application."""
        cls.delete().where(cls.application_id == application_id).execute()

    @classmethod
    def give_back(cls, owner_id: int) -> int:
        """The owner is there again: forget what was not accepted; how many were still open."""
        with transaction():
            mine = cls.owner_id == owner_id
            count: int = cls.select().where(mine, cls.state == OPEN).count()
            cls.delete().where(mine).execute()
        return count

    @classmethod
    def end_all(cls, heir_id: int) -> None:
        """Nobody can accept any more what was offered to this person."""
        void = {cls.state: VOID, cls.answered_at: now()}
        cls.update(void).where(cls.heir_id == heir_id, cls.state == OPEN).execute()

    @classmethod
    def open_count(cls, heir_id: int) -> int:
        """How many offers wait for this person's answer."""
        count: int = cls.select().where(cls.heir_id == heir_id, cls.state == OPEN).count()
        return count

    @classmethod
    def _open(cls, application_id: int, heir_id: int):  # type: ignore[no-untyped-def]
        mine = (cls.application_id == application_id) & (cls.heir_id == heir_id)
        return mine & (cls.state == OPEN)
