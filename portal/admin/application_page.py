"""What an application's own page shows: its secrets, its refusals, and how to try it."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from shlex import quote
from typing import Any, NamedTuple
from urllib.parse import quote as percent_encode
from urllib.parse import urlencode

from flask import current_app

from portal import approval, cards, handover, reuse, trust
from portal.admin.audit import told
from portal.credentials import derive_key
from portal.models import Application, ApplicationSecret, LogoutDelivery, Refusal, Trust
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from portal.models.audit_search import AuditSearch
from portal.models.refusal import DETAIL_LENGTH, NOBODY
from portal.models.scope import PERSONAL
from portal.oauth import application_rules, effects, mismatch, redirect_uris
from portal.oauth.advice import advice, cause
from portal.oauth.checkup import check
from portal.oauth.refusals import GRANT_CODE_OFF, REDIRECT_URI_MISMATCH, REFRESH_REUSED

SHOWN_SECRETS = 10
SHOWN_EVENTS = 5
#: What the detail of a refusal is, where it is not what was sent.
LABELS = {
    "secret_of_another": "Belongs to",
    "secret_retired": "Begins with",
    "secret_expired": "Begins with",
    "parameter_missing": "Missing",
    "authentication_method": "Method",
}
SHOWN_STRANGERS = 5


def page_context(application: Application) -> dict[str, Any]:
    """Everything that templates/admin/applications/show.html needs but a new secret."""
    return {
        "application": application,
        "secret": None,
        "secrets": _secrets(application),
        "refusals": refusals_of(application),
        "reuse": reuse.report(application),
        "connected": application.people_connected(),
        "ends": effects.of_stopping(application),
        "links": list(_links(application)),
        "connect": _connect(application),
        "unheard": LogoutDelivery.failing(application.id),
        "history": told(AuditSearch(applications=[application.id]).latest(SHOWN_EVENTS)),
        "orphan": _orphan(application),
        "checkup": check(application),
        **_trust(application),
        # Of PKCE the check-up speaks.
        "warnings": application_rules.warnings({**application.__data__, "require_pkce": True}),
    }


def _orphan(application: Application) -> dict[str, Any]:
    """What became of the offer of an application whose owner leaves."""
    it = handover.offer_of(application)
    return {"told": handover.told(it), "waits": handover.waits(it)}


def _trust(application: Application) -> dict[str, Any]:
    """What is wrong with its trust, in a sentence; None when nothing is."""
    if not application.trusted:
        return {"trust_needs": None}
    row = Trust.of(application.id)
    soon = trust.ends_soon(application) if application.skips_consent else None
    waits = ", a renewal waits for approval" if row.waits else ""
    needs = f"{soon}{waits}." if soon else None
    if not application.skips_consent:
        needs = trust.told(application, row)
    return {"trust_needs": needs, "trust_waits": row.waits and bool(approval.decidable(row))}


def _secrets(application: Application) -> list[ApplicationSecret]:
    """The latest secrets, the newest first; the rows hold no secret."""
    mine = ApplicationSecret.select().where(ApplicationSecret.application == application.id)
    return list(mine.order_by(ApplicationSecret.id.desc()).limit(SHOWN_SECRETS))


# Refusals


@dataclass(frozen=True)
class ShownRefusal:
    """A refusal as the operator reads it."""

    title: str
    sentence: str
    count: int
    last_at: int
    reference: str
    sent: str = ""
    #: What `sent` is.
    label: str = "Sent"
    saved: str | None = None
    #: (sent, saved, differs, name) for each part of a redirect URI.
    diff: list[redirect_uris.Part] = field(default_factory=list)
    can_save: bool = False
    #: An old refresh token came: the connections' page knows more.
    is_reuse: bool = False
    #: A grant flow must be ticked first.
    is_flow_off: bool = False


def refusals_of(application: Application) -> list[ShownRefusal]:
    """An application's latest refusals, redirect URIs beside the saved one that was meant."""
    return [shown(refusal, application) for refusal in Refusal.of(application.id)]


def refusals_of_nobody() -> list[ShownRefusal]:
    """The latest refusals of requests whose client ID is missing or nobody's."""
    return [plain(refusal) for refusal in Refusal.of(NOBODY, SHOWN_STRANGERS)]


def savable_uri(application: Application, uri: str) -> str | None:
    """`uri` when a refusal of this application or a card offers to save it: never a link's
    invention."""
    if uri in cards.offered_uris(application):
        return uri
    offered = (it.sent for it in refusals_of(application) if it.can_save)
    return next((sent for sent in offered if sent == uri), None)


def shown(refusal: Refusal, application: Application) -> ShownRefusal:
    if cause(refusal, application) is not REDIRECT_URI_MISMATCH:
        return plain(refusal, application)
    title, sent = REDIRECT_URI_MISMATCH.title, refusal.detail
    when = (refusal.count, refusal.last_at, refusal.reference)
    if redirect_uris.matches(sent, application.redirect_uris):
        return ShownRefusal(title, "It has been saved since.", *when, sent=sent)
    saved = redirect_uris.nearest(sent, application.redirect_uris)
    if saved is None:
        return ShownRefusal(title, "No redirect URI is saved.", *when, sent=sent)
    return ShownRefusal(
        title,
        mismatch.told(sent, saved),
        *when,
        sent=sent,
        saved=saved,
        diff=redirect_uris.explain(sent, saved),
        can_save=_may_be_saved(sent, application.redirect_uris),
    )


def plain(refusal: Refusal, application: Application | None = None) -> ShownRefusal:
    reason = cause(refusal, application)
    return ShownRefusal(
        title=reason.title if reason else refusal.reason,
        sentence=advice(refusal, application),
        count=refusal.count,
        last_at=refusal.last_at,
        reference=refusal.reference,
        sent=refusal.detail,
        label=LABELS.get(refusal.reason, "Sent"),
        is_reuse=reason is REFRESH_REUSED,
        is_flow_off=reason is GRANT_CODE_OFF,
    )


def _may_be_saved(sent: str, saved: list[str]) -> bool:
    """Whether one click may save it. Anybody can fill this list with their own addresses, so
    only one whose host is saved already is offered."""
    if len(sent) >= DETAIL_LENGTH or redirect_uris.problem(sent):
        return False
    return any(redirect_uris.same_host(sent, uri) for uri in saved)


# Connect


class Fact(NamedTuple):
    """What the application itself must be told."""

    name: str
    value: str


def _connect(application: Application) -> list[Fact]:
    """The settings of a client library, in the order in which most of them ask."""
    issuer = current_app.extensions["portal.settings"].issuer
    facts = [
        Fact("Issuer", issuer),
        Fact("Discovery address", f"{issuer}/.well-known/openid-configuration"),
        Fact("Client ID", application.client_id),
        Fact("Client authentication", _authentication(application)),
    ]
    facts += [Fact("Redirect URI", uri) for uri in application.redirect_uris]
    if application.scopes:
        facts.append(Fact("Scopes", " ".join(application.scopes)))
    if "openid" in application.scopes:
        facts.append(Fact("ID token algorithm", application.id_token_alg))
    facts += [Fact("After sign-out", uri) for uri in application.post_logout_redirect_uris]
    return facts


def _authentication(application: Application) -> str:
    """How the application proves itself, as client libraries call it."""
    pkce = " with PKCE (S256)" if application.allows_grant(AUTHORIZATION_CODE) else ""
    if not application.confidential:
        return f"none{pkce}"
    return "client_secret_basic or client_secret_post" + (pkce if application.require_pkce else "")


# Try it


class Link(NamedTuple):
    """How to try one grant flow: a page to open, a command to paste."""

    label: str
    curl: str
    url: str | None = None
    url_text: str = ""


def _links(application: Application) -> Iterator[Link]:
    issuer = current_app.extensions["portal.settings"].issuer
    scope = " ".join(application.scopes)
    if application.allows_grant(AUTHORIZATION_CODE) and application.redirect_uris:
        yield _authorization_code(application, issuer, scope)
    if application.allows_grant(CLIENT_CREDENTIALS):
        own = " ".join(name for name in application.scopes if name not in PERSONAL)
        grant = {"grant_type": CLIENT_CREDENTIALS, **({"scope": own} if own else {})}
        yield Link("Client Credentials", curl(application, f"{issuer}/oauth/token", grant))
    if application.allows_grant(DEVICE_CODE):
        start = curl(application, f"{issuer}/oauth/device_authorization", {"scope": scope})
        swap = {"grant_type": DEVICE_CODE, "device_code": "$DEVICE_CODE"}
        poll = curl(application, f"{issuer}/oauth/token", swap)
        yield Link("Device Code", f"{start}\n\n{poll}", f"{issuer}/device", "Open the device page")
    if application.allows_grant(REFRESH_TOKEN):
        swap = {"grant_type": REFRESH_TOKEN, "refresh_token": "$REFRESH_TOKEN"}
        yield Link("Refresh", curl(application, f"{issuer}/oauth/token", swap))


def _authorization_code(application: Application, issuer: str, scope: str) -> Link:
    # The same at every look at this page, so that the link and the command fit together.
    key = derive_key(str(current_app.secret_key), f"try {application.client_id}")
    verifier = _base64url(key)
    redirect_uri = application.redirect_uris[0]
    asked = {
        "response_type": "code",
        "client_id": application.client_id,
        "redirect_uri": redirect_uri,
        "scope": scope,
        "state": "try-it",
        "code_challenge": _base64url(sha256(verifier.encode()).digest()),
        "code_challenge_method": "S256",
    }
    swap = {
        "grant_type": AUTHORIZATION_CODE,
        "code": "$CODE",
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return Link(
        "Authorisation Code",
        curl(application, f"{issuer}/oauth/token", swap),
        f"{issuer}/oauth/authorize?" + urlencode({k: v for k, v in asked.items() if v}),
        "Open the sign-in page",
    )


def curl(
    application: Application, address: str, fields: dict[str, str], secret_in_body: bool = False
) -> str:
    """A command to paste; $CLIENT_SECRET and other $NAMES are the shell's to fill in."""
    lines = [f"curl {quote(address)}"]
    if application.confidential and secret_in_body:
        mine = {"client_id": application.client_id, "client_secret": "$CLIENT_SECRET"}
        fields = {**fields, **mine}
    elif application.confidential:
        name = percent_encode(application.client_id, safe="")
        lines.append(f'-u "{name}:$CLIENT_SECRET"')
    else:
        fields = {"client_id": application.client_id, **fields}
    for name, value in fields.items():
        if value:
            shown = f'"{name}={value}"' if value.startswith("$") else quote(f"{name}={value}")
            lines.append(f"--data-urlencode {shown}")
    return " \\\n  ".join(lines)


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
