"""Who approves trust, and what asking, approving and refusing do.

Two enabled administrators have a hand in it: one asks, another decides. The portal's only
administrator does both, and what the command line marks counts as approved by the operator.
"""

from typing import Any

from flask import has_request_context
from flask_login import current_user

from portal import audit
from portal.clock import now
from portal.database import transaction
from portal.models import Application, Trust, User
from portal.models.trust import NOTHING_ASKED
from portal.trust import day, differences, usual_end

NOTE_LENGTH = 500
#: A turn of the sweep tells of so many ends.
MOST_ENDS = 500


class Stale(Exception):
    """The page showed something else than what would be decided on."""


class NotYours(Exception):
    """Somebody else decides, or it is asked again first; the text says so."""


# Who decides


def other_administrators(*asker_ids: str) -> list[User]:
    """The enabled administrators but these, by name; a few."""
    rows = User.select().where(User.is_admin, User.disabled_at.is_null())
    others = rows.where(User.id.not_in([int(it) for it in asker_ids]))
    return list(others.order_by(User.username_key).limit(5))


def asker_is_gone(*rows: Trust) -> set[int]:
    """Of these, by application, what somebody asked for who is no enabled administrator now.

    Whoever decided on it would decide alone: it is asked again first, in somebody's own name.
    """
    ids = {int(it) for row in rows for it in row.asker_ids}
    there = User.select(User.id).where(User.id.in_(ids), User.is_admin, User.disabled_at.is_null())
    left = {str(it) for it in ids} - {str(row.id) for row in there}
    return {row.application_id for row in rows if left & set(row.asker_ids)}


def decidable(*rows: Trust) -> set[int]:
    """Of these, by application, what waits and somebody may decide on now."""
    there = User.select(User.id).where(User.is_admin, User.disabled_at.is_null())
    enabled = {str(it.id) for it in there}
    return {
        row.application_id
        for row in rows
        if row.waits and (len(enabled) == 1 or set(row.asker_ids) < enabled)
    }


def waiting(most: int) -> tuple[int, int]:
    """How many wait for a decision, and how many for somebody who asks again; of so many."""
    rows = list(
        Trust.select().where(Trust.asked_at.is_null(False), Trust.refused_at.is_null()).limit(most)
    )
    count = len(decidable(*rows))
    return count, len(rows) - count


def may_decide(person: User, row: Trust) -> bool:
    """Another administrator than all who asked, who are there still; or the only one there is."""
    if not other_administrators(str(person.id)):
        return True
    return str(person.id) not in row.asker_ids and not asker_is_gone(row)


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
    asked = (row.asked_subject, row.asked_until or end) if row.is_open else None
    if asked != (it.trust_subject, end):
        ask(it, end)


def let_go(application: Application) -> None:
    """Call after an heir accepted: who accepts asks for nothing, and nobody decides on it yet."""
    it, row = _fresh(application)
    if it.trusted and not it.trusted_until:
        nobody = {**NOTHING_ASKED, "asker_ids": row.asker_ids, "asked_by": row.asked_by}
        Trust.keep(it.id, **{**nobody, "asked_at": now(), "asked_subject": it.trust_subject})
    elif row.is_open:  # it is what was approved, as long as that lasts
        Trust.keep(it.id, **NOTHING_ASKED)


def ask(application: Application, ends_at: int, whole: bool = False) -> None:
    """Ask to trust it as it is; who is the only administrator has it approved by that.

    With `whole` somebody asks who has seen all of it: the others before do not count any more.
    """
    it, row = _fresh(application)
    _ask(it, row, ends_at, alone=whole)
    person = _signed_in()
    if person and not other_administrators(str(person.id)):
        _approve(it, Trust.of(it.id), _only(person))


def _ask(it: Application, row: Trust, ends_at: int, alone: bool) -> None:
    person = _signed_in()
    name = person.username if person else audit.COMMAND_LINE
    ids, names = [str(person.id)] if person else [], [name]
    if row.is_open and not alone:
        ids, names = [*row.asker_ids, *ids], [*filter(None, row.asked_by.split(", ")), name]
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
        alone = not other_administrators(str(person.id))
        _approve(it, row, _only(person) if alone else person.username)


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


def _only(person: User) -> str:
    return f"{person.username}, the only administrator"


def _decided(application: Application, person: User, seen: str) -> tuple[Application, Trust]:
    # Who asked, and who decides, stay what they are until this is written.
    askers = [int(it) for it in Trust.of(application.id).asker_ids]
    decider = User.locked(person.id, *askers).get(person.id)
    if decider is None or not decider.is_admin or not decider.is_active:
        raise NotYours("You are not an administrator any more.")
    if not seen or not application.claim(seen):
        raise Stale
    it, row = _fresh(application)
    if not it.trusted or not row.waits:
        raise Stale
    if not may_decide(person, row):
        raise NotYours(
            "Ask again first: somebody who asked for it is not an administrator any more."
            if asker_is_gone(row)
            else "Another administrator must decide: you asked for it."
        )
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
