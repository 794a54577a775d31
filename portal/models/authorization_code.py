"""Authorisation codes: one redemption, a minute to live (RFC 6749 §4.1.2)."""

from typing import Any

from peewee import BigIntegerField, BlobField, IntegerField, TextField

from portal.clock import now
from portal.models.base import EpochField, IdField, Record, WordsField


class AuthorizationCode(Record):
    """A code. Its id becomes the id of the token family that it starts."""

    id = IdField()
    hash = BlobField()
    application_id = BigIntegerField()
    epoch = IntegerField()
    user_id = BigIntegerField()
    #: As sent in the request; None when the request named none.
    redirect_uri = TextField(null=True)
    scopes = WordsField()
    code_challenge = TextField(null=True)
    nonce = TextField(null=True)
    claims = TextField(null=True)
    resources = WordsField(default=list)
    auth_time = EpochField()
    session_id = BigIntegerField(null=True)
    created_at = EpochField(default=now)
    expires_at = EpochField()
    used_at = EpochField(null=True)

    @classmethod
    def withdraw_all(cls, which: Any) -> int:
        """Withdraw the unused codes that match (their expiry becomes 0); returns how many."""
        return cls.update(used_at=now(), expires_at=0).where(which, cls.used_at.is_null()).execute()
