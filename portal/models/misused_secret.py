"""Secrets that were sent under another application's client ID: coalesced, counted, bounded."""

from typing import Any

from peewee import BigIntegerField, ForeignKeyField, IntegerField, TextField, Value

from portal.clock import now
from portal.credentials import new_id
from portal.models.application import ApplicationSecret
from portal.models.base import EpochField, IdField, Record
from portal.models.compiled import Compiled, slot

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


def _note() -> Any:
    it, table = ApplicationSecret, MisusedSecret
    names = "named_id", "network", "count", "now", "now"
    # Nothing when the secret has been deleted meanwhile.
    select = it.select(slot("row_id"), it.id, *(slot(name) for name in names))
    fields = [
        table.id,
        table.secret,
        table.named_id,
        table.network,
        table.count,
        table.first_at,
        table.last_at,
    ]
    return table.insert_from(select.where(it.id == slot("id")), fields=fields).on_conflict(
        conflict_target=[table.secret, table.named_id],
        preserve=[table.network, table.last_at],
        update={table.count: table.count + slot("count")},
    )


def _forget() -> Any:
    it, mine = MisusedSecret, MisusedSecret.secret == slot("id")
    kept = it.select(it.id).where(mine).order_by(it.last_at.desc(), it.id.desc())
    return it.delete().where(mine, it.id.not_in(kept.limit(ROWS_EACH)))


_NOTE, _FORGET = Compiled(_note), Compiled(_forget)


def note_misuses(notes: list[tuple[int, int, int, str, int]]) -> None:
    """Count that secrets were sent for other applications.

    Each by the secret's id, the id of the application that was named, how often, from where and
    when.
    """
    names = "id", "named_id", "count", "network", "now"
    rows = [dict(zip(names, note, strict=True)) for note in notes]
    _NOTE.run_each([{**row, "row_id": new_id()} for row in rows])
    _FORGET.run_each([{"id": secret_id} for secret_id in sorted({note[0] for note in notes})])
