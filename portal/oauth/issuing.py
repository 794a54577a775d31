"""Turn a yes into rows: access tokens, and the family that a person's decision starts."""

from typing import Any, NamedTuple

from portal.clock import now
from portal.credentials import (
    ACCESS_TOKEN,
    REFRESH_TOKEN,
    format_token,
    hash_secret,
    make_secret,
    new_id,
)
from portal.models.client import Client, StaleClient
from portal.models.last_use import network_of
from portal.models.statements import INSERT_ACCESS_TOKEN, INSERT_FAMILY
from portal.models.token import beginning
from portal.oauth.claims import subject_for

JWT_TYPE = "at+jwt"


class Bearer(NamedTuple):
    """For whom a token is issued: a family and its person, or nobody (client credentials)."""

    family_id: int | None = None
    user_id: int | None = None
    sub: str | None = None
    auth_time: int | None = None


def issue_access_token(
    server: Any, client: Client, scope: str, resources: list[str], bearer: Bearer
) -> str:
    """Store a new access token and return it; `scope` is space-separated.

    Raises StaleClient when the application changed since its row was cached: nothing is stored.
    """
    token_id, moment = new_id(), now()
    expires_at = moment + server.settings.access_token_seconds
    if client.token_format == "jwt":  # noqa: S105
        token = _jwt(server, client, scope, resources, bearer, token_id, moment, expires_at)
        hashed = hash_secret(token)
    else:
        secret = make_secret()
        token, hashed = format_token(ACCESS_TOKEN, token_id, secret), hash_secret(secret)
    stored = INSERT_ACCESS_TOKEN.count(
        id=token_id,
        hash=hashed,
        family_id=bearer.family_id,
        user_id=bearer.user_id,
        scopes=scope,
        resources=" ".join(resources),
        now=moment,
        expires_at=expires_at,
        client_id=client.client_id,
        application_id=client.id,
        version=client.version,
    )
    if stored != 1:
        raise StaleClient(client.client_id)
    return token


def _jwt(
    server: Any,
    client: Client,
    scope: str,
    resources: list[str],
    bearer: Bearer,
    token_id: int,
    moment: int,
    expires_at: int,
) -> str:
    """The same token as a JWT that any resource server checks by itself (RFC 9068 §2.2)."""
    sub = client.client_id
    if bearer.sub is not None:
        sub = subject_for(client, bearer.sub, server.pairwise_key)
    audience: str | list[str] = server.settings.issuer
    if resources:
        audience = resources[0] if len(resources) == 1 else resources
    payload = {
        "iss": server.settings.issuer,
        "sub": sub,
        "aud": audience,
        "client_id": client.client_id,
        "scope": scope,
        "iat": moment,
        "exp": expires_at,
        "jti": f"{token_id:x}",
    }
    if bearer.auth_time is not None:
        payload["auth_time"] = bearer.auth_time
    return server.keys.sign(payload, "ES256", JWT_TYPE)


def start_family(server: Any, client: Client, decision: Any, flow: str, address: str) -> str | None:
    """Store the family that a code or device code starts; returns its refresh token.

    `flow` is "code" or "device"; of the address only the network is kept.

    None when the application may not refresh; the family then lives as long as its access token.
    """
    settings = server.settings
    refreshes = client.check_grant_type("refresh_token")
    secret, moment = make_secret(), now()
    seconds = settings.refresh_token_seconds if refreshes else settings.access_token_seconds
    INSERT_FAMILY.run(
        id=decision.id,
        application_id=client.id,
        user_id=decision.user_id,
        epoch=client.epoch,
        scopes=decision.scopes,
        refresh_hash=hash_secret(secret) if refreshes else None,
        auth_time=decision.auth_time,
        session_id=decision.session_id,
        claims=decision.claims,
        resources=decision.resources,
        now=moment,
        expires_at=moment + seconds,
        history=beginning(flow, network_of(address)),
    )
    return format_token(REFRESH_TOKEN, decision.id, secret) if refreshes else None
