"""`audit …`: read the audit log, and see that nobody changed it."""

import json
import re
from datetime import UTC, datetime

import click

from portal import audit as log
from portal.cli.command import BadInput, Failure, Group, command, note, print_json
from portal.models import AuditEvent
from portal.models.audit_search import AuditSearch
from portal.text import DAY, iso, plural

PROGRESS_ROWS = 250_000
READ_AT_ONCE = 1000
#: So many places where the chain is broken are named.
MOST_SPANS = 10
HEAD = re.compile(r"([0-9]{1,18})(?::([0-9a-f]{8,64}))?")
SPAN = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
#: From and to which rows.
Span = tuple[int, int]

audit = Group("audit", help="Who did what: rows are only ever added, each sealed with the last.")


@command("list", audit)
@click.option("--person", default="", help="Username or e-mail address: who did it, or to whom.")
@click.option("--application", default="", help="Client ID, or the name of a deleted one.")
@click.option("--event", default="", help="Such as application.changed.")
@click.option("--from", "since", help="A day (UTC): 2026-11-24.")
@click.option("--to", "until", help="The last day.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def list_events(
    person: str,
    application: str,
    event: str,
    since: str | None,
    until: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Events, the latest first; with --json one object a line."""
    if event and event not in log.EVENTS:
        raise BadInput(f"There is no event {event!r}: use {', '.join(log.EVENTS)}.")
    last = _day(until)
    search = AuditSearch.named(
        person,
        application,
        event=event,
        since=_day(since),
        until=None if last is None else last + DAY,
    )
    before, left = None, limit
    while left is None or left > 0:
        rows = search.latest(min(left or READ_AT_ONCE, READ_AT_ONCE), before)
        for row in rows:
            if as_json:
                click.echo(json.dumps(log.as_dict(row), ensure_ascii=False))
            else:
                click.echo(f"{iso(row.at)}  {row.actor or '-'}  {log.sentence(row)}".strip())
        if len(rows) < min(left or READ_AT_ONCE, READ_AT_ONCE):
            return
        before, left = rows[-1].id, None if left is None else left - len(rows)


@command("verify", audit)
@click.option("--expect", metavar="ID[:SEAL]", help="What an earlier run printed as the head.")
@click.option(
    "--known",
    metavar="FROM[-TO]",
    multiple=True,
    help="Rows that you know do not fit, such as those before a new PORTAL_SECRET_KEY.",
)
def verify(expect: str | None, known: tuple[str, ...], as_json: bool) -> None:
    """Check the whole log; names the rows that were changed or are missing (exit code 1)."""
    accepted = _joined([_span(text) for text in known])
    matched = HEAD.fullmatch(expect) if expect is not None else None
    if expect is not None and not matched:
        raise BadInput("Give --expect as verify prints the head: the id, or the id:seal.")
    checked = AuditEvent.check(log.seal_key(), _show)
    excused = [span for span in checked.broken if _is_within(span, accepted)]
    broken = [span for span in checked.broken if span not in excused]
    if broken:
        raise Failure(
            f"Changed or missing: {_rows(broken)}. What was written with another PORTAL_SECRET_KEY"
            " looks the same: when that is why, leave it out with --known FROM-TO."
            " All other rows are as they were written."
        )
    last = checked.last
    count = last.id if last else 0
    if matched:
        _compare(int(matched[1]), matched[2], count)
    head = f"{last.id}:{last.seal}" if last else "0"
    if as_json:
        last_at = iso(last.at) if last else None
        print_json({"rows": count, "last_at": last_at, "head": head, "known": excused})
    elif last is None:
        click.echo("The audit log is empty.")
    else:
        but = f"\nNot vouched for: {_rows(excused)}, as you know." if excused else ""
        click.echo(f"All is well: {plural(count, 'row')}, the last one of {iso(last.at)}.{but}")
        click.echo(f"Head: {head}   (keep it elsewhere, for verify --expect)")


def _compare(expected: int, seal: str | None, count: int) -> None:
    if count < expected:
        raise Failure(f"Rows are missing at the end: {count} are there, {expected} were.")
    if seal and expected and not AuditEvent.get_by_id(expected).hash.hex().startswith(seal):
        raise Failure(f"Row {expected} is another one than was expected: the log was replaced.")


def _span(text: str) -> Span:
    matched = SPAN.fullmatch(text)
    if not matched or int(matched[2] or matched[1]) < int(matched[1]):
        raise BadInput(f"{text!r} names no rows: write --known 7, or --known 1-7.")
    return int(matched[1]), int(matched[2] or matched[1])


def _joined(spans: list[Span]) -> list[Span]:
    """Spans that overlap or lie side by side as one: `check` finds one, however it is named."""
    joined: list[Span] = []
    for first, to in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(to, joined[-1][1])
        else:
            joined.append((first, to))
    return joined


def _is_within(span: Span, others: list[Span]) -> bool:
    return any(first <= span[0] and span[1] <= to for first, to in others)


def _rows(broken: list[Span]) -> str:
    spans = [str(to) if to == first else f"{first} to {to}" for first, to in broken[:MOST_SPANS]]
    more = len(broken) - len(spans)
    others = f" and {plural(more, 'more place')}" if more else ""
    return f"{'row' if spans == [str(broken[0][0])] else 'rows'} {', '.join(spans)}{others}"


def _show(row_id: int) -> None:
    if row_id % PROGRESS_ROWS == 0:
        note(f"{row_id:,} rows checked so far")


def _day(text: str | None) -> int | None:
    if not text:
        return None
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise BadInput(f"{text!r} is no day: write it as 2026-11-24.") from None
