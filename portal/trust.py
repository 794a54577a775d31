"""How trust stands: what was approved, until when, and what differs from it by now.

What is approved is the redirect URIs, the scopes, the owner and whether it is confidential. Any
change of these, fewer included, shows people the consent page until it is approved again.
"""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from portal.clock import now
from portal.models import Application, Trust
from portal.text import DAY, date, until

#: How long trust lasts unless somebody says otherwise, and at most.
USUAL_SECONDS = 365 * DAY
LONGEST_SECONDS = 731 * DAY
#: So long before the end it needs attention.
SOON_SECONDS = 30 * DAY

#: How an application's trust stands.
OFF, ON, WAITING, REFUSED, ENDED, CHANGED = "off", "on", "waiting", "refused", "ended", "changed"


# Days


def usual_end() -> int:
    """The end of the day a year from now."""
    return end_of_day(now() + USUAL_SECONDS)


def end_of_day(moment: int) -> int:
    return moment - moment % DAY + DAY - 1


def end_problem(moment: int) -> str | None:
    """What to change about a new end; None when it may be chosen."""
    if moment <= now():
        return "Choose today or a later day for the end of trust."
    if moment > end_of_day(now() + LONGEST_SECONDS):
        return "Choose a day within two years for the end of trust."
    return None


def day(moment: int) -> str:
    """`2027-11-24`, the last day (UTC)."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


# How it stands


def state(application: Application, row: Trust) -> str:
    """How its trust stands; ON as long as people are not asked, also while a renewal waits."""
    if not application.trusted:
        return OFF
    if application.skips_consent:
        return ON
    if row.waits:
        return WAITING
    if row.refused_at:
        return REFUSED
    if application.trusted_until:
        return ENDED
    return CHANGED


def told(application: Application, row: Trust) -> str:
    """The same in a sentence."""
    end = application.trust_ends_at or 0
    return {
        OFF: "Not trusted: people are asked.",
        ON: f"Trusted until {date(end)}: people are not asked.",
        WAITING: "Not approved as it is now: people see the consent page until another"
        " administrator approves it.",
        REFUSED: f"{row.refused_by} refused to trust it as it is now: people see the consent page.",
        ENDED: f"Its trust ended on {date(end)}: people see the consent page.",
        CHANGED: "Its owner changed, and nobody has asked to trust it since: people see the consent"
        " page. Ask again."
        if row.nobody_asks
        else "Not approved as it is now: people see the consent page. Ask for approval.",
    }[state(application, row)]


def ends_soon(application: Application) -> str | None:
    """`Trust ends in 12 days`, `Trust ended`; None when there is time, or nothing to end."""
    end = application.trusted_until
    if not end or end > now() + SOON_SECONDS:
        return None
    return f"Trust ends {until(end)}" if end > now() else "Trust ended"


class Difference(NamedTuple):
    """One part of what is approved: what stays, what goes and what comes."""

    name: str
    same: list[str]
    removed: list[str]
    added: list[str]


def differences(application: Application, row: Trust) -> list[Difference]:
    """What an approval would add to and take from what was approved last."""
    old: Any = json.loads(application.trust_approved or "[[],[],null,null]")
    new: Any = json.loads(application.trust_subject)
    owners = {
        old[2]: [row.approved_owner] if old[2] is not None else [],
        new[2]: [application.owner.username],
    }
    parts = (
        ("Redirect URIs", old[0], new[0]),
        ("Scopes", old[1], new[1]),
        ("Owner", owners[old[2]], owners[new[2]]),
        ("Kind", _kind(old[3]), _kind(new[3])),
    )
    return [
        Difference(
            name,
            [it for it in after if it in before],
            [it for it in before if it not in after],
            [it for it in after if it not in before],
        )
        for name, before, after in parts
    ]


def _kind(confidential: bool | None) -> list[str]:
    if confidential is None:
        return []
    return ["Confidential" if confidential else "Public"]
