"""Signed-in browsers, as rows: a session that is deleted here is dead everywhere."""

from contextlib import suppress
from typing import Self

from peewee import BigIntegerField, BlobField, OperationalError, TextField

from portal.clock import now
from portal.credentials import hash_secret, make_secret, new_id
from portal.database import transaction
from portal.models.base import EpochField, IdField, Record
from portal.models.logout_delivery import LogoutDelivery

SESSION_SECONDS = 14 * 24 * 60 * 60
IDLE_SECONDS = 24 * 60 * 60
SEEN_SECONDS = 60

#: The word to look for in a User-Agent header and what to call it; the first found counts,
#: since Edge and Opera also say Chrome, Chrome also says Safari, and Android says Linux.
BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


class Session(Record):
    """One signed-in browser. The cookie holds the secret, the row its hash."""

    id = IdField()
    hash = BlobField(unique=True)
    user_id = BigIntegerField(index=True)
    #: What ID tokens call the session; it stays when the person signs in again in between.
    sid = BigIntegerField(default=new_id)
    auth_time = EpochField(default=now)
    created_at = EpochField(default=now)
    last_seen_at = EpochField(default=now)
    expires_at = EpochField()
    address = TextField(default="")
    user_agent = TextField(default="")

    @classmethod
    def start(
        cls, user_id: int, address: str, user_agent: str, sid: int | None = None
    ) -> tuple[Self, str]:
        """A new session; returns the row and the secret for the cookie, which leaves once."""
        secret = make_secret()
        row = cls.create(
            hash=hash_secret(secret),
            user_id=user_id,
            sid=sid or new_id(),
            expires_at=now() + SESSION_SECONDS,
            address=address[:64],
            user_agent=user_agent[:256].replace("\0", ""),
        )
        return row, secret

    @property
    def browser(self) -> str:
        """The browser in words: `Firefox on Linux`, `Unknown browser`."""
        browser = next((name for word, name in BROWSERS if word in self.user_agent), "")
        system = next((name for word, name in SYSTEMS if word in self.user_agent), "")
        if browser and system:
            return f"{browser} on {system}"
        return browser or (f"A browser on {system}" if system else "Unknown browser")

    @property
    def is_expired(self) -> bool:
        return now() >= min(self.expires_at, self.last_seen_at + IDLE_SECONDS)

    def see(self) -> None:
        """Note that the session was used; at most once a minute, and only if it can be noted."""
        # Also after the clock was set back, when it was seen in the future.
        if abs(now() - self.last_seen_at) >= SEEN_SECONDS:
            self.last_seen_at = now()
            with suppress(OperationalError):
                Session.update(last_seen_at=now()).where(Session.id == self.id).execute()

    @classmethod
    def of(cls, user_id: int) -> list[Self]:
        """A person's live sessions, the newest first."""
        rows = cls.select().where(cls.user_id == user_id).order_by(cls.last_seen_at.desc())
        return [row for row in rows if not row.is_expired]

    @classmethod
    def end(
        cls,
        user_id: int,
        session_id: int | None = None,
        keep: int | None = None,
        *,
        goes_on: bool = False,
    ) -> int:
        """End one session of a person, or all of them (but `keep`); returns how many.

        The applications that signed the person in from them get a notice, unless the sign-in
        `goes_on` in another session.
        """
        which = cls.user_id == user_id
        if session_id is not None:
            which &= cls.id == session_id
        if keep is not None:
            which &= cls.id != keep
        with transaction():
            if not goes_on:
                sids = [row.sid for row in cls.select(cls.sid).where(which)]
                LogoutDelivery.store(user_id, sids)
            return cls.delete().where(which).execute()
