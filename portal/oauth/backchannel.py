"""Back-channel logout: tell applications that a session ended (OIDC Back-Channel Logout 1.0).

Whatever ends a session (`Session.end`) stores a notice for each application in the same
transaction. Here they are sent: before the response of the request that stored them, at the end
of a command, and again by the sweep when an application did not take one.
"""

import logging
import time
from threading import Thread
from typing import Any
from uuid import uuid4

from flask import Flask, Response
from peewee import DatabaseError, InterfaceError

from portal.clock import now
from portal.fetch import SECONDS, TOOK_TOO_LONG, FetchError, post_form
from portal.models import Application, LogoutDelivery
from portal.models.signing_key import WrongSecretKey
from portal.oauth import current_server
from portal.oauth.claims import session_for, subject_for

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TOKEN_TYPE = "logout+jwt"  # noqa: S105
TOKEN_SECONDS = 120
#: So many at the same time; the rest waits for the sweep.
PARALLEL = 64
#: What resolving a name may take longer than the time limit of the exchange.
GRACE_SECONDS = 0.5

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Send what a request or a command stored, before its answer leaves."""

    def tell_now() -> None:
        try:
            _deliver(current_server(), LogoutDelivery.take_fresh())
        except (DatabaseError, InterfaceError, WrongSecretKey) as error:
            # They are stored: the sweep tries again.
            log.error("logout notices were not sent: %s", error.__class__.__name__)

    @app.after_request
    def after_request(response: Response) -> Response:
        tell_now()
        return response

    # Commands have no response.
    app.teardown_appcontext(lambda error: tell_now())


def deliver_due(server: Any) -> int:
    """Try again what was not taken; returns how many notices were due."""
    count = 0
    while waiting := LogoutDelivery.take_due():
        _deliver(server, waiting)
        count += len(waiting)
    return count


def _deliver(server: Any, waiting: list[LogoutDelivery]) -> None:
    """Send the notices at the same time, and forget those that were taken."""
    if not waiting:
        return
    ids = {notice.application_id for notice in waiting}
    asked = Application.select().where(
        Application.id.in_(ids),
        Application.backchannel_logout_uri != "",
        Application.disabled_at.is_null(),
    )
    applications = {row.id: row for row in asked}
    posts = {}
    for notice in waiting[:PARALLEL]:
        application = applications.get(notice.application_id)
        if application is None:  # it does not want to know any more
            notice.delete_instance()
            continue
        token = _logout_token(server, notice, application)
        posts[notice] = (application.backchannel_logout_uri, token)
    outcomes = _send_all(list(posts.values()), bool(server.settings.private_logout_uris))
    for notice, error in zip(posts, outcomes, strict=True):
        if error is None:
            notice.delete_instance()
        else:
            notice.failed(error)


def _send_all(posts: list[tuple[str, str]], allow_private: bool) -> list[str | None]:
    """POST each token to its address, all at once; None for each that was taken, else why not.

    Comes back in time whatever the receivers do; a thread that is stuck is left behind.
    """
    outcomes: list[str | None] = [TOOK_TOO_LONG] * len(posts)

    def send(place: int) -> None:
        address, token = posts[place]
        try:
            post_form(address, {"logout_token": token}, allow_private)
        except FetchError as error:
            outcomes[place] = str(error)
        else:
            outcomes[place] = None

    threads = [Thread(target=send, args=(place,), daemon=True) for place in range(len(posts))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + SECONDS + GRACE_SECONDS
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    return list(outcomes)


def _logout_token(server: Any, notice: LogoutDelivery, application: Application) -> str:
    """Who was signed out, signed as the application's ID tokens are (§2.4); never a nonce."""
    moment = now()
    claims = {
        "iss": server.settings.issuer,
        "aud": application.client_id,
        "iat": moment,
        "exp": moment + TOKEN_SECONDS,
        "jti": uuid4().hex,
        "sub": subject_for(application, notice.sub, server.pairwise_key),
        "sid": session_for(application, notice.sid, server.pairwise_key),
        "events": {EVENT: {}},
    }
    return server.keys.sign(claims, application.id_token_alg, TOKEN_TYPE)
