"""The list of people as one request wants to see it: searched, filtered, fifty a page."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import url_for

from portal.models import User
from portal.models.search import MOST_FOUND, find_people, is_one_of, is_short

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

PAGE_SIZE = 50
QUERY_LENGTH = 200
CHIPS = {"": "All", "administrators": "Administrators", "disabled": "Disabled"}


@dataclass(frozen=True)
class Chip:
    """One filter of the list."""

    key: str
    label: str
    count: int
    url: str
    current: bool


@dataclass(frozen=True)
class Page:
    """One page of the list, and the way to the next ones."""

    rows: list[User]
    first: int
    last: int
    total: int
    previous_url: str | None
    next_url: str | None


class Listing:
    """What one request wants to see."""

    def __init__(self, args: "MultiDict[str, str]") -> None:
        self.query, self.chip = args.get("q", "").strip(), args.get("chip", "")
        asked = args.get("page", "1")
        self.number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
        # PostgreSQL cannot even look for a NUL.
        sought = self.query.replace("\0", "�")[:QUERY_LENGTH]
        self._found: list[int] | None = None
        self._more = False
        if self.query:
            self._found, self._more = find_people(sought)

    def context(self) -> dict[str, Any]:
        """What the templates of the list need."""
        return {
            "query": self.query,
            "chip": self.chip,
            "hint": self._hint(),
            "chips": [
                Chip(key, label, self._matching(key).count(), self._url(key), key == self.chip)
                for key, label in CHIPS.items()
            ],
            "page": self._page(),
        }

    def _hint(self) -> str | None:
        hints = []
        if self.query and is_short(self.query):
            hints.append(
                "One or two characters find the usernames that begin with them. Type three or more"
                " to search inside names and e-mail addresses, too."
            )
        if self._more:
            hints.append(f"More than {MOST_FOUND} people match, and not all are shown. Type more.")
        return " ".join(hints) or None

    def _page(self) -> Page:
        people = self._matching(self.chip)
        total = people.count()
        # A number beyond the end shows the last page.
        number = max(1, min(self.number, -(-total // PAGE_SIZE)))
        first = (number - 1) * PAGE_SIZE
        rows = list(people.order_by(User.username_key).limit(PAGE_SIZE).offset(first))
        before = self._url(self.chip, number - 1) if number > 1 else None
        after = self._url(self.chip, number + 1) if first + len(rows) < total else None
        return Page(rows, first + 1, first + len(rows), total, before, after)

    def _matching(self, chip: str):  # type: ignore[no-untyped-def]
        people = User.select()
        if self._found is not None:
            people = people.where(is_one_of(User.id, self._found))
        if chip == "administrators":
            people = people.where(User.is_admin)
        elif chip == "disabled":
            people = people.where(User.disabled_at.is_null(False))
        return people

    def _url(self, chip: str, page: int = 1) -> str:
        parts = {"q": self.query, "chip": chip, "page": page if page > 1 else ""}
        text = urlencode({name: value for name, value in parts.items() if value})
        return url_for("admin.list_users") + (f"?{text}" if text else "")
