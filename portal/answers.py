"""What heirs say to what an administrator offered them, and how the administrator hears of it.

The audit log remembers who offered what, also when the offer is gone with its answer.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from peewee import JOIN, Select, Value

from portal import mail
from portal.mail import Letter, MailError
from portal.models import Application, AuditEvent, User
from portal.settings import Settings
from portal.text import plural

SHOWN = 20
OFFERED = "application.offered"
ACCEPTED, DECLINED = "application.accepted", "application.declined"


class Answer(NamedTuple):
    """What an heir said to an offer."""

    event: AuditEvent
    #: None when it is deleted.
    application: Application | None

    @property
    def accepted(self) -> bool:
        return self.event.event == ACCEPTED

    @property
    def reason(self) -> str:
        """Why it was declined; may be empty."""
        return str(json.loads(self.event.after).get("reason", ""))


def latest(administrator: User, since: int) -> list[Answer]:
    """What was said since then to what this administrator offered; the latest first."""
    which = Application.id == AuditEvent.application_id
    rows = _said(administrator.id, since, AuditEvent, Application)
    rows = rows.join(Application, JOIN.LEFT_OUTER, on=which, attr="which")
    found = rows.order_by(AuditEvent.id.desc()).limit(SHOWN)
    return [Answer(row, getattr(row, "which", None)) for row in found]


def answered(administrator_id: int | Value, since: int | Value) -> Select:
    """The ids of the applications that they offered and somebody answered since then."""
    return _said(administrator_id, since, AuditEvent.application_id)


def _said(administrator_id: int | Value, since: int | Value, *columns: Any) -> Any:
    offered = AuditEvent.alias()
    mine = (offered.application_id == AuditEvent.application_id, offered.event == OFFERED)
    who = offered.select(offered.actor_id).where(*mine, offered.id < AuditEvent.id)
    return AuditEvent.select(*columns).where(
        AuditEvent.event.in_((ACCEPTED, DECLINED)),
        AuditEvent.at >= since,
        AuditEvent.actor_id != administrator_id,
        who.order_by(offered.id.desc()).limit(1) == administrator_id,
    )


def tell(
    settings: Settings, heir: User, rows: Iterable[Application], accepted: bool, reason: str = ""
) -> None:
    """Mail the answer to who offered these, if they are administrators still and mail is set."""
    if not settings.smtp_url:
        return
    answered: dict[int, list[str]] = defaultdict(list)
    for it in rows:
        said = AuditEvent.select(AuditEvent.actor_id).where(
            AuditEvent.application_id == it.id, AuditEvent.event == OFFERED
        )
        if (last := said.order_by(AuditEvent.id.desc()).first()) and last.actor_id:
            answered[last.actor_id].append(it.name)
    people = User.select().where(User.id.in_(list(answered)), User.is_admin, User.id != heir.id)
    for person in people.where(User.disabled_at.is_null()):
        letter = _letter(settings.issuer, person, heir, answered[person.id], accepted, reason)
        with suppress(MailError):  # it is logged, and the pages say it
            mail.send(settings, person.email, letter)


def _letter(
    issuer: str, person: User, heir: User, names: list[str], accepted: bool, reason: str
) -> Letter:
    what = names[0] if len(names) == 1 else plural(len(names), "application")
    verb = "accepted" if accepted else "declined"
    listed = "\n".join(f"- {name}" for name in names[:SHOWN])
    more = f"\n- and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    next_step = (
        f"{heir.display_name} is responsible now. Nothing is left to do."
        if accepted
        else f"{f'Why: {reason}' if reason else 'No reason was given.'}\n\nChoose somebody else:"
    )
    return Letter(
        f"{heir.display_name} {verb} {what}",
        f"""Hello {person.username},

{heir.display_name} {verb} what you offered:

{listed}{more}

{next_step}

{issuer}/admin/leaving
""",
    )
