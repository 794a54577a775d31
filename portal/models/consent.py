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
    """The scopes that a person allowed an application, remembered for the next time.

    What they left out of a request is remembered as long as the application asks for the same: who
    asks for other scopes wants something new.
    """

    id = IdField()
    user_id = BigIntegerField()
    application_id = BigIntegerField(index=True)
    scopes = WordsField()
    #: All scopes of the request that was decided on last, whatever came of it.
    decided = WordsField(default=list)
    granted_at = EpochField(default=now)
    updated_at = EpochField(default=now)

    class Meta:
        indexes = ((("user_id", "application_id"), True),)

    @classmethod
    def of(cls, user_id: int, application_id: int) -> Self | None:
        rows = _OF.rows(user_id=user_id, application_id=application_id)
        return load(cls, rows[0]) if rows else None

    def open_scopes(self, requested: list[str]) -> list[str]:
        """Those of a request that the person has to decide on; none when they have."""
        if set(requested) == set(self.decided):
            return []
        return [scope for scope in requested if scope not in self.scopes]

    def refused(self, requested: list[str]) -> list[str]:
        """Those of a request that the person was asked about and did not allow."""
        # Who asked to be asked again had left out all that is open.
        asked = self.decided or requested
        return [scope for scope in requested if scope in asked and scope not in self.scopes]

    @property
    def left_out(self) -> set[str]:
        """What the person did not allow, and is not asked about."""
        return set(self.decided) - set(self.scopes)

    @classmethod
    def give(
        cls,
        user_id: int,
        application_id: int,
        granted: list[str],
        asked: list[str],
        requested: list[str] | None = None,
    ) -> None:
        """Remember the decision: `granted` of what was `asked`; earlier answers stay.

        `requested` is the whole request, where not all of it had to be asked.
        """
        with transaction():
            # Makes the row, or locks the one that is there: of two answers none gets lost.
            cls.insert(user_id=user_id, application_id=application_id, scopes=[]).on_conflict(
                conflict_target=[cls.user_id, cls.application_id], update={cls.updated_at: now()}
            ).execute()
            row = cls.get(cls.user_id == user_id, cls.application_id == application_id)
            kept = [s for s in row.scopes if s not in asked]
            both = [*kept, *(s for s in granted if s not in kept)]
            cls.update(scopes=both, decided=requested or asked).where(cls.id == row.id).execute()

    @classmethod
    def ask_again(cls, user_id: int, application_id: int) -> None:
        """Ask the person about what they left out, at the application's next request."""
        cls.update(decided=[]).where(
            cls.user_id == user_id, cls.application_id == application_id
        ).execute()

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
        like = cls.select().where(cls.scopes.contains(name) | cls.decided.contains(name))
        for row in like:
            # The pattern finds longer names, too.
            kept, decided = ([s for s in words if s != name] for words in (row.scopes, row.decided))
            if kept != row.scopes or decided != row.decided:
                cls.update(scopes=kept, decided=decided).where(cls.id == row.id).execute()


_OF = Compiled(
    lambda: Consent.select().where(
        Consent.user_id == slot("user_id"), Consent.application_id == slot("application_id")
    )
)
