"""Change a secret without downtime: any number work side by side, each says whether it may go.

What people do here is in the audit log; what the portal does by itself, too: retire a secret that
nobody uses any more, and tell the owner before one ends that is still needed.
"""

from typing import Any, NamedTuple

from peewee import fn

from portal import audit, mail
from portal.clock import now
from portal.database import transaction
from portal.mail import Letter
from portal.models import Application, ApplicationSecret, User
from portal.settings import Settings
from portal.text import DAY, ago, date, plural, until

#: Used so lately, a secret is still needed.
STILL_USED_SECONDS = 7 * DAY
#: After so many days without a use a secret may retire by itself.
UNUSED_DAYS = (7, 14, 30)
NAME_LENGTH = 60
FURTHEST_SECONDS = 3650 * DAY
#: The owner is told so long before the end.
WARNING_SECONDS = (14 * DAY, 3 * DAY)
#: What ends soon needs attention when it was used so lately, or when nothing outlives it.
IN_USE_SECONDS = DAY
#: A turn of the sweep must not take longer than its lease.
MOST_LETTERS = 10


class Verdict(NamedTuple):
    """Whether a secret may go, in a sentence; `kind` is that of a note: ok, warn, danger, info."""

    kind: str
    text: str


# What people do


def add(application: Application, name: str = "", expires_at: int | None = None) -> str:
    """Another secret, which leaves once; the others go on working. Raises TooManySecrets."""
    with transaction():
        secret = application.add_secret(name, expires_at)
        row = application.live_secrets[0]
        _record("secret.added", application, row, after=_told(row))
    return secret


def change(application: Application, secret: ApplicationSecret, **changes: Any) -> bool:
    """Change its `name`, and when it stops: `expires_at`, `retire_unused_days`.

    False when it was retired meanwhile.
    """
    before = _told(secret)
    changes = {key: value for key, value in changes.items() if getattr(secret, key) != value}
    if not changes:
        return True
    if end := changes.get("expires_at"):
        # Who chooses a near end knows of it; what is further away is told of in time.
        near = end - now() <= WARNING_SECONDS[0]
        changes["warned_at"] = now() if near else None
    with transaction():
        if not application.change_secret(secret.id, **changes):
            return False
        for key, value in changes.items():
            setattr(secret, key, value)
        after = _told(secret)
        for event, keys in (
            ("secret.renamed", ("name",)),
            ("secret.scheduled", ("expires", "unused_days")),
        ):
            if any(before[key] != after[key] for key in keys):
                _record(
                    event,
                    application,
                    secret,
                    before={key: before[key] for key in keys},
                    after={key: after[key] for key in keys},
                )
    return True


def retire(application: Application, secret: ApplicationSecret, by_itself: bool = False) -> bool:
    """Refuse it from now on; False when it was retired already."""
    with transaction():
        if not application.retire_secret(secret.id):
            return False
        _record("secret.retired", application, secret, before=_told(secret), by_itself=by_itself)
    return True


def _record(
    event: str, application: Application, secret: ApplicationSecret, **details: Any
) -> None:
    subject = f"{application.name}: {secret.prefix}…"
    audit.record(event, application=application, subject=subject, **details)


def _told(secret: ApplicationSecret) -> dict[str, Any]:
    return {
        "prefix": secret.prefix,
        "name": secret.name,
        "expires": date(secret.expires_at) if secret.expires_at else None,
        "unused_days": secret.retire_unused_days,
    }


# What people read


def verdict(secret: ApplicationSecret, live: list[ApplicationSecret]) -> Verdict:
    """Whether a live secret may go; `live` are all that are, the newest first."""
    others = [it for it in live if it.id != secret.id]
    used = last_use(secret)
    if not others:
        return _only_one(secret, used)
    if secret.expires_at and _is_last(secret, others):
        return Verdict(
            "danger",
            f"Every secret ends, this one last, {until(secret.expires_at)}: make another one, or"
            " the application is locked out then.",
        )
    if secret.id == live[0].id:
        if secret.last_used_at:
            return Verdict("ok", f"The newest one: {used}.")
        return Verdict(
            "info", "Not used yet. Give it to the application; the old one works meanwhile."
        )
    if secret.last_used_at and now() - secret.last_used_at < STILL_USED_SECONDS:
        return Verdict("warn", f"The old one was still {used}: do not retire it yet.")
    for_long = (
        f"Not used for {plural((now() - secret.last_used_at) // DAY, 'day')}"
        if secret.last_used_at
        else "Never used"
    )
    if _is_replaced(secret, others):
        return Verdict("ok", f"{for_long}: safe to retire.")
    return Verdict(
        "info",
        f"{for_long}, but neither was another one since: wait until the application has used a"
        " newer one.",
    )


def _only_one(secret: ApplicationSecret, used: str) -> Verdict:
    if secret.expires_at:
        return Verdict(
            "danger",
            f"The only secret that works ends {until(secret.expires_at)}: make another one, or the"
            " application is locked out then.",
        )
    kept = " Portal never retires the last one by itself." if secret.retire_unused_days else ""
    return Verdict("info", f"The only secret that works, {used}.{kept}")


def last_use(secret: ApplicationSecret) -> str:
    """`used 3 hours ago, from 203.0.113.0/24`, `never used`."""
    if not secret.last_used_at:
        return "never used"
    words = ago(secret.last_used_at)
    where = f", from {secret.last_used_from}" if secret.last_used_from else ""
    return f"used {words[0].lower()}{words[1:]}{where}"


def _is_last(secret: ApplicationSecret, others: list[ApplicationSecret]) -> bool:
    return all(it.expires_at and it.expires_at <= (secret.expires_at or 0) for it in others)


def _is_replaced(secret: ApplicationSecret, others: list[ApplicationSecret]) -> bool:
    """Whether another one was used since this one was: the application has moved on."""
    since = secret.last_used_at or secret.created_at
    return any(it.last_used_at and it.last_used_at > since for it in others)


def needed_but_ending(moment: Any) -> tuple[Any, ...]:
    """The conditions of secrets that end soon and are used, or that nothing outlives."""
    mine, other = ApplicationSecret, ApplicationSecret.alias()
    outliving = other.select(other.id).where(
        other.application == mine.application,
        other.retired_at.is_null(),
        other.expires_at.is_null() | (other.expires_at > mine.expires_at),
    )
    return (
        mine.retired_at.is_null(),
        mine.expires_at > moment,
        mine.expires_at <= moment + WARNING_SECONDS[0],
        (mine.last_used_at > moment - IN_USE_SECONDS) | ~fn.EXISTS(outliving),
    )


# What the portal does by itself


def sweep(settings: Settings) -> None:
    """Retire what is unused for as long as was asked, and write the letters that are due."""
    retire_unused()
    if settings.sends_mail:
        warn_owners(settings)


def retire_unused() -> int:
    """Retire secrets that were to go once unused, and that another one has replaced."""
    it, moment = ApplicationSecret, now()
    unused = fn.COALESCE(it.last_used_at, it.created_at) <= moment - it.retire_unused_days * DAY
    due = list(
        it.select(it, Application)
        .join(Application)
        .where(it.retired_at.is_null(), it.retire_unused_days.is_null(False), unused)
    )
    count = 0
    for secret in due:
        others = [one for one in secret.application.live_secrets if one.id != secret.id]
        if secret.is_live and _is_replaced(secret, others):
            count += retire(secret.application, secret, by_itself=True)
    return count


def warn_owners(settings: Settings) -> int:
    """Tell owners 14 and 3 days before a secret ends that is needed; once each."""
    it, count = ApplicationSecret, 0
    rows = (
        it.select(it, Application, User)
        .join(Application)
        .join(User)
        .where(*needed_but_ending(now()), Application.disabled_at.is_null())
        .order_by(it.expires_at)
    )
    for secret in [row for row in rows if _is_due(row)][:MOST_LETTERS]:
        owner = secret.application.owner
        if owner.email:
            try:
                mail.send(settings, owner.email, _letter(settings.issuer, owner, secret))
            except mail.MailError:  # logged; the next turn tries again
                break
        it.update(warned_at=now()).where(it.id == secret.id).execute()
        count += 1
    return count


def _is_due(secret: ApplicationSecret) -> bool:
    """Whether a moment to warn has passed since the last warning."""
    moments = (secret.expires_at - before for before in WARNING_SECONDS)
    return any((secret.warned_at or 0) < moment <= now() for moment in moments)


def _letter(issuer: str, owner: User, secret: ApplicationSecret) -> Letter:
    application = secret.application
    return Letter(
        f"A client secret of {application.name} ends {until(secret.expires_at)}",
        f"""Hello {owner.username},

the client secret of {application.name} that begins with {secret.prefix}
ends on {date(secret.expires_at)} (UTC). It was {last_use(secret)}.

After that, requests with it are refused. An administrator of the portal can
make another secret today: both work beside each other until the application
has the new one.

{issuer}/account/applications/{application.client_id}
""",
    )
