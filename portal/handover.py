"""Somebody leaves: what they own is offered to an heir, who becomes the owner by accepting.

Only offers wait for an answer. Where an administrator names an owner (an application's form, the
commands, deleting a person), the owner changes at once. No token changes in either case.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from peewee import Case, fn

from portal import approval, audit, mail
from portal.clock import now
from portal.database import on_sqlite, transaction
from portal.mail import Letter, MailError
from portal.models import Application, Offer, User
from portal.models.offer import DECLINED, OPEN
from portal.settings import Settings
from portal.text import date, plural

SHOWN = 20


class CannotInherit(Exception):
    """This person cannot be the heir; the text says why."""


class Owned(NamedTuple):
    """An application, and what became of its offer."""

    application: Application
    offer: Offer | None
    heir: User | None


class Leaver(NamedTuple):
    """Somebody who owns applications and has left, or is about to."""

    person: User
    owned: int
    waiting: int


# What administrators do


def check_heir(person: User, heir: User) -> None:
    """CannotInherit when `heir` cannot take over what `person` owns."""
    if heir.id == person.id:
        raise CannotInherit("Name somebody else: this is the person who leaves.")
    if not heir.is_active:
        raise CannotInherit(f"{heir.display_name} is disabled. Name somebody else.")


def hold(person: User, heir: User) -> None:
    """Both stay as they are until the transaction ends. Raises CannotInherit."""
    there = User.locked(person.id, heir.id)
    if heir.id not in there:
        raise CannotInherit(f"{heir.display_name} is deleted. Name somebody else.")
    check_heir(person, there[heir.id])


def offer(rows: Iterable[Application], heir: User) -> int:
    """Offer these to an heir, in place of former offers; how many were not offered to them yet."""
    with audit.many():
        theirs = filter(_has_the_same_owner, rows)
        made = [it for it in theirs if Offer.make(it.id, it.owner_id, heir.id)]  # type: ignore[attr-defined]
        for it in made:
            audit.record("application.offered", application=it, after={"to": heir.username})
    return len(made)


def assign(rows: Iterable[Application], heir: User) -> int:
    """Make somebody the owner of these at once; how many there were."""
    count = 0
    with audit.many():
        for it in filter(_has_the_same_owner, rows):
            with audit.changing("application.changed", it):
                it.change(owner=heir)
                approval.follow(it)
            count += 1
    return count


def _has_the_same_owner(it: Application) -> bool:
    """Whether nobody accepted it since it was read; nobody does until the transaction ends."""
    rows = Application.select().where(Application.id == it.id)
    fresh = (rows if on_sqlite() else rows.for_update()).first()
    return fresh is not None and fresh.owner_id == it.owner_id  # type: ignore[attr-defined]


def tell(settings: Settings, person: User, heir: User, count: int) -> None:
    """Mail the heir when there is a mail server; their pages say it in any case."""
    if not count or not settings.smtp_url or not heir.email or not heir.is_active:
        return
    with suppress(MailError):  # it is logged, and the notice stands on the pages
        mail.send(settings, heir.email, _letter(settings.issuer, person, heir, count))


def _letter(issuer: str, person: User, heir: User, count: int) -> Letter:
    what = plural(count, "application")
    be = "is" if count == 1 else "are"
    return Letter(
        f"{person.display_name} leaves: {what} {be} offered to you",
        f"""Hello {heir.username},

{person.display_name} leaves, and {what} that they own at
{issuer}
{be} offered to you. Whoever owns an application is responsible for it: people
who cannot get in ask its owner, and its owner is told before a secret ends.

See what it is, and accept or decline:

{issuer}/account/offers

Until you accept, nothing changes.
""",
    )


# What heirs do


def accept(application: Application, heir: User) -> bool:
    """Become the owner; False when it is offered to them no more, or they are disabled."""
    with transaction():
        person = User.locked(heir.id).get(heir.id)
        if person is None or not person.is_active:
            return False
        with audit.changing("application.accepted", application):
            taken = Offer.take(application.id, heir.id)
            if taken:
                application.change(owner=heir)
                approval.let_go(application)
    return taken


def decline(application: Application, heir: User, reason: str = "") -> bool:
    """Say no; False when it is offered to them no more."""
    with transaction():
        declined = Offer.decline(application.id, heir.id, reason)
        if declined:
            after = {"reason": reason} if reason else None
            audit.record("application.declined", application=application, after=after)
    return declined


def any_skips_consent(rows: Any) -> bool:
    """Whether any of these skips the consent page now, which ends when its owner changes."""
    trusted = rows.where(Application.trusted, Application.trust_ends_at > now())
    return any(it.skips_consent for it in trusted.iterator())


def offered_to(heir: User, until: int | None = None) -> Any:
    """The applications that wait for this person's answer, by name, with owner and `offered_at`."""
    rows = (
        Application.select(Application, User, Offer.offered_at)
        .join(User)
        .join_from(Application, Offer, on=(Offer.application_id == Application.id), attr="offer")
        .where(Offer.heir_id == heir.id, Offer.state == OPEN)
        .order_by(Application.name_key, Application.id)
    )
    return rows.where(Offer.offered_at <= until) if until is not None else rows


# What people read


def owned_by(person: User, limit: int | None = SHOWN) -> list[Owned]:
    """The applications of a person by name, with their offers; those that nobody takes first."""
    rows = (
        Application.select(Application, Offer, User)
        .left_outer_join(Offer, on=(Offer.application_id == Application.id), attr="offer")
        .left_outer_join(User, on=(User.id == Offer.heir_id), attr="heir")
        .where(Application.owner == person)
        .order_by(Case(None, [(Offer.state == OPEN, 1)], 0), Application.name_key, Application.id)
        .limit(limit)
    )
    return [_owned(row) for row in rows]


def _owned(row: Any) -> Owned:
    it = getattr(row, "offer", None)
    return Owned(row, it, getattr(it, "heir", None))


def offer_of(application: Application) -> Owned:
    """One application, and what became of its offer."""
    it = Offer.of(application.id)
    heir = User.get_or_none(User.id == it.heir_id) if it else None
    return Owned(application, it, heir)


def waits(it: Owned) -> bool:
    """Whether somebody is there who can accept it."""
    return bool(it.offer and it.offer.state == OPEN and it.heir and it.heir.is_active)


def told(it: Owned) -> str:
    """`Offered to Ben on 3 May 2026, not accepted yet.`; empty without an offer."""
    if it.offer is None:
        return ""
    who = it.heir.display_name if it.heir else "Somebody who is deleted"
    day = date(it.offer.offered_at)
    if waits(it):
        return f"Offered to {who} on {day}, not accepted yet."
    answered = it.offer.answered_at
    if it.offer.state != DECLINED or answered is None:
        return f"Offered to {who} on {day}, who has left since: choose somebody else."
    reason = f": “{it.offer.reason}”" if it.offer.reason else "."
    return f"{who} declined on {date(answered)}{reason}"


def leavers(limit: int) -> list[Leaver]:
    """Who has left and still owns applications, or hands them over now."""
    gone = User.select(User.id).where(User.disabled_at.is_null(False))
    handing_over = Offer.select(Offer.owner_id)
    rows = (
        User.select(
            User,
            fn.COUNT(Application.id).alias("owned"),
            fn.SUM(Case(None, [(Offer.state == OPEN, 1)], 0)).alias("waiting"),
        )
        .join(Application, on=(Application.owner == User.id))
        .left_outer_join(Offer, on=(Offer.application_id == Application.id))
        .where(User.id.in_(gone | handing_over))
        .group_by(User)
        .order_by(User.username_key)
        .limit(limit)
    )
    return [Leaver(row, row.owned, int(row.waiting)) for row in rows]
