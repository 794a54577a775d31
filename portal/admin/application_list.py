"""The list of applications: search, filter chips, order and pages, in four statements."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import Any
from urllib.parse import urlencode

from peewee import SQL, Case, Select, Value, fn
from werkzeug.datastructures import MultiDict

from portal import answers
from portal.attention import Branch, is_broken, needs_attention
from portal.clock import now
from portal.database import database
from portal.models import Application, Trust, User
from portal.models.application import FILTERS
from portal.models.compiled import Compiled, slot
from portal.models.search import (
    MOST_FOUND,
    Found,
    as_parameter,
    find_applications,
    is_one_of,
    is_short,
)
from portal.oauth.checkup import check_rows
from portal.text import DAY

ADDRESS = "/admin/applications"
PAGE_SIZE = 25
#: Counting stops here: "1000+" tells as much and costs the same with a million rows.
MOST_COUNTED = 1000
#: So long the list tells administrators that what they offered is answered.
ANSWERED_SECONDS = 3 * DAY
#: So many rows of a filter can be tested one by one.
FEW = 200
QUERY_LENGTH = 200
LARGEST_ID = 2**63 - 1

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
#: What a row of the list shows.
SHOWN = (
    Application.id,
    Application.client_id,
    Application.name,
    Application.name_key,
    Application.grants,
    Application.redirect_uris,
    Application.confidential,
    Application.concerns,
    Application.trusted,
    Application.trust_ends_at,
    Application.trust_approved,
    Application.redirect_uris,
    Application.scopes,
    Application.owner,
    Application.disabled_at,
    Application.created_at,
    Application.last_used_at,
    User.id,
    User.username,
    User.name,
    User.disabled_at,
)
#: Conditions of which each finds some of the applications; by chip.
Branches = tuple[Branch, ...]
Filters = dict[str, Branches]

SORTS = ("name", "-name", "last_used", "-last_used")


@dataclass(frozen=True)
class Chip:
    key: str
    label: str
    count: str
    url: str
    current: bool


@dataclass(frozen=True)
class Page:
    """One page of rows. `first` and `last` are for reading; the cursors find the rows."""

    rows: list[Application]
    first: int
    total: str
    next_url: str | None = None
    previous_url: str | None = None

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


class Listing:
    """What one request wants to see; anything odd in the address counts as not said."""

    def __init__(self, args: "MultiDict[str, str]") -> None:
        self.query = args.get("q", "").replace("\0", "").strip()[:QUERY_LENGTH]
        self.chip = args["chip"] if args.get("chip") in CHIPS else ""
        self.sort = args["sort"] if args.get("sort") in SORTS else SORTS[0]
        self.backwards = "before" in args
        self.cursor = _read_cursor(args.get("before") or args.get("after") or "", self._by_name)
        self.first = _number(args.get("from", ""))
        self._found = find_applications(self.query) if self.query else None

    def context(self, person: User) -> dict[str, Any]:
        """What the templates of the list need, for an administrator."""
        moment = now()
        if self._found:
            which, counts = self._narrowed(self._found, moment)
        else:
            which, counts = _filter(self.chip, moment), _counts_for(person, moment)
        page = self._page(which, counts[self.chip])
        check_rows(page.rows)
        return {
            "query": self.query,
            "hint": self._hint(),
            "trust_waiting": counts.get("waiting"),
            "answered": counts.get("answered"),
            "chip": self.chip,
            "sort": self.sort,
            "chips": [
                Chip(key, label, counts[key], self._url(chip=key), key == self.chip)
                for key, label in CHIPS.items()
            ],
            "headers": {"name": self._header("name"), "last_used": self._header("last_used")},
            "page": page,
        }

    # Which rows

    def _narrowed(self, found: Found, moment: int) -> tuple[Branches, dict[str, str]]:
        """The rows that the search found and the chip wants, and how many each chip has of them.

        When the search found too many to look at all, a filter that few rows pass still shows
        all of its matches; of the others the count says "at least".
        """
        plus = "+" if found.more else ""
        given = {"ids": as_parameter(found.ids), "now": moment}
        tally = _TALLY.run(**given).fetchone()
        counts = {key: f"{count}{plus}" for key, count in zip(CHIPS, tally, strict=True)}
        ids = _passing(self.chip).rows(**given) if self.chip else [(it,) for it in found.ids]
        for key, matches in (_few(found, moment) if found.more else {}).items():
            counts[key] = str(len(matches))
            ids = matches if key == self.chip else ids
        return ((is_one_of(Application.id, [row_id for (row_id,) in ids]),),), counts

    def _hint(self) -> str | None:
        if self._found and is_short(self.query):
            return (
                "One or two characters find the names that begin with them. Type three or more to"
                " search inside names, client IDs and owners, too."
            )
        if self._found and self._found.more:
            return (
                f"More than {MOST_FOUND:,} applications match, and not all are shown. Type more to"
                " find the others."
            )
        return None

    def _page(self, which: tuple[Branch, ...], total: str) -> Page:
        rows, more = self._rows(which)
        if not rows and self.cursor:
            self.cursor, self.backwards = None, False
            rows, more = self._rows(which)
        if self.backwards:
            has_next, has_previous = True, more
            first = max(2, self.first - len(rows)) if more else 1
        else:
            has_next, has_previous = more, self.cursor is not None
            first = self.first if self.cursor else 1
        if not rows:
            return Page(rows, first, total)
        after = {"after": self._cursor_of(rows[-1]), "from": first + len(rows)}
        before = {"before": self._cursor_of(rows[0]), "from": first}
        return Page(
            rows,
            first,
            total,
            next_url=self._url(**after) if has_next else None,
            previous_url=self._url(**before) if has_previous else None,
        )

    def _rows(self, which: tuple[Branch, ...]) -> tuple[list[Application], bool]:
        """The rows of this page in their order, and whether more lie beyond."""
        descending = self.sort.startswith("-") != self.backwards
        key = self._key
        order = (key.desc(), Application.id.desc()) if descending else (key, Application.id)
        shown = _any_of(which, lambda branch: self._ids(branch, descending, order))
        rows = list(
            Application.select(*SHOWN).join(User).where(Application.id.in_(shown)).order_by(*order)
        )
        rows = rows[: PAGE_SIZE + 1]  # of a union each part may have brought so many
        page = rows[:PAGE_SIZE]
        return (page[::-1] if self.backwards else page), len(rows) > PAGE_SIZE

    def _ids(self, branch: Branch, descending: bool, order: tuple[Any, ...]) -> Select:
        """The first ids that meet these conditions, read from an index in their order."""
        key = self._key
        # Only the ids take part in the sorting; rows that are not shown are not read.
        query = Application.select(Application.id)
        query = query.where(*branch) if branch else query
        if self.cursor:
            value, row_id = self.cursor
            if descending:
                query = query.where(key <= value, (key < value) | (Application.id < row_id))
            else:
                query = query.where(key >= value, (key > value) | (Application.id > row_id))
        return query.order_by(*order).limit(PAGE_SIZE + 1)

    @property
    def _by_name(self) -> bool:
        return self.sort.endswith("name")

    @property
    def _key(self) -> Any:
        # What was never used comes before everything else, on every database.
        return Application.name_key if self._by_name else Application.last_used_at

    def _cursor_of(self, row: Application) -> str:
        value = row.name_key if self._by_name else row.last_used_at
        return base64.urlsafe_b64encode(json.dumps([value, row.id]).encode()).decode()

    # Addresses

    def _url(self, **changes: object) -> str:
        said = {"q": self.query, "chip": self.chip, "sort": self.sort, **changes}
        if said["sort"] == SORTS[0]:
            del said["sort"]
        query = urlencode({name: value for name, value in said.items() if value})
        return f"{ADDRESS}?{query}" if query else ADDRESS

    def _header(self, name: str) -> tuple[str, str | None]:
        order = {name: "ascending", f"-{name}": "descending"}.get(self.sort)
        # Names start with A, times with the latest.
        first, second = (name, f"-{name}") if name == "name" else (f"-{name}", name)
        return self._url(sort=second if self.sort == first else first), order


def _any_of(branches: Sequence[Branch], ids: Callable[[Branch], Select]) -> Any:
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


def capped_counts(which: Mapping[str, Sequence[Branch]]) -> dict[str, str]:
    """How many applications each chip has, in one statement; at most "1000+"."""
    if not which:
        return {}
    counts = _counts(which.values(), MOST_COUNTED).bind(database.obj)
    return _capped(which, next(iter(counts.tuples().execute())))


def _capped(keys: Iterable[str], counted: Iterable[int]) -> dict[str, str]:
    return {
        key: f"{MOST_COUNTED}+" if count > MOST_COUNTED else str(count)
        for key, count in zip(keys, counted, strict=True)
    }


def _counts_for(person: User, moment: int) -> dict[str, str]:
    """What an administrator's list counts: each chip, and what waits for them."""
    since = moment - ANSWERED_SECONDS
    return _capped(COUNTED, _COUNTS.run(now=moment, person=person.id, since=since).fetchone())


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
        found = _any_of(branches, _at_most(most))
        columns.append(Select((found.alias("some"),), (fn.COUNT(SQL("*")),)))
    return Select((), columns)


def _few(found: Found, moment: int) -> dict[str, list[tuple[int]]]:
    """Of each chip that has few rows, those that match what was searched for."""
    rows: dict[str, set[int]] = {key: set() for key in CHIPS if key}
    for key, row_id in _SOME.rows(now=moment):
        rows[key].add(row_id)
    few = {key: ids for key, ids in rows.items() if len(ids) <= FEW}
    among = sorted(set().union(*few.values()))
    query = Application.select(Application.id).where(is_one_of(Application.id, among))
    matches = set(database.execute(query.where(found.matches))) if among else set()
    return {key: [it for it in matches if it[0] in ids] for key, ids in few.items()}


def _some(filters: Filters) -> Any:
    """A few ids of each chip, and one more, so that it shows when there are more."""
    parts: list[Any] = []
    for key, branches in filters.items():
        few = _any_of(branches, _at_most(FEW)).alias("few")
        parts += [Select((few,), (Value(key), SQL("few.id")))] if key else []
    return reduce(lambda one, other: one.union_all(other), parts)


def _any_condition(branches: Branches) -> Any:
    return reduce(or_, (condition for branch in branches for condition in branch))


@cache
def _passing(chip: str) -> Compiled:
    """Which of some applications a chip wants."""
    return Compiled(
        lambda: Application.select(Application.id).where(
            is_one_of(Application.id, slot("ids")), _any_condition(_filter(chip, slot("now")))
        )
    )


def _tally(ids: Value, filters: Filters) -> Select:
    """How many of these applications pass each filter, in one pass over them."""
    columns = []
    for key, branches in filters.items():
        count = Case(None, [(_any_condition(branches), SQL("1"))], SQL("0")) if key else SQL("1")
        columns.append(fn.COALESCE(fn.SUM(count), SQL("0")))
    return Application.select(*columns).where(is_one_of(Application.id, ids))


def _filter(key: str, moment: int | Value) -> Branches:
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
    return {key: _filter(key, moment) for key in CHIPS}


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
_TALLY = Compiled(lambda: _tally(slot("ids"), _filters(slot("now"))))
_COUNTS = Compiled(
    lambda: _counts({**_filters(slot("now")), **_for_administrators()}.values(), MOST_COUNTED).bind(
        database.obj
    )
)
_SOME = Compiled(lambda: _some(_filters(slot("now"))).bind(database.obj))


def _read_cursor(text: str, by_name: bool) -> tuple[str | int, int] | None:
    """The place that a page starts from; None for anything that no link of ours says."""
    try:
        value, row_id = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
        if isinstance(value, str):
            value.encode()
    except (ValueError, TypeError):
        return None
    if type(row_id) is not int or not 0 <= row_id <= LARGEST_ID:
        return None
    if by_name:
        return (value, row_id) if isinstance(value, str) and "\0" not in value else None
    return (value, row_id) if type(value) is int and 0 <= value <= LARGEST_ID else None


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1
