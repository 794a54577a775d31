"""Tokens: flat rows found by their time-ordered id, checked by the hash of their secret.

A *family* is what follows from one decision of a person at one application (one code, one
device code): at most one live refresh token, and every access token made with it.
"""

from typing import Any, Self

from peewee import BigIntegerField, BlobField, IntegerField, TextField

from portal.clock import now
from portal.models.base import EpochField, IdField, Record, WordsField

#: How many rotations a family remembers with time and network.
KEPT_ROTATIONS = 10


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
    #: How it started, and its last rotations; see `remember`. None in rows of before.
    history = WordsField(null=True)
    #: When an old refresh token ended it: what that looked like, the network that sent it, and
    #: how many seconds after that token had been replaced (None: not known any more).
    ended_verdict = TextField(null=True)
    ended_from = TextField(null=True)
    ended_late = IntegerField(null=True)

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
    def end_reused(cls, family_id: int, verdict: str, network: str, late: int | None) -> bool:
        """End one family since an old refresh token came, and keep what is known about it."""
        return (
            cls.update(
                ended_at=now(),
                ended_reason="refresh_reused",
                ended_verdict=verdict,
                ended_from=network,
                ended_late=late,
            )
            .where(cls.id == family_id, cls.ended_at.is_null())
            .execute()
            == 1
        )

    @classmethod
    def owned(cls, family_id: int, application_id: int) -> Self | None:
        return cls.get_or_none(cls.id == family_id, cls.application_id == application_id)


#: Few families end so: the pages about them look here instead of at all of them.
TokenFamily.add_index(
    TokenFamily.index(
        TokenFamily.application_id,
        TokenFamily.ended_at,
        where=TokenFamily.ended_verdict.is_null(False),
        name="token_family_reused",
    )
)


def beginning(flow: str, network: str) -> str:
    """A family's history when it starts: `code@203.0.113.0/24`."""
    return f"{flow}@{network}"


def remember(history: str | None, moment: int, network: str) -> str:
    """The history with one rotation more (`1732470000@203.0.113.0/24`): the last ten stay."""
    start, *rotations = (history or "@").split()
    return " ".join([start, *rotations[1 - KEPT_ROTATIONS :], f"{moment}@{network}"])


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
