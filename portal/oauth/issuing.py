"""Turn a yes into rows: access tokens, and the family that a person's decision starts."""

from typing import Any

from peewee import IntegrityError

from portal.clock import now
from portal.credentials import (
    ACCESS_TOKEN,
    REFRESH_TOKEN,
    format_token,
    hash_secret,
    make_secret,
    new_id,
)
from portal.database import database
from portal.models.client import Client, StaleClient
from portal.models.statements import INSERT_ACCESS_TOKEN, INSERT_FAMILY

ID_TRIES = 3


def issue_access_token(
    client: Client,
    scope: str,
    seconds: int,
    *,
    family_id: int | None = None,
    user_id: int | None = None,
) -> str:
    """Store a new access token and return it; `scope` is space-separated.

    Raises StaleClient when the application changed since its row was cached: nothing is stored.
    """
    secret, moment = make_secret(), now()
    for attempt in range(ID_TRIES):
        token_id = new_id()
        try:
            stored = INSERT_ACCESS_TOKEN.count(
                id=token_id,
                hash=hash_secret(secret),
                family_id=family_id,
                user_id=user_id,
                scopes=scope,
                now=moment,
                expires_at=moment + seconds,
                application_id=client.id,
                version=client.version,
            )
        except IntegrityError:
            # Two processes made the same id within a millisecond. Inside a transaction only the
            # caller can start again.
            if attempt == ID_TRIES - 1 or database.in_transaction():
                raise
            continue
        if stored != 1:
            raise StaleClient(client.client_id)
        return format_token(ACCESS_TOKEN, token_id, secret)
    raise AssertionError("unreachable")


def start_family(client: Client, decision: Any, scope: str, settings: Any) -> str | None:
    """Store the family that a code or device code starts; returns its refresh token.

    None when the application may not refresh; the family then lives as long as its access token.
    """
    refreshes = client.check_grant_type("refresh_token")
    secret, moment = make_secret(), now()
    seconds = settings.refresh_token_seconds if refreshes else settings.access_token_seconds
    INSERT_FAMILY.run(
        id=decision.id,
        application_id=client.id,
        user_id=decision.user_id,
        epoch=client.epoch,
        scopes=scope,
        refresh_hash=hash_secret(secret) if refreshes else None,
        auth_time=decision.auth_time,
        session_id=decision.session_id,
        now=moment,
        expires_at=moment + seconds,
    )
    return format_token(REFRESH_TOKEN, decision.id, secret) if refreshes else None
