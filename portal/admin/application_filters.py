"""What each chip of the list finds, and how many: of all applications, or of a search's matches."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, reduce
from operator import or_
from typing import Any

from peewee import SQL, Select, Value, fn

from portal import answers
from portal.attention import Branch, is_broken, needs_attention
from portal.database import database
from portal.models import Application, Trust, User
from portal.models.application import FILTERS
from portal.models.compiled import Compiled, slot
from portal.models.search import Found, as_parameter, gathered, read_parameter, with_each
from portal.text import DAY

#: Counting stops here: "1000+" tells as much and costs the same with a million rows.
MOST_COUNTED = 1000
#: So long the list tells administrators that what they offered is answered.
ANSWERED_SECONDS = 3 * DAY
#: So many rows of a filter can be tested one by one.
FEW = 100
CHIPS = {
    "": "All",
    "attention": "Needs attention",
    "broken": "Broken",
    "trusted": "Trusted",
    "public": "Public",
    "never": "Never used",
    "unused_scopes": "Unused scopes",
    "disabled": "Disabled",
    "orphaned": "Owner has left",
}
_NARROWING = [key for key in CHIPS if key]
#: Conditions of which each finds some of the applications; by chip.
Branches = tuple[Branch, ...]
Filters = dict[str, Branches]


def narrowed(found: Found, chip: str, moment: int) -> tuple[str, dict[str, str]]:
    """What the search found and the chip wants, as one parameter, and how many each chip has.

    When the search found too many to look at all, a filter that few rows pass still shows
    all of its matches, but for those of people who were not looked at; of the others the count
    says "at least".
    """
    plus = "+" if found.more else ""
    [(ids, *tally)] = _tally(chip).rows(ids=as_parameter(found.ids), now=moment)
    counts = {key: f"{count}{plus}" for key, count in zip(CHIPS, tally, strict=True)}
    for key, matches in (_few(found, moment) if found.more else {}).items():
        counts[key] = f"{len(matches)}{'+' if found.more_people else ''}"
        ids = as_parameter(matches) if key == chip else ids
    return ids, counts


def any_of(branches: Sequence[Branch], ids: Callable[[Branch], Select]) -> Any:
    """The ids that any of these finds; each stops where it has enough, so that all of it is
    cheap."""
    first: Any
    first, *others = (
        # On its own each may have an order and a limit, which a part of a union may not.
        Select((ids(branch).alias("part"),), (SQL("part.id"),))
        if len(branches) > 1
        else ids(branch)
        for branch in branches
    )
    for other in others:
        first = first | other
    return first


def _capped(keys: Iterable[str], counted: Iterable[int]) -> dict[str, str]:
    return {
        key: f"{MOST_COUNTED}+" if count > MOST_COUNTED else str(count)
        for key, count in zip(keys, counted, strict=True)
    }


def counts_for(person: User, moment: int) -> dict[str, str]:
    """What an administrator's list counts: each chip, and what waits for them."""
    since = moment - ANSWERED_SECONDS
    [counts] = _COUNTS.rows(now=moment, person=person.id, since=since)
    return _capped(COUNTED, counts)


def _at_most(most: int) -> Callable[[Branch], Select]:
    """So many ids that meet these conditions, and one more."""

    def ids(branch: Branch) -> Select:
        query = Application.select(Application.id).limit(most + 1)
        return query.where(*branch) if branch else query

    return ids


def _counts(which: Iterable[Sequence[Branch]], most: int) -> Select:
    """How many applications each chip has; counting stops beyond `most`."""
    columns = []
    for branches in which:
        found = any_of(branches, _at_most(most))
        columns.append(Select((found.alias("some"),), (fn.COUNT(SQL("*")),)))
    return Select((), columns)


def _few(found: Found, moment: int) -> dict[str, list[int]]:
    """Of each chip that has few rows, those that match what was searched for."""
    [row] = _SOME.rows(now=moment)
    some = zip(_NARROWING, row, strict=True)
    # Whoever has as many commas has more ids than that.
    few = {key: read_parameter(ids) for key, ids in some if ids.count(",") < FEW}
    among = sorted(set().union(*few.values()))
    matches = set(found.matching(among)) if among else set()
    return {key: [it for it in ids if it in matches] for key, ids in few.items()}


def _some(filters: Filters) -> Select:
    """A few ids of each chip, and one more, so that it shows when there are more."""
    columns = []
    for key in _NARROWING:
        few = any_of(filters[key], _at_most(FEW)).alias("few")
        columns.append(Select((few,), (gathered(SQL("few.id")),)))
    return Select((), columns)


def _any_condition(branches: Branches) -> Any:
    return reduce(or_, (condition for branch in branches for condition in branch))


@cache
def _tally(chip: str) -> Compiled:
    """Of some applications those that a chip wants, and how many pass each filter: one pass."""

    def build() -> Select:
        filters = _filters(slot("now"))
        wanted = {key: _any_condition(branches) for key, branches in filters.items() if key}
        counts = [fn.COUNT(SQL("*")).filter(condition) for condition in wanted.values()]
        columns = gathered(Application.id, wanted.get(chip)), fn.COUNT(SQL("*")), *counts
        return with_each(Application.id, slot("ids"), *columns)

    return Compiled(build)


def filter_of(key: str, moment: int | Value) -> Branches:
    """What a chip finds: everything, one condition, or the union of two."""
    if key == "attention":
        return needs_attention(moment)
    if key == "broken":
        return is_broken(moment)
    if key == "orphaned":
        gone = User.select(User.id).where(User.disabled_at.is_null(False))
        return ((Application.owner.in_(gone),),)
    return ((FILTERS[key],),) if key else ((),)


def _filters(moment: int | Value) -> Filters:
    return {key: filter_of(key, moment) for key in CHIPS}


def _for_administrators() -> Filters:
    """Not chips: what is to be decided, and what this one offered and somebody has answered."""
    waiting = Trust.select(Trust.application_id).where(
        Trust.asked_at.is_null(False), Trust.refused_at.is_null()
    )
    answered = answers.answered(slot("person"), slot("since"))
    return {
        key: ((Application.id.in_(ids),),)
        for key, ids in (("waiting", waiting), ("answered", answered))
    }


COUNTED = (*CHIPS, "waiting", "answered")
# Building these takes longer than running them.
_COUNTS = Compiled(
    lambda: _counts({**_filters(slot("now")), **_for_administrators()}.values(), MOST_COUNTED).bind(
        database.obj
    )
)
_SOME = Compiled(lambda: _some(_filters(slot("now"))).bind(database.obj))
