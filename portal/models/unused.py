"""Scopes that an application may ask for and that nothing has needed for long.

What it cannot ask for, nobody who steals its secret can get either. Only what is certain is told:
nothing while this portal counts, or the application has the scope, for less than 90 days, and
nothing that somebody still holds by a refresh token, since refreshing is not counted.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from peewee import SQL, Select, fn

from portal.credentials import ID_BITS
from portal.database import on_sqlite
from portal.models.token import TokenFamily
from portal.models.usage import DAY, KEPT_DAYS, REGISTERED, SCOPE, SINCE, SINCE_ID, Usage

if TYPE_CHECKING:
    from portal.models.application import Application

DEFAULT_SCOPE = "public"
#: Of so many old connections of an application the scopes are read; with more, nothing is told.
MOST_FAMILIES = 1000


def first_day(moment: int) -> int:
    """The first of the days that count, since 1970-01-01 (UTC)."""
    return moment // DAY - KEPT_DAYS + 1


def unused_scopes(rows: Sequence["Application"], moment: int) -> dict[int, list[str]]:
    """By id, the scopes that nobody gave an application in use and that it did not take itself.

    Applications without any are missing. Two statements at most, however many rows.
    """
    first = first_day(moment)
    asked = {row.id: found for row in rows if (found := _candidates(row, first))}
    if asked:
        for application_id, kind, value in _lately(list(asked), first):
            if kind != SINCE:
                asked[application_id].discard(value)
            elif int(value) > moment - KEPT_DAYS * DAY:
                return {}
    left = [row for row in rows if asked.get(row.id)]
    for application_id, held in _held(left, first, moment) if left else ():
        lists = held.split(",") if held else []
        if len(lists) < MOST_FAMILIES:
            asked[application_id].difference_update(*(scopes.split() for scopes in lists))
        else:
            asked[application_id].clear()
    return {
        row.id: [name for name in row.scopes if name in asked[row.id]]
        for row in left
        if asked[row.id]
    }


def _candidates(row: "Application", first: int) -> set[str]:
    """What it has had for long enough and did not take for itself."""
    if not row.last_used_at or row.created_at // DAY >= first:
        return set()
    days = row.machine_days
    return {name for name in row.scopes if name != DEFAULT_SCOPE and days.get(name, 0) < first}


def _lately(ids: list[int], first: int) -> Any:
    """Which scopes were given to these, or registered; and since when this portal counts."""
    return (
        Usage.select(Usage.application_id, Usage.kind, Usage.value)
        .where(
            Usage.application_id.in_([SINCE_ID, *ids]),
            Usage.day >= first,
            Usage.kind.in_([SCOPE, REGISTERED, SINCE]),
        )
        .distinct()
        .tuples()
    )


def _held(rows: Sequence["Application"], first: int, moment: int) -> Any:
    """The scopes of each connection that began before those days and goes on, with commas."""
    it, family = type(rows[0]), TokenFamily.alias()  # Application, which needs this module
    old = (
        family.select(family.scopes)
        .where(
            family.application_id == it.id,
            family.id < first * DAY * (1000 << ID_BITS),
            family.epoch == it.epoch,
            family.ended_at.is_null(),
            family.refresh_hash.is_null(False),
            family.expires_at > moment,
        )
        .limit(MOST_FAMILIES)
        .alias("old")
    )
    joined = fn.GROUP_CONCAT if on_sqlite() else fn.STRING_AGG
    held = Select((old,), (joined(SQL("old.scopes"), ","),))
    return it.select(it.id, held).where(it.id.in_([row.id for row in rows])).tuples()
