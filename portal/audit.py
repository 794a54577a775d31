"""Write to the audit log: `audit.record("application.disabled", application=it)`."""

from typing import Any

from flask import current_app, has_request_context, request
from flask_login import current_user

from portal.credentials import derive_key
from portal.models import Application, AuditEvent, User

COMMAND_LINE = "command line"
#: What it does by itself.
PORTAL = "the portal"

#: Every event, and what it is called.
EVENTS = {
    "application.added": "Added the application",
    "application.changed": "Changed the application",
    "application.disabled": "Disabled the application",
    "application.enabled": "Enabled the application",
    "application.deleted": "Deleted the application",
    "application.redirect_uri_registered": "Registered a redirect URI of",
    "application.redirect_uri_replaced": "Replaced a redirect URI of",
    "secret.added": "Made another secret",
    "secret.renamed": "Renamed a secret",
    "secret.scheduled": "Changed when a secret stops",
    "secret.retired": "Retired a secret",
}


def record(
    event: str,
    *,
    actor: User | None = None,
    by_itself: bool = False,
    application: Application | None = None,
    person: User | None = None,
    subject: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add an event of `EVENTS`; call it in the transaction of the act, so that both or none stay.

    The actor is the person who is signed in, unless given; the portal when it acts `by_itself`.
    `subject` is the name of what it was done to, where neither `application` nor `person` says it.
    `before` and `after` hold what changed, by name; never a secret.
    """
    assert event in EVENTS, event
    actor = actor or _signed_in()
    AuditEvent.append(
        seal_key(),
        event,
        actor_id=actor.id if actor else None,
        actor=PORTAL if by_itself else actor.username if actor else _nobody(),
        application_id=application.id if application else None,
        person_id=person.id if person else None,
        subject=subject or (application.name if application else person.username if person else ""),
        address=(request.remote_addr or "") if has_request_context() else "",
        before=before,
        after=after,
    )


def seal_key() -> bytes:
    """The key of the chain, from the portal's secret key."""
    return derive_key(current_app.extensions["portal.settings"].secret_key, "audit")


def _signed_in() -> User | None:
    if has_request_context() and current_user.is_authenticated:
        return current_user._get_current_object()
    return None


def _nobody() -> str:
    return "" if has_request_context() else COMMAND_LINE
