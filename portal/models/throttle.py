"""Counts of wrong tries, in the database, so that they hold across processes and nodes."""

from peewee import Case, IntegerField, TextField

from portal.clock import now
from portal.credentials import hash_secret
from portal.models.base import EpochField, Record

TRIES = 10
PAUSE_SECONDS = 60
FORGET_SECONDS = 15 * 60


class Throttle(Record):
    """How often a guess about one thing (an account, a user code) went wrong."""

    key = TextField(primary_key=True)
    tries = IntegerField(default=0)
    last_at = EpochField()

    @classmethod
    def spend(cls, purpose: str, subject: str) -> int:
        """Take one try before it is made; returns the seconds to wait, 0 when it may go on."""
        return cls.take(purpose, subject)[0]

    @classmethod
    def take(cls, purpose: str, subject: str) -> tuple[int, int]:
        """Take one try: the seconds to wait, and the how manieth in a row it is (0 when to wait).

        After ten tries in a row there is one try a minute, also for the right answer, until
        one succeeds (`forgive`) or a quarter of an hour passes without any.
        """
        key, moment = cls._key(purpose, subject), now()
        fresh = cls.last_at <= moment - FORGET_SECONDS
        # Not what is in the future by more than nodes differ: the clock was set back since.
        paused = cls.last_at.between(moment - PAUSE_SECONDS + 1, moment + PAUSE_SECONDS)
        # One statement, so that parallel guesses cannot share a try.
        taken = (
            cls.insert(key=key, tries=1, last_at=moment)
            .on_conflict(
                conflict_target=[cls.key],
                update={cls.tries: Case(None, [(fresh, 1)], cls.tries + 1), cls.last_at: moment},
                where=(cls.tries < TRIES) | ~paused,
            )
            .returning(cls.tries)
            .execute()
        )
        if rows := list(taken):
            return 0, rows[0].tries
        row = cls.get_or_none(cls.key == key)
        if row is None:
            return 0, 0
        return max(1, min(PAUSE_SECONDS, row.last_at + PAUSE_SECONDS - moment)), 0

    @classmethod
    def forgive(cls, purpose: str, subject: str) -> None:
        """Forget the wrong tries after a right one."""
        cls.delete().where(cls.key == cls._key(purpose, subject)).execute()

    @staticmethod
    def _key(purpose: str, subject: str) -> str:
        # A hash: what people type into a name field may be a password.
        return f"{purpose}:{hash_secret(subject).hex()}"
