"""Back-channel logout: tell applications that a session ended (OIDC Back-Channel Logout 1.0)."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from portal.clock import now
from portal.database import transaction
from portal.fetch import FetchError, post_form
from portal.models import Application, LogoutDelivery, Session, TokenFamily, User
from portal.oauth.claims import subject_for

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TOKEN_TYPE = "logout+jwt"  # noqa: S105
TOKEN_SECONDS = 120
PARALLEL = 8


def end_sessions(server: Any, user: User, sessions: Iterable[Session]) -> None:
    """End these sessions of a person, and tell every application that signed in from them.

    The rows are gone and the notices are stored before anything is sent; what an application
    does not take is tried again by `deliver_due`.
    """
    sids = [session.sid for session in sessions]
    with transaction():
        for session in sessions:
            Session.end(user.id, session.id)
        waiting = [
            LogoutDelivery.create(application_id=application_id, sub=user.sub, sid=sid)
            for application_id, sid in _signed_in(user, sids)
        ]
    _deliver(server, waiting)


def deliver_due(server: Any) -> int:
    """Try again what was not taken; returns how many notices were due."""
    waiting = LogoutDelivery.due()
    _deliver(server, waiting)
    return len(waiting)


def _signed_in(user: User, sids: list[int]) -> set[tuple[int, int]]:
    """The applications with a back channel that got ID tokens in these sessions."""
    rows = (
        TokenFamily.select(TokenFamily.application_id, TokenFamily.session_id, TokenFamily.scopes)
        .join(Application, on=(Application.id == TokenFamily.application_id))
        .where(
            TokenFamily.user_id == user.id,
            TokenFamily.session_id.in_(sids),
            Application.backchannel_logout_uri != "",
            Application.disabled_at.is_null(),
        )
    )
    return {(row.application_id, row.session_id) for row in rows if "openid" in row.scopes}


def _deliver(server: Any, waiting: list[LogoutDelivery]) -> None:
    if not waiting:
        return
    ids = {delivery.application_id for delivery in waiting}
    applications = {row.id: row for row in Application.select().where(Application.id.in_(ids))}
    jobs = [
        (delivery, applications[delivery.application_id])
        for delivery in waiting
        if delivery.application_id in applications
    ]
    tokens = [_logout_token(server, delivery, application) for delivery, application in jobs]
    allow_private = server.settings.private_logout_uris
    with ThreadPoolExecutor(PARALLEL) as pool:
        errors = pool.map(
            lambda job, token: _send(job[1].backchannel_logout_uri, token, allow_private),
            jobs,
            tokens,
        )
        outcomes = list(zip(jobs, errors, strict=True))
    for (delivery, _), error in outcomes:
        if error is None:
            delivery.delete_instance()
        else:
            delivery.failed(error)


def _send(uri: str, token: str, allow_private: bool) -> str | None:
    try:
        post_form(uri, {"logout_token": token}, allow_private)
    except FetchError as error:
        return str(error)
    return None


def _logout_token(server: Any, delivery: LogoutDelivery, application: Application) -> str:
    """Who was signed out, signed as the application's ID tokens are (§2.4); never a nonce."""
    moment = now()
    claims = {
        "iss": server.settings.issuer,
        "aud": application.client_id,
        "iat": moment,
        "exp": moment + TOKEN_SECONDS,
        "jti": uuid4().hex,
        "sub": subject_for(application, delivery.sub, server.pairwise_key),
        "sid": f"{delivery.sid:x}",
        "events": {EVENT: {}},
    }
    return server.keys.sign(claims, application.id_token_alg, TOKEN_TYPE)
