"""Logout notices: what an application must still hear of; tried again, shown on its page."""

from contextvars import ContextVar
from typing import Any, Self

from peewee import BigIntegerField, IntegerField, TextField

from portal.clock import now
from portal.models.base import EpochField, IdField, Record
from portal.models.token import TokenFamily

#: How long to wait before each new try; after the last the application has to notice by itself.
PAUSES = (60, 300, 3600, 6 * 3600, 24 * 3600)
SHOWN = 10

#: The notices that this thread has stored and nobody has tried to send yet.
_fresh: ContextVar[tuple[int, ...]] = ContextVar("fresh logout notices", default=())


class LogoutDelivery(Record):
    """One logout that one application must still hear of (Back-Channel Logout §2.5).

    It is stored in the transaction that ends the session. Whoever stored it tries at once (see
    `portal.oauth.backchannel`), and the sweep tries again.
    """

    id = IdField()
    application_id = BigIntegerField(index=True)
    sub = TextField()
    sid = BigIntegerField()
    tries = IntegerField(default=0)
    last_error = TextField(default="")
    created_at = EpochField(default=now)
    next_at = EpochField(default=lambda: now() + PAUSES[0])

    @classmethod
    def store(cls, user_id: int, sids: list[int]) -> None:
        """A notice for each application that got ID tokens of a person in these sessions."""
        # They import sessions, which store these.
        from portal.models.application import Application
        from portal.models.user import User

        families: Any = (
            TokenFamily.select(
                TokenFamily.application_id, TokenFamily.session_id, TokenFamily.scopes, User.sub
            )
            .join(Application, on=(Application.id == TokenFamily.application_id))
            .join(User, on=(User.id == TokenFamily.user_id))
            .where(
                TokenFamily.user_id == user_id,
                TokenFamily.session_id.in_(sids),
                Application.backchannel_logout_uri != "",
                Application.disabled_at.is_null(),
            )
            .tuples()
        )
        told = {(app, sid, sub) for app, sid, scopes, sub in families if "openid" in scopes}
        for application_id, sid, sub in sorted(told):
            notice = cls.create(application_id=application_id, sub=sub, sid=sid)
            _fresh.set((*_fresh.get(), notice.id))

    @classmethod
    def take_fresh(cls) -> list[Self]:
        """What this thread stored and has not tried to send; nobody else gets it."""
        ids = _fresh.get()
        if not ids:
            return []
        _fresh.set(())
        return list(cls.select().where(cls.id.in_(ids)))

    @classmethod
    def take_due(cls, limit: int = 20) -> list[Self]:
        """The notices whose time has come, the oldest first; two runs never get the same."""
        waiting = cls.select().where(cls.next_at <= now(), cls.tries <= len(PAUSES))
        return [row for row in waiting.order_by(cls.next_at).limit(limit) if row._claim()]

    def _claim(self) -> bool:
        same = (LogoutDelivery.id == self.id) & (LogoutDelivery.next_at == self.next_at)
        later = {LogoutDelivery.next_at: now() + PAUSES[0]}
        return LogoutDelivery.update(later).where(same).execute() == 1

    @classmethod
    def failing(cls, application_id: int) -> list[Self]:
        """What an application has not taken, the newest first."""
        rows = cls.select().where(cls.application_id == application_id, cls.tries > 0)
        return list(rows.order_by(cls.created_at.desc(), cls.id.desc()).limit(SHOWN))

    @property
    def is_given_up(self) -> bool:
        return self.tries > len(PAUSES)

    def failed(self, error: str) -> None:
        """Note a failure and when to try again."""
        pause = PAUSES[min(self.tries, len(PAUSES) - 1)]
        LogoutDelivery.update(
            tries=self.tries + 1, last_error=error[:200], next_at=now() + pause
        ).where(LogoutDelivery.id == self.id).execute()
