"""Tokens: flat rows found by their time-ordered id, checked by the hash of their secret.

A *family* is what follows from one decision of a person at one application (one code, one
device code): at most one live refresh token, and every access token made with it.
"""

from typing import Any, Self

from peewee import BigIntegerField, BlobField, IntegerField, TextField

from portal.clock import now
from portal.models.base import EpochField, IdField, Record, WordsField


class TokenFamily(Record):
    """One line of tokens. Ending it kills all of them at the next request.

    The refresh token rotates inside the row: `refresh_hash` is the live one, `previous_hash`
    the one before, which gets the same answer for a few seconds (see `RefreshTokenGrant`).
    """

    id = IdField()
    application_id = BigIntegerField()
    user_id = BigIntegerField()
    #: The application's epoch at the start: disabling it raises the epoch (see Application).
    epoch = IntegerField()
    scopes = WordsField()
    refresh_hash = BlobField(null=True)
    previous_hash = BlobField(null=True)
    rotated_at = EpochField(null=True)
    rotations = IntegerField(default=0)
    auth_time = EpochField()
    session_id = BigIntegerField(null=True)
    #: Claims asked for by name, and the resource servers that the tokens are for.
    claims = TextField(null=True)
    resources = WordsField(default=list)
    created_at = EpochField(default=now)
    last_used_at = EpochField(default=now)
    expires_at = EpochField(index=True)
    ended_at = EpochField(null=True)
    ended_reason = TextField(null=True)

    class Meta:
        # The ids tell whether somebody signed in since a moment.
        indexes = ((("user_id", "application_id"), False), (("application_id", "id"), False))

    @classmethod
    def end_all(cls, reason: str, which: Any) -> int:
        """End the live families that match; returns how many."""
        return (
            cls.update(ended_at=now(), ended_reason=reason)
            .where(which, cls.ended_at.is_null())
            .execute()
        )

    @classmethod
    def end_one(cls, reason: str, family_id: int) -> bool:
        """End one family; False when it had ended."""
        return cls.end_all(reason, cls.id == family_id) == 1

    @classmethod
    def owned(cls, family_id: int, application_id: int) -> Self | None:
        return cls.get_or_none(cls.id == family_id, cls.application_id == application_id)


class AccessToken(Record):
    """An opaque access token. No index but the id: an insert costs the same at any size."""

    id = IdField()
    hash = BlobField()
    application_id = BigIntegerField()
    epoch = IntegerField()
    #: None when the application acts for itself (client credentials).
    family_id = BigIntegerField(null=True)
    user_id = BigIntegerField(null=True)
    scopes = WordsField()
    #: The resource servers that the token is for (RFC 8707); none: the portal itself.
    resources = WordsField(default=list)
    created_at = EpochField()
    expires_at = EpochField()

    @classmethod
    def revoke(cls, token_id: int) -> bool:
        """Revoke one token; False when it was gone."""
        return cls.delete().where(cls.id == token_id).execute() == 1
