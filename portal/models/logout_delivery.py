"""Logout tokens that an application has not taken yet: tried again later, shown on its page."""

from typing import Self

from peewee import BigIntegerField, IntegerField, TextField

from portal.clock import now
from portal.models.base import EpochField, IdField, Record

#: How long to wait after each failure; then the application has to notice by itself.
PAUSES = (60, 300, 3600, 6 * 3600, 24 * 3600)


class LogoutDelivery(Record):
    """One logout that one application must still hear of (Back-Channel Logout §2.5)."""

    id = IdField()
    application_id = BigIntegerField(index=True)
    sub = TextField()
    sid = BigIntegerField()
    tries = IntegerField(default=0)
    last_error = TextField(default="")
    created_at = EpochField(default=now)
    next_at = EpochField(default=now)

    @classmethod
    def due(cls, limit: int = 20) -> list[Self]:
        """The deliveries whose time has come, the oldest first."""
        waiting = cls.select().where(cls.next_at <= now(), cls.tries < len(PAUSES))
        return list(waiting.order_by(cls.next_at).limit(limit))

    @classmethod
    def failing(cls, application_id: int) -> list[Self]:
        """What an application has not taken, the newest first."""
        rows = cls.select().where(cls.application_id == application_id, cls.tries > 0)
        return list(rows.order_by(cls.created_at.desc()).limit(10))

    def failed(self, error: str) -> None:
        """Note a failure and when to try again."""
        pause = PAUSES[min(self.tries, len(PAUSES) - 1)]
        LogoutDelivery.update(
            tries=self.tries + 1, last_error=error[:200], next_at=now() + pause
        ).where(LogoutDelivery.id == self.id).execute()
