"""Trust: one administrator asks for it, another approves what the application is, for a time.

What is approved is the redirect URIs, the scopes, the owner and whether it is confidential. Any
change of these, fewer included, shows people the consent page until it is approved again.
"""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flask import has_request_context
from flask_login import current_user

from portal import audit
from portal.clock import now
from portal.database import transaction
from portal.models import Application, Trust, User
from portal.models.trust import NOTHING_ASKED
from portal.text import DAY, date, until

#: How long trust lasts unless somebody says otherwise, and at most.
USUAL_SECONDS = 365 * DAY
LONGEST_SECONDS = 731 * DAY
#: So long before the end it needs attention.
SOON_SECONDS = 30 * DAY
NOTE_LENGTH = 500
#: A turn of the sweep tells of so many ends.
MOST_ENDS = 500

#: How an application's trust stands.
OFF, ON, WAITING, REFUSED, ENDED, CHANGED = "off", "on", "waiting", "refused", "ended", "changed"


class Stale(Exception):
    """The page showed something else than what would be decided on."""


class NotYours(Exception):
    """Who asked does not decide while somebody else can; the text says so."""


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
    if row.is_open:
        return REFUSED if row.refused_at else WAITING
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
        CHANGED: "Not approved as it is now: people see the consent page. Ask for approval.",
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


# Who decides


def other_administrators(*asker_ids: str) -> list[User]:
    """The enabled administrators but these, by name; a few."""
    rows = User.select().where(User.is_admin, User.disabled_at.is_null())
    others = rows.where(User.id.not_in([int(it) for it in asker_ids]))
    return list(others.order_by(User.username_key).limit(5))


def may_decide(person: User, row: Trust) -> bool:
    """Nobody on what they asked for, unless they are the only enabled administrator."""
    return str(person.id) not in row.asker_ids or not other_administrators(str(person.id))


# Acts; each in the transaction of what caused it


def follow(application: Application, ends_at: int | None = None, operator: bool = False) -> None:
    """Call after a change: asks for approval where a trusted application is not what was approved.

    `ends_at` is the end that was chosen with the change. With `operator`, the command line marked
    it as trusted, which approves it.
    """
    it, row = _fresh(application)
    if not it.trusted:
        if row.is_open:
            Trust.keep(it.id, **NOTHING_ASKED)
        return
    approved = it.trusted_until
    end = ends_at or row.asked_until or it.trust_ends_at or usual_end()
    if end <= now() and (operator or not approved):
        end = usual_end()
    if operator:
        if ends_at or approved <= now():
            _ask(it, row, end, alone=True)
            _approve(it, Trust.of(it.id), audit.COMMAND_LINE)
        return
    if approved and end == approved:
        if row.is_open:  # what was changed is as it was
            Trust.keep(it.id, **NOTHING_ASKED)
        return
    asked = (row.asked_subject, row.asked_until) if row.is_open else None
    if asked != (it.trust_subject, end):
        ask(it, end)


def ask(application: Application, ends_at: int, whole: bool = False) -> None:
    """Ask to trust it as it is; who is the only administrator has it approved by that.

    With `whole` somebody asks who has seen all of it: the others before do not count any more.
    """
    it, row = _fresh(application)
    _ask(it, row, ends_at, alone=whole)
    person = _signed_in()
    if person and not other_administrators(str(person.id)):
        _approve(it, Trust.of(it.id), f"{person.username}, the only administrator")


def _ask(it: Application, row: Trust, ends_at: int, alone: bool) -> None:
    person = _signed_in()
    name = person.username if person else audit.COMMAND_LINE
    ids, names = [str(person.id)] if person else [], [name]
    if row.is_open and not alone:
        ids, names = [*row.asker_ids, *ids], [*row.asked_by.split(", "), name]
    old, new = _told(it, row, ends_at)
    Trust.keep(
        it.id,
        **{
            **NOTHING_ASKED,
            "asked_at": now(),
            "asker_ids": list(dict.fromkeys(ids)),
            "asked_by": ", ".join(dict.fromkeys(names)),
            "asked_until": ends_at,
            "asked_subject": it.trust_subject,
        },
    )
    it.change()  # pages that show what was asked for before are out of date
    audit.record("application.trust_asked", application=it, before=old, after=new)


def approve(application: Application, person: User, seen: str) -> None:
    """Trust it as the page showed it, until the end that was asked for. Raises Stale, NotYours."""
    with transaction():
        it, row = _decided(application, person, seen)
        if row.asked_until is None or row.asked_until <= now():
            raise Stale
        _approve(it, row, person.username)


def refuse(application: Application, person: User, seen: str, note: str) -> None:
    """Leave it as it is, with a word for who asked. Raises Stale, NotYours."""
    with transaction():
        it, _ = _decided(application, person, seen)
        Trust.keep(it.id, refused_at=now(), refused_by=person.username, note=note)
        audit.record("application.trust_refused", application=it, after={"note": note})


def withdraw(application: Application) -> None:
    """Ask people again from now on."""
    with audit.changing("application.changed", application):
        application.change(trusted=False)
        Trust.keep(application.id, **NOTHING_ASKED)


def _decided(application: Application, person: User, seen: str) -> tuple[Application, Trust]:
    if not seen or not application.claim(seen):
        raise Stale
    it, row = _fresh(application)
    if not it.trusted or not row.waits:
        raise Stale
    if not may_decide(person, row):
        raise NotYours("Another administrator must decide: you asked for it.")
    return it, row


def _approve(it: Application, row: Trust, by: str) -> None:
    end = row.asked_until or usual_end()
    before, after = _told(it, row, end)
    it.change(trust_ends_at=end, trust_approved=it.trust_subject)
    Trust.keep(
        it.id,
        **{
            **NOTHING_ASKED,
            "approved_at": now(),
            "approved_by": by,
            "approved_owner": it.owner.username,
        },
    )
    audit.record(
        "application.trust_approved", application=it, before=before, after={**after, "by": by}
    )


def _told(it: Application, row: Trust, ends_at: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """For the audit log: what was approved last, and what this is about."""
    parts = {part.name.lower().replace(" ", "_"): part for part in differences(it, row)}
    before = {name: [*part.same, *part.removed] for name, part in parts.items()}
    after: dict[str, Any] = {name: [*part.same, *part.added] for name, part in parts.items()}
    return before, {**after, "until": day(ends_at), "reason": it.trust_reason}


def _fresh(application: Application) -> tuple[Application, Trust]:
    rows = Application.select(Application, User).join(User)
    return rows.where(Application.id == application.id).get(), Trust.of(application.id)


def _signed_in() -> User | None:
    if has_request_context() and current_user.is_authenticated:
        return current_user._get_current_object()
    return None


# What the portal does by itself


def sweep() -> int:
    """Put the ends of trust into the audit log, once each."""
    rows = (
        Application.select(Application, Trust.told_end)
        .join(Trust, on=(Trust.application_id == Application.id))
        .where(
            Application.trust_ends_at <= now(),
            Application.trusted,
            Trust.told_end < Application.trust_ends_at,
        )
        .limit(MOST_ENDS)
    )
    count = 0
    for it in list(rows):
        with transaction():
            Trust.keep(it.id, told_end=it.trust_ends_at)
            audit.record(
                "application.trust_ended",
                application=it,
                by_itself=True,
                before={"until": day(it.trust_ends_at)},
            )
        count += 1
    return count
