"""The list of applications: search, filter chips, order and pages, in a handful of statements."""

import base64
import json
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlencode

from peewee import Select
from werkzeug.datastructures import MultiDict

from portal import approval
from portal.admin.application_filters import (
    CHIPS,
    MOST_COUNTED,
    any_of,
    counts_for,
    filter_of,
    narrowed,
)
from portal.attention import Branch
from portal.clock import now
from portal.models import Application, User
from portal.models.compiled import Compiled, loader, slot
from portal.models.search import (
    MOST_FOUND,
    find_applications,
    is_short,
    with_each,
)
from portal.oauth.checkup import check_rows

ADDRESS = "/admin/applications"
PAGE_SIZE = 25
QUERY_LENGTH = 200
LARGEST_ID = 2**63 - 1

#: What a row of the list shows of an application, and of its owner.
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
    Application.scopes,
    Application.owner,
    Application.disabled_at,
    Application.created_at,
    Application.last_used_at,
)
SHOWN_OF_OWNER = (User.id, User.username, User.name, User.disabled_at)
_application, _owner = loader(Application, SHOWN), loader(User, SHOWN_OF_OWNER)
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
        self.cursor = _read_cursor(args.get("before") or args.get("after") or "", self._by_name)
        self.backwards = "before" in args and self.cursor is not None
        self.first = _number(args.get("from", ""))
        self._found = find_applications(self.query) if self.query else None

    def context(self, person: User) -> dict[str, Any]:
        """What the templates of the list need, for an administrator."""
        moment = now()
        if self._found:
            ids, counts = narrowed(self._found, self.chip, moment)
        else:
            ids, counts = None, counts_for(person, moment)
        page = self._page(ids, counts[self.chip])
        check_rows(page.rows)
        return {
            "query": self.query,
            "hint": self._hint(),
            "more": self._found is not None and self._found.more,
            "trust": _trust(counts.get("waiting", "0")),
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

    def _hint(self) -> str | None:
        if self._found is None:
            return None
        hints = []
        if is_short(self.query):
            hints.append(
                "One or two characters find the names that begin with them. Type three or more to"
                " search inside names, client IDs and owners, too."
            )
        if self._found.more_people:
            hints.append(
                f"More than {MOST_FOUND:,} people match, and only the applications of some of them"
                " are shown. Type more to find the others."
            )
        elif self._found.more:
            hints.append(
                f"More than {MOST_FOUND:,} applications match, and not all are shown. Type more to"
                " find the others."
            )
        return " ".join(hints) or None

    def _page(self, among: str | None, total: str) -> Page:
        rows, more = self._rows(among)
        if not rows and self.cursor:
            self.cursor, self.backwards = None, False
            rows, more = self._rows(among)
        if self.backwards:
            has_next, has_previous = True, more
            first = max(2, self.first - len(rows)) if more else 1
        else:
            has_next, has_previous = more, self.cursor is not None
            first = self.first if self.cursor else 1
        if total.isdigit():
            first = min(first, max(1, int(total) - len(rows) + 1))
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

    def _rows(self, among: str | None) -> tuple[list[Application], bool]:
        """The rows of this page in their order, and whether more lie beyond."""
        descending = self.sort.startswith("-") != self.backwards
        chip = self.chip if among is None else None
        query = _page_of(chip, self._by_name, descending, self.cursor is not None)
        value, row_id = self.cursor or (0, 0)
        rows = query.rows(ids=among, now=now(), value=value, row_id=row_id)
        # Of a union each part may have brought so many.
        page = [_row(values) for values in rows[:PAGE_SIZE]]
        return (page[::-1] if self.backwards else page), len(rows) > PAGE_SIZE

    @property
    def _by_name(self) -> bool:
        return self.sort.endswith("name")

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


def _trust(count: str) -> dict[str, str]:
    """How many applications wait for a decision on their trust, or for somebody who asks again."""
    if count == "0":
        return {}
    more = "+" if count.endswith("+") else ""
    decide, ask = approval.waiting(MOST_COUNTED)
    return {"decide": f"{decide}{more}" if decide else "", "ask": f"{ask}{more}" if ask else ""}


@cache
def _page_of(chip: str | None, by_name: bool, descending: bool, goes_on: bool) -> Compiled:
    """The first rows of a chip in this order, after a place if it goes on; None: of some ids."""
    # What was never used comes before everything else, on every database.
    key: Any = Application.name_key if by_name else Application.last_used_at
    order = (key.desc(), Application.id.desc()) if descending else (key, Application.id)
    value, row_id = slot("value"), slot("row_id")

    def first(query: Any) -> Select:
        """The ids of a page, read from an index in their order where the query allows it."""
        # Only the ids take part in the sorting; rows that are not shown are not read.
        if goes_on and descending:
            query = query.where(key <= value, (key < value) | (Application.id < row_id))
        elif goes_on:
            query = query.where(key >= value, (key > value) | (Application.id > row_id))
        return query.order_by(*order).limit(PAGE_SIZE + 1)

    def of(branch: Branch) -> Select:
        every = Application.select(Application.id)
        return first(every.where(*branch) if branch else every)

    def build() -> Select:
        if chip is None:
            shown = first(with_each(Application.id, slot("ids"), Application.id))
        else:
            shown = any_of(filter_of(chip, slot("now")), of)
        rows = Application.select(*SHOWN, *SHOWN_OF_OWNER).join(User)
        return rows.where(Application.id.in_(shown)).order_by(*order)

    return Compiled(build)


def _row(values: tuple) -> Application:
    row: Application = _application(values[: len(SHOWN)])
    row.__rel__["owner"] = _owner(values[len(SHOWN) :])
    return row


def _read_cursor(text: str, by_name: bool) -> tuple[str | int, int] | None:
    """The place that a page starts from; None for anything that no link of ours says."""
    try:
        value, row_id = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
        if isinstance(value, str):
            value.encode()
    except (ValueError, TypeError, RecursionError):
        return None
    if type(row_id) is not int or not 0 <= row_id <= LARGEST_ID:
        return None
    if by_name:
        return (value, row_id) if isinstance(value, str) and "\0" not in value else None
    return (value, row_id) if type(value) is int and 0 <= value <= LARGEST_ID else None


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1
