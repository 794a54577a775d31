"""Admin > Audit log: who did what to what, when, from where; nothing here can be changed."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response as FlaskResponse
from flask import request
from werkzeug.wrappers import Response

from portal.admin import blueprint
from portal.audit import EVENTS, GROUPS, as_dict, sentence
from portal.htmx import render
from portal.models import Application, AuditEvent
from portal.models.audit_search import AuditSearch
from portal.security import see_other
from portal.text import DAY

ADDRESS = "/admin/audit"
PAGE_SIZE = 50
TEXT_LENGTH = 200
DOWNLOAD_CHUNK = 1000
FILTERS = ("person", "application", "event", "since", "until")
FROM_AFTER_TO = "From: this day is after To. Choose an earlier one, or a later one for To."
#: How a spreadsheet would know a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = ("id", "at", "event", "actor", "what", "subject", "address", "before", "after", "seal")


@dataclass(frozen=True)
class Change:
    """One setting: what it was and is; of a list, what went and what came."""

    name: str
    before: str
    after: str
    removed: list[str]
    added: list[str]
    is_list: bool


@blueprint.get("/audit")
def show_audit() -> Response:
    """The log, the latest first: filtered, fifty a page."""
    asked = {name: request.args.get(name, "").strip()[:TEXT_LENGTH] for name in FILTERS}
    search, problems = _search(asked)
    before, after = _number("before"), _number("after")
    if after is not None and before is None:
        rows = search.next_newer(PAGE_SIZE + 1, after)
        older, newer = True, len(rows) > PAGE_SIZE
        rows = rows[-PAGE_SIZE:]
    else:
        rows = search.latest(PAGE_SIZE + 1, before)
        older, newer = len(rows) > PAGE_SIZE, before is not None
        rows = rows[:PAGE_SIZE]
    return render(
        "admin/audit/index.html",
        "admin/audit/_table.html",
        status=422 if problems else 200,
        errors=bool(problems),
        problems=problems,
        asked=asked,
        filtered=any(asked.values()),
        rows=told(rows),
        groups=_groups(),
        application=_application(asked["application"]),
        next_url=_url(asked, before=rows[-1].id) if rows and older else None,
        previous_url=_url(asked, after=rows[0].id) if rows and newer else None,
        query=urlencode({name: value for name, value in asked.items() if value}),
    )


@blueprint.get("/audit/events.csv")
def download_csv() -> Response:
    """The filtered log as a table."""
    return _download("text/csv", "csv", _csv)


@blueprint.get("/audit/events.jsonl")
def download_json_lines() -> Response:
    """The filtered log, one JSON object a line."""
    return _download("application/jsonl", "jsonl", _json_lines)


def told(rows: list[AuditEvent]) -> list[tuple[AuditEvent, str, list[Change]]]:
    """Each event, its sentence, and what it changed."""
    return [(row, sentence(row), changes(row)) for row in rows]


def changes(row: AuditEvent) -> list[Change]:
    """What an event changed, setting by setting."""
    before, after = json.loads(row.before), json.loads(row.after)
    found = []
    for name in [*after, *(name for name in before if name not in after)]:
        old, new = before.get(name), after.get(name)
        lists = isinstance(old, list) or isinstance(new, list)
        olds, news = (old or [], new or []) if lists else ([], [])
        found.append(
            Change(
                name.replace("_", " ").replace("uris", "URIs").replace("uri", "URI"),
                _words(old),
                _words(new),
                [str(item) for item in olds if item not in news],
                [str(item) for item in news if item not in olds],
                lists,
            )
        )
    return found


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value)


def _search(asked: dict[str, str]) -> tuple[AuditSearch, dict[str, str]]:
    """What is looked for, and what is wrong with each filter that is."""
    problems = {}
    moments: dict[str, int | None] = {"since": None, "until": None}
    for name, label in (("since", "From"), ("until", "To")):
        if asked[name]:
            try:
                day = datetime.strptime(asked[name], "%Y-%m-%d").replace(tzinfo=UTC)
                moments[name] = int(day.timestamp()) + (DAY if name == "until" else 0)
            except ValueError:
                problems[name] = f"{label}: enter a date such as 2026-11-24."
    if asked["event"] and asked["event"] not in EVENTS:
        problems["event"] = "What happened: choose an event from the list."
    for name in problems:
        asked[name] = ""  # neither a date nor a list can show anything else
    since, until = moments["since"], moments["until"]
    if since is not None and until is not None and since >= until:
        problems["since"] = FROM_AFTER_TO
    search = AuditSearch.named(
        asked["person"], asked["application"], event=asked["event"], **moments
    )
    return search, problems


def _groups() -> list[tuple[str, list[tuple[str, str]]]]:
    """The choices of the filter; a name follows where the log says it."""
    told = {
        event: f"{text} …" if text.endswith((" of", " for", " from")) else text
        for event, text in EVENTS.items()
    }
    return [
        (label, [(event, text) for event, text in told.items() if event.split(".")[0] == group])
        for group, label in GROUPS.items()
    ]


def _application(client_id: str) -> Application | None:
    return Application.with_client_id(client_id) if client_id and "\0" not in client_id else None


def _number(name: str) -> int | None:
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _url(asked: dict[str, str], **more: int) -> str:
    said = {name: value for name, value in asked.items() if value}
    return f"{ADDRESS}?{urlencode({**said, **more})}"


def _download(mimetype: str, ending: str, write: Any) -> Response:
    asked = {name: request.args.get(name, "").strip()[:TEXT_LENGTH] for name in FILTERS}
    page = _url(asked)
    search, problems = _search(asked)
    if problems:  # not the whole log instead of a part
        return see_other(page)
    response = FlaskResponse(write(_all(search)), mimetype=mimetype)
    response.headers["Content-Disposition"] = f'attachment; filename="audit-log.{ending}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _all(search: AuditSearch) -> Iterator[AuditEvent]:
    before = None
    while True:
        rows = search.latest(DOWNLOAD_CHUNK, before)
        yield from rows
        if len(rows) < DOWNLOAD_CHUNK:
            return
        before = rows[-1].id


def _json_lines(rows: Iterator[AuditEvent]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(as_dict(row), ensure_ascii=False) + "\n"


def _csv(rows: Iterator[AuditEvent]) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\r\n"
    for row in rows:
        out = io.StringIO()
        said = {**as_dict(row), "before": row.before, "after": row.after}
        csv.writer(out).writerow([_cell(said[name]) for name in COLUMNS])
        yield out.getvalue()


def _cell(value: Any) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
