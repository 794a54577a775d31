"""Who asks? The client is told one sentence for every cause, the operator which cause it was."""

from typing import NamedTuple

from portal.clock import now
from portal.credentials import hash_secret, matches
from portal.models import Application, ApplicationSecret
from portal.models.client import Client, Secret
from portal.models.client_cache import ClientCache
from portal.oauth import refusals
from portal.oauth.refusals import Reason, Refused, refuse
from portal.oauth.request_filter import ASSERTION, NONE, Credentials


class Proof(NamedTuple):
    """A client that proved itself; by this secret, unless it is a public one."""

    client: Client
    secret: Secret | None


def authenticate(clients: ClientCache, sent: Credentials, methods: list[str]) -> Proof:
    """The client that these credentials prove (RFC 6749 §2.3, §3.2.1).

    The cached row may be stale: a yes is checked by the statement that issues something, a no
    is only given on the row as the database has it now. Raises Refused (401 invalid_client).
    """
    if sent.client_id is None:
        asserted = sent.method == ASSERTION
        raise refuse(
            refusals.AUTHENTICATION_METHOD if asserted else refusals.AUTHENTICATION_MISSING,
            detail=ASSERTION if asserted else "",
        )
    cached = clients.get(sent.client_id)
    if proof := _proof(cached, sent, methods):
        return proof
    client = clients.current(sent.client_id)
    if client is not cached and (proof := _proof(client, sent, methods)):
        return proof
    raise _refusal(client, sent)


def _proof(client: Client | None, sent: Credentials, methods: list[str]) -> Proof | None:
    if client is None or not client.enabled or sent.method not in methods:
        return None
    if not client.check_endpoint_auth_method(sent.method, "token"):
        return None
    if sent.method == NONE:
        return Proof(client, None)
    secret = client.live_secret(sent.secret) if sent.secret is not None else None
    return Proof(client, secret) if secret else None


def _refusal(client: Client | None, sent: Credentials) -> Refused:
    """The refusal for the cause. Every cause asks the database the same questions."""
    secret = sent.secret or ""
    hashed = hash_secret(secret.strip())
    known = list(
        ApplicationSecret.select(ApplicationSecret, Application.id, Application.client_id)
        .join(Application)
        .where(ApplicationSecret.hash == hashed)
        .limit(5)
    )
    if client is None:
        return refuse(refusals.CLIENT_UNKNOWN, detail=(sent.client_id or "")[:80])
    reason = _cause(client, sent, secret, known)
    detail, secret_id = "", None
    if reason is refusals.SECRET_OF_ANOTHER:
        detail, secret_id = known[0].application.client_id, known[0].id
    elif reason in (refusals.SECRET_RETIRED, refusals.SECRET_EXPIRED):
        detail = known[0].prefix
    elif reason is refusals.AUTHENTICATION_METHOD:
        detail = sent.method
    return refuse(reason, application_id=client.id, detail=detail, secret_id=secret_id)


def _cause(
    client: Client, sent: Credentials, secret: str, known: list[ApplicationSecret]
) -> Reason:
    if not client.enabled:
        return refusals.APPLICATION_DISABLED
    if sent.method == ASSERTION:
        return refusals.AUTHENTICATION_METHOD
    if not client.confidential:
        # With its ID alone it was at an endpoint that needs a secret.
        alone = sent.method == NONE
        return refusals.AUTHENTICATION_METHOD if alone else refusals.SECRET_UNEXPECTED
    if not secret:
        return refusals.SECRET_MISSING
    mine = [row for row in known if row.application.id == client.id]
    if mine and secret != secret.strip():
        return refusals.SECRET_PADDED
    if mine:
        expired = mine[0].expires_at is not None and mine[0].expires_at <= now()
        gone = mine[0].retired_at is not None or not expired
        return refusals.SECRET_RETIRED if gone else refusals.SECRET_EXPIRED
    if known:
        return refusals.SECRET_OF_ANOTHER
    if any(_is_hash(secret, live.hash) for live in client.secrets):
        return refusals.SECRET_HASH
    return refusals.SECRET_WRONG


def _is_hash(text: str, stored: bytes) -> bool:
    return matches(text.strip().lower().encode("utf-8", "replace"), stored.hex().encode())
