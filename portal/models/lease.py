"""Leases: work that one process of all nodes does at a time, and when it was last done."""

from typing import Self

from peewee import TextField

from portal.clock import now
from portal.models.base import EpochField, Record

#: Whoever holds a lease renews it within this time; who died loses it after it.
LEASE_SECONDS = 60


class Lease(Record):
    """Who is at one piece of work. Losing a lease harms nothing: its work can be done twice."""

    name = TextField(primary_key=True)
    holder = TextField()
    until = EpochField()
    #: When the work was last finished; 0 for never.
    done_at = EpochField(default=0)

    @classmethod
    def take(cls, name: str, holder: str, every: int = 0) -> bool:
        """Start the work; False while another one is at it, or when it was done `every` s ago.

        A time in the future is no reason to wait: a clock was set back since.
        """
        moment = now()
        free = (cls.until <= moment) | (cls.until > moment + LEASE_SECONDS)
        due = (cls.done_at <= moment - every) | (cls.done_at > moment)
        # One statement, so that of two only one gets it.
        taken = (
            cls.insert(name=name, holder=holder, until=moment + LEASE_SECONDS)
            .on_conflict(
                conflict_target=[cls.name],
                update={cls.holder: holder, cls.until: moment + LEASE_SECONDS},
                where=free & due,
            )
            .returning(cls.name)
            .execute()
        )
        return bool(list(taken))

    @classmethod
    def renew(cls, name: str, holder: str) -> bool:
        """Go on for `LEASE_SECONDS` from now; False when another one has taken over."""
        mine = (cls.name == name) & (cls.holder == holder)
        return cls.update(until=now() + LEASE_SECONDS).where(mine).execute() == 1

    @classmethod
    def release(cls, name: str, holder: str, done: bool) -> None:
        """Leave the work to others; `done` when it is finished, not when it was cut short."""
        changes = {"until": 0, **({"done_at": now()} if done else {})}
        cls.update(changes).where(cls.name == name, cls.holder == holder).execute()

    @classmethod
    def of(cls, name: str) -> Self | None:
        return cls.get_or_none(cls.name == name)
