"""Secrets that were sent under another application's client ID: coalesced, counted, bounded."""

from typing import Any

from peewee import BigIntegerField, ForeignKeyField, IntegerField, TextField, Value

from portal.clock import now
from portal.models.application import ApplicationSecret
from portal.models.base import EpochField, IdField, Record

#: So long it is told, unless an administrator is done with it before.
TOLD_SECONDS = 7 * 24 * 60 * 60
#: Of each secret, the latest.
ROWS_EACH = 20


class MisusedSecret(Record):
    """A secret of one application, sent for another one."""

    id = IdField()
    secret = ForeignKeyField(ApplicationSecret, on_delete="CASCADE", index=False)
    #: The application whose client ID was sent with it.
    named_id = BigIntegerField(index=True)
    #: Where it came from last; "" when not known.
    network = TextField(default="")
    count = IntegerField(default=1)
    first_at = EpochField(default=now)
    last_at = EpochField(default=now, index=True)

    class Meta:
        indexes = ((("secret", "named_id"), True),)

    @classmethod
    def note(cls, secret_id: int, named_id: int, network: str) -> None:
        """Count that this secret was sent with that application's client ID."""
        moment = now()
        rows = (
            cls.insert(
                secret=secret_id,
                named_id=named_id,
                network=network,
                first_at=moment,
                last_at=moment,
            )
            .on_conflict(
                conflict_target=[cls.secret, cls.named_id],
                update={cls.count: cls.count + 1, cls.last_at: moment, cls.network: network},
            )
            .returning(cls.count)
            .execute()
        )
        if next(iter(rows)).count == 1:
            mine = cls.secret == secret_id
            kept = cls.select(cls.id).where(mine).order_by(cls.last_at.desc(), cls.id.desc())
            cls.delete().where(mine, cls.id.not_in(kept.limit(ROWS_EACH))).execute()

    @classmethod
    def lately(cls, moment: int | Value, *columns: Any) -> Any:
        """A query with these columns of what happened lately, with the secrets that still work."""
        secret = ApplicationSecret
        return (
            cls.select(*columns)
            .join(secret)
            .where(
                cls.last_at > moment - TOLD_SECONDS,
                secret.retired_at.is_null(),
                secret.expires_at.is_null() | (secret.expires_at > moment),
            )
        )
