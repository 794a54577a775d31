"""Device codes: a device polls, a person decides (RFC 8628)."""

from typing import Any, Self

from peewee import BigIntegerField, BlobField, IntegerField, IntegrityError, TextField

from portal.clock import now
from portal.credentials import (
    DEVICE_CODE,
    USER_CODE_LETTERS,
    format_token,
    hash_secret,
    make_secret,
    make_user_code,
    new_id,
)
from portal.models.base import EpochField, IdField, Record, WordsField

POLL_SECONDS = 5


class DeviceCode(Record):
    """A device's request. Its id becomes the id of the token family that it starts."""

    id = IdField()
    hash = BlobField()
    user_code = TextField(unique=True)
    application_id = BigIntegerField()
    epoch = IntegerField()
    #: What the device asked for; after the decision, what the person granted.
    scopes = WordsField()
    resources = WordsField(default=list)
    interval = IntegerField(default=POLL_SECONDS)
    last_poll_at = EpochField(null=True)
    created_at = EpochField(default=now)
    expires_at = EpochField()
    user_id = BigIntegerField(null=True)
    auth_time = EpochField(null=True)
    session_id = BigIntegerField(null=True)
    approved_at = EpochField(null=True)
    denied_at = EpochField(null=True)
    used_at = EpochField(null=True)

    @classmethod
    def start(
        cls,
        application_id: int,
        epoch: int,
        scopes: list[str],
        seconds: int,
        resources: list[str] | None = None,
    ) -> tuple[Self, str]:
        """A new request; returns the row and the device code, which leaves once."""
        secret, row_id = make_secret(), new_id()
        for attempt in range(5):
            try:
                row = cls.create(
                    id=row_id,
                    hash=hash_secret(secret),
                    user_code=make_user_code(),
                    application_id=application_id,
                    epoch=epoch,
                    scopes=scopes,
                    resources=resources or [],
                    expires_at=now() + seconds,
                )
            except IntegrityError:  # two devices with the same eight letters
                if attempt == 4:
                    raise
            else:
                break
        return row, format_token(DEVICE_CODE, row_id, secret)

    @classmethod
    def pending(cls, typed: str) -> Self | None:
        """The undecided request with this user code, typed in any case, with or without hyphen."""
        return cls.get_or_none(
            cls.user_code == letters_of(typed),
            cls.expires_at > now(),
            cls.approved_at.is_null(),
            cls.denied_at.is_null(),
            cls.used_at.is_null(),
        )

    @classmethod
    def decided(cls, typed: str, user_id: int) -> Self | None:
        """The request with this user code that this person decided on, until the code expires."""
        return cls.get_or_none(
            cls.user_code == letters_of(typed),
            cls.user_id == user_id,
            cls.expires_at > now(),
            cls.approved_at.is_null(False) | cls.denied_at.is_null(False),
        )

    @property
    def shown_code(self) -> str:
        return f"{self.user_code[:4]}-{self.user_code[4:]}"

    def decide(
        self, user_id: int, auth_time: int, session_id: int, granted: list[str] | None
    ) -> bool:
        """Record a person's decision (None denies), once; False when it had been taken."""
        moment = "denied_at" if granted is None else "approved_at"
        return (
            DeviceCode.update(
                {
                    moment: now(),
                    "user_id": user_id,
                    "auth_time": auth_time,
                    "session_id": session_id,
                    "scopes": granted or [],
                }
            )
            .where(
                DeviceCode.id == self.id,
                DeviceCode.approved_at.is_null(),
                DeviceCode.denied_at.is_null(),
                DeviceCode.used_at.is_null(),
                DeviceCode.expires_at > now(),
            )
            .execute()
            == 1
        )

    @classmethod
    def withdraw_all(cls, which: Any) -> int:
        """Withdraw the unused codes that match (their expiry becomes 0); returns how many."""
        return cls.update(used_at=now(), expires_at=0).where(which, cls.used_at.is_null()).execute()


def letters_of(typed: str) -> str:
    """The letters of a user code, however somebody typed it."""
    return "".join(c for c in typed.upper() if c in USER_CODE_LETTERS)
