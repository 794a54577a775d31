"""What needs attention: what was refused to each application within a day, in a few words."""

from typing import Any

from peewee import Value, fn

from portal import reuse
from portal.clock import now
from portal.models import Application, ApplicationSecret, Refusal
from portal.rotation import ending_secrets
from portal.text import DAY, plural, until

#: No reason of a refusal: a secret ends soon.
ENDING = "ending"
#: Nor is this: a secret is used in several places.
REUSED = "reused"
#: What a reason is called in the list, by how its code starts.
KINDS = {
    "redirect_uri": "redirect error",
    "secret": "client secret error",
    "authentication": "client secret error",
    "pkce": "PKCE error",
    "verifier": "PKCE error",
    "code": "code error",
    "refresh": "refresh token error",
    "device": "device code error",
    "scope": "scope error",
    "grant": "grant flow error",
}


def note_attention(rows: list[Application]) -> None:
    """Put what went wrong within a day on each row: `12 redirect errors today`, or None.

    What went right so far, and ends soon: `Secret stops in 3 days`, as `row.secret_ends`; or whose
    secret is used in several places, as `row.secret_reused`.
    """
    since = now() - DAY
    ids = [row.id for row in rows]
    refused: Any = (
        Refusal.select(
            Refusal.application_id,
            Refusal.reason,
            fn.SUM(Refusal.count),
            fn.MIN(Refusal.first_at),
        )
        .where(
            Refusal.application_id.in_(ids),
            Refusal.last_at > since,
        )
        .group_by(Refusal.application_id, Refusal.reason)
    )
    end = fn.MIN(ApplicationSecret.expires_at)
    ending: Any = ending_secrets(ids, Value(ENDING), end, end)
    reused: set[int] = set()
    kinds: dict[int, dict[str, tuple[int, bool]]] = {}
    ends: dict[int, int] = {}
    columns = ApplicationSecret.application, Value(REUSED), Value(0), Value(0)
    elsewhere = reuse.reused(now(), *columns, among=ids)
    told = refused.union_all(ending).union_all(elsewhere)
    for application_id, reason, count, first_at in told.tuples():
        if reason == REUSED:
            reused.add(application_id)
            continue
        if reason == ENDING:
            ends[application_id] = first_at
            continue
        mine = kinds.setdefault(application_id, {})
        times, today = mine.get(_kind(reason), (0, True))
        mine[_kind(reason)] = times + int(count), today and first_at > since
    for row in rows:
        stops = f"Secret stops {until(ends[row.id])}" if row.id in ends else None
        row.secret_reused = row.id in reused  # type: ignore[attr-defined]
        row.secret_ends = stops  # type: ignore[attr-defined]
        row.attention = _words(kinds[row.id]) if row.id in kinds else None  # type: ignore[attr-defined]


def _kind(reason: str) -> str:
    return next((kind for start, kind in KINDS.items() if reason.startswith(start)), "error")


def _words(kinds: dict[str, tuple[int, bool]]) -> str:
    """The kind that happened most. A row counts from its first day on, so an older one counts
    more than today's and is said without a number."""
    kind, (times, today) = max(kinds.items(), key=lambda item: item[1][0])
    if today:
        return f"{plural(times, kind)} today"
    return f"{kind[0].upper()}{kind[1:]}s today"
