"""Write to the audit log, in the transaction of the act that it tells.

`with audit.changing("application.disabled", it): it.disable()`, or `audit.record(…)` itself.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from flask import current_app, has_request_context, request
from flask_login import current_user

from portal.copying import see_whole
from portal.credentials import derive_key
from portal.database import database, on_sqlite, transaction
from portal.models import Application, AuditEvent, Scope, SigningKey, User
from portal.text import iso

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
    "application.trust_asked": "Asked to trust the application",
    "application.trust_approved": "Approved trust in the application",
    "application.trust_refused": "Refused to trust the application",
    "application.trust_ended": "Ended, on its date, the trust in the application",
    "secret.added": "Made another secret",
    "secret.renamed": "Renamed a secret",
    "secret.scheduled": "Changed when a secret stops",
    "secret.retired": "Retired a secret",
    "secret.misuse_settled": "Settled the misuse of a secret of",
    "application.rotated_secret": "Made a new secret for the application",
    "application.tested": "Tried the application",
    "application.split": "Split the application",
    "application.networks_accepted": "Accepted the networks of",
    "application.networks_watched": "Went back to watching the networks of",
    "application.refused_often": "Kept refusing the application",
    "application.offered": "Offered a new owner the application",
    "application.accepted": "Became the owner of the application",
    "application.declined": "Declined to own the application",
    "scope.added": "Added the scope",
    "scope.changed": "Changed the scope",
    "scope.deleted": "Deleted the scope",
    "person.added": "Added the person",
    "person.changed": "Changed the person",
    "person.made_administrator": "Made an administrator of",
    "person.unmade_administrator": "Took the administrator’s rights from",
    "person.disabled": "Disabled the person",
    "person.enabled": "Enabled the person",
    "person.deleted": "Deleted the person",
    "person.reset_link": "Made a link to set the password of",
    "person.set_password": "Set the password of",
    "person.reset_password": "Used a one-time link to set the password of",
    "person.signed_in": "Signed in",
    "person.signed_out_browser": "Signed out one browser",
    "person.signed_out_everywhere": "Signed out everywhere",
    "person.throttled": "Entered ten wrong passwords for",
    "consent.given": "Allowed the application",
    "consent.withdrawn": "Took access away from the application",
    "device.approved": "Allowed, on a device, the application",
    "device.denied": "Refused, on a device, the application",
    "key.rotated": "Made the signing key",
    "key.retired": "Retired the signing key",
    "portal.setup": "Used the set-up link to become the first administrator",
    "portal.setup_link": "Made the set-up link",
    "portal.demo": "Made the demo data",
    "portal.restored": "Restored the portal from a backup",
}
GROUPS = {
    "application": "Applications",
    "secret": "Client secrets",
    "scope": "Scopes",
    "person": "People",
    "consent": "Connected apps",
    "device": "Devices",
    "key": "Signing keys",
    "portal": "The portal",
}
#: What mends a portal whose secret key is lost.
WITH_ANY_KEY = ("key.", "portal.restored")
#: Who does it is whom it is done to.
OF_ONESELF = (
    "person.signed_in",
    "person.signed_out_browser",
    "person.signed_out_everywhere",
    "portal.setup",
)
#: The settings of an application that are told.
SETTINGS = (
    "name",
    "grants",
    "redirect_uris",
    "post_logout_redirect_uris",
    "scopes",
    "confidential",
    "require_pkce",
    "resource_server",
    "token_format",
    "id_token_alg",
    "subject_type",
    "resources",
    "backchannel_logout_uri",
    "trusted",
    "trust_reason",
)
#: Of these only what is in them counts, in whatever order.
UNORDERED = ("grants", "scopes")
State = dict[str, Any]
#: What an act with many parts has done so far; None outside of one.
_parts: ContextVar[list[State] | None] = ContextVar("audit parts", default=None)
Subject = Application | User | Scope


def record(
    event: str,
    *,
    actor: User | None = None,
    by_itself: bool = False,
    application: Application | None = None,
    person: User | None = None,
    subject: str = "",
    before: State | None = None,
    after: State | None = None,
) -> None:
    """Add an event of `EVENTS`; call it last in the transaction of the act: both or none stay.

    The actor is the person who is signed in, unless given; the portal when it acts `by_itself`.
    `subject` is the name of what it was done to, where neither `application` nor `person` says it.
    `before` and `after` hold what changed, by name; never a secret. Last, since other writers of
    the log wait until the transaction ends. A command gets WrongSecretKey with another secret key,
    and HalfCopied on a database that holds a part of a portal.
    """
    assert event in EVENTS, event
    actor = actor or _signed_in()
    name = application.name if application else person.username if person else ""
    told: State = {
        "event": event,
        "actor_id": actor.id if actor else None,
        "actor": PORTAL if by_itself else actor.username if actor else _nobody(),
        "application_id": application.id if application else None,
        "person_id": person.id if person else None,
        "subject": subject or name,
        "address": (request.remote_addr or "") if has_request_context() else "",
        "before": before,
        "after": after,
    }
    if told["actor"] == COMMAND_LINE:
        # The server starts neither then nor with another secret key. What was added here, the rest
        # of the copy would not find in its place, and a row sealed with that key would look forged.
        see_whole(database.obj)
    if told["actor"] == COMMAND_LINE and not event.startswith(WITH_ANY_KEY):
        SigningKey.see_that_they_open(derive_key(_secret_key(), "signing keys"))
    parts = _parts.get()
    if parts is None:
        AuditEvent.append(seal_key(), **told)
    else:
        parts.append(told)


@contextmanager
def many() -> Iterator[None]:
    """A transaction of many acts, whose events are all written at its end.

    Who holds the chain and then waits for a row would block for ever who holds that row and waits
    for the chain.
    """
    if _parts.get() is not None:  # a part of something larger that writes at its own end
        yield
        return
    with transaction():
        parts: list[State] = []
        token = _parts.set(parts)
        try:
            yield
        finally:
            _parts.reset(token)
        for told in parts:
            AuditEvent.append(seal_key(), **told)


@contextmanager
def changing(event: str, it: Subject) -> Iterator[None]:
    """A transaction; what it changes about `it` is recorded, and nothing when nothing changed."""
    with transaction():
        before = state_of(_locked(it))
        yield
        changed = _row(it).get()
        after = state_of(changed)
        names = [name for name in after if _differs(name, before[name], after[name])]
        if names:
            record(
                event,
                **_named(changed),
                before={name: before[name] for name in names},
                after={name: after[name] for name in names},
            )


def _differs(name: str, before: Any, after: Any) -> bool:
    return sorted(before) != sorted(after) if name in UNORDERED else bool(before != after)


def added(it: Subject) -> None:
    """Record that `it` is new; in the transaction that makes it."""
    record(f"{_kind(it)}.added", **_named(it), after=state_of(it))


@contextmanager
def deleting(it: Subject, after: State | None = None) -> Iterator[None]:
    """A transaction that deletes `it`; what it was is recorded."""
    with transaction():
        before = state_of(_locked(it))
        yield
        record(f"{_kind(it)}.deleted", **_named(it), before=before, after=after)


def state_of(it: Subject) -> State:
    """What the log tells of a row; of secrets how they begin."""
    if isinstance(it, Scope):
        return {name: getattr(it, name) for name in ("title", "description", "sensitive")}
    if isinstance(it, User):
        return {
            "name": it.name,
            "email": it.email,
            "email_verified": it.email_verified_at is not None,
            "administrator": bool(it.is_admin),
            "enabled": it.is_active,
        }
    return {
        "client_id": it.client_id,
        "owner": it.owner.username,
        **{name: getattr(it, name) for name in SETTINGS},
        "enabled": it.is_enabled,
        "secrets": [f"{secret.prefix}…" for secret in it.live_secrets],
    }


def seal_key() -> bytes:
    """The key of the chain, from the portal's secret key."""
    return derive_key(_secret_key(), "audit")


def _secret_key() -> str:
    secret_key: str = current_app.extensions["portal.settings"].secret_key
    return secret_key


def _locked(it: Subject) -> Any:
    """The row as it is now, which stays so for the rest of the transaction."""
    rows = _row(it)
    # On SQLite the transaction locks out other writers.
    return (rows if on_sqlite() else rows.for_update()).get()


def _row(it: Subject) -> Any:
    table: Any = type(it)
    key = table._meta.primary_key
    return table.select().where(key == getattr(it, key.name))


def _kind(it: Subject) -> str:
    return {Application: "application", User: "person", Scope: "scope"}[type(it)]


def _named(it: Subject) -> dict[str, Any]:
    return {"subject": it.name} if isinstance(it, Scope) else {_kind(it): it}


def _signed_in() -> User | None:
    if has_request_context() and current_user.is_authenticated:
        return current_user._get_current_object()
    return None


def _nobody() -> str:
    return "" if has_request_context() else COMMAND_LINE


# How it reads


def sentence(row: AuditEvent) -> str:
    """`Changed the application Wiki: redirect URIs`."""
    text = EVENTS.get(row.event, row.event)
    # Who signs in, or out, is the actor: the name would stand there twice.
    if row.subject and row.event not in OF_ONESELF:
        text = f"{text} {row.subject}"
    names = list(json.loads(row.after)) if row.event.endswith(".changed") else []
    told = [name.replace("_", " ").replace("uris", "URIs").replace("uri", "URI") for name in names]
    return f"{text}: {', '.join(told)}" if told else text


def as_dict(row: AuditEvent) -> State:
    """An event as JSON shows it."""
    return {
        "id": row.id,
        "at": iso(row.at),
        "event": row.event,
        "actor": row.actor,
        "what": sentence(row),
        "subject": row.subject,
        "address": row.address,
        "before": json.loads(row.before),
        "after": json.loads(row.after),
        "seal": row.seal,
    }
