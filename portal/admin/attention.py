"""What needs attention: what was refused to each application within a day, in a few words."""

from typing import Any

from peewee import Case, Value, fn

from portal.clock import now
from portal.models import Application, ApplicationSecret, Refusal, Trust
from portal.rotation import ending_secrets
from portal.text import DAY, plural, until
from portal.trust import ends_soon

#: No reason of a refusal: a secret ends soon.
ENDING = "ending"
#: Nor these: its trust waits for approval, or was refused.
TRUST_WAITS, TRUST_REFUSED = "trust_waits", "trust_refused"
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

    What went right so far, and ends soon: `Secret stops in 3 days`, as `row.secret_ends`; what
    its trust needs, `Trust ends in 12 days`, as `row.trust_needs`.
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
    asked: Any = Trust.select(
        Trust.application_id,
        Case(None, [(Trust.refused_at.is_null(), TRUST_WAITS)], TRUST_REFUSED),
        Trust.asked_at,
        Trust.asked_at,
    ).where(Trust.application_id.in_(ids), Trust.asked_at.is_null(False))
    trust: dict[int, str] = {}
    kinds: dict[int, dict[str, tuple[int, bool]]] = {}
    ends: dict[int, int] = {}
    for application_id, reason, count, first_at in (
        refused.union_all(ending).union_all(asked)
    ).tuples():
        if reason == ENDING:
            ends[application_id] = first_at
            continue
        if reason in (TRUST_WAITS, TRUST_REFUSED):
            trust[application_id] = reason
            continue
        mine = kinds.setdefault(application_id, {})
        times, today = mine.get(_kind(reason), (0, True))
        mine[_kind(reason)] = times + int(count), today and first_at > since
    for row in rows:
        stops = f"Secret stops {until(ends[row.id])}" if row.id in ends else None
        row.trust_needs = _trust_words(row, trust.get(row.id))  # type: ignore[attr-defined]
        row.secret_ends = stops  # type: ignore[attr-defined]
        row.attention = _words(kinds[row.id]) if row.id in kinds else None  # type: ignore[attr-defined]


def _trust_words(row: Application, asked: str | None) -> str | None:
    if not row.trusted:
        return None
    if asked:
        return "Trust waits for approval" if asked == TRUST_WAITS else "Trust was refused"
    return ends_soon(row) or (None if row.trusted_until else "Trust is not approved")


def _kind(reason: str) -> str:
    return next((kind for start, kind in KINDS.items() if reason.startswith(start)), "error")


def _words(kinds: dict[str, tuple[int, bool]]) -> str:
    """The kind that happened most. A row counts from its first day on, so an older one counts
    more than today's and is said without a number."""
    kind, (times, today) = max(kinds.items(), key=lambda item: item[1][0])
    if today:
        return f"{plural(times, kind)} today"
    return f"{kind[0].upper()}{kind[1:]}s today"
