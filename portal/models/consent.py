"""What people allowed: one row a person and application."""

from typing import Self

from peewee import BigIntegerField

from portal.clock import now
from portal.database import transaction
from portal.models.authorization_code import AuthorizationCode
from portal.models.base import EpochField, IdField, Record, WordsField
from portal.models.compiled import Compiled, load, slot
from portal.models.device_code import DeviceCode
from portal.models.token import TokenFamily


class Consent(Record):
    """The scopes that a person allowed an application, remembered for the next time."""

    id = IdField()
    user_id = BigIntegerField()
    application_id = BigIntegerField(index=True)
    scopes = WordsField()
    granted_at = EpochField(default=now)
    updated_at = EpochField(default=now)

    class Meta:
        indexes = ((("user_id", "application_id"), True),)

    @classmethod
    def of(cls, user_id: int, application_id: int) -> Self | None:
        found = _OF.run(user_id=user_id, application_id=application_id).fetchone()
        return load(cls, found) if found else None

    @classmethod
    def give(cls, user_id: int, application_id: int, granted: list[str], asked: list[str]) -> None:
        """Remember the decision: `granted` of what was `asked`; earlier answers stay."""
        with transaction():
            # Makes the row, or locks the one that is there: of two answers none gets lost.
            cls.insert(user_id=user_id, application_id=application_id, scopes=[]).on_conflict(
                conflict_target=[cls.user_id, cls.application_id], update={cls.updated_at: now()}
            ).execute()
            row = cls.get(cls.user_id == user_id, cls.application_id == application_id)
            kept = [s for s in row.scopes if s not in asked]
            both = [*kept, *(s for s in granted if s not in kept)]
            cls.update(scopes=both).where(cls.id == row.id).execute()

    @classmethod
    def withdraw(cls, user_id: int, application_id: int) -> bool:
        """Forget the consent; everything issued from it is dead. False when there was nothing."""
        with transaction():
            gone = (
                cls.delete()
                .where(cls.user_id == user_id, cls.application_id == application_id)
                .execute()
            )
            # Codes before families: a redemption in flight holds its code's row until its family
            # is there to be ended.
            for table in (AuthorizationCode, DeviceCode):
                table.withdraw_all(
                    (table.user_id == user_id) & (table.application_id == application_id)
                )
            ended = TokenFamily.end_all(
                "withdrawn",
                (TokenFamily.user_id == user_id) & (TokenFamily.application_id == application_id),
            )
            return bool(gone or ended)

    @classmethod
    def forget_scope(cls, name: str) -> None:
        """Take one scope out of every consent."""
        like = cls.select(cls.id, cls.scopes).where(cls.scopes.contains(name))
        for row in like:
            if name in row.scopes:  # the pattern finds longer names, too
                cls.update(scopes=[s for s in row.scopes if s != name]).where(
                    cls.id == row.id
                ).execute()


_OF = Compiled(
    lambda: Consent.select().where(
        Consent.user_id == slot("user_id"), Consent.application_id == slot("application_id")
    )
)
