"""GET and POST /oauth/logout: an application signs a person out (OIDC RP-Initiated Logout 1.0)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import request, session
from flask_login import current_user
from werkzeug.wrappers import Response

from portal.htmx import render
from portal.models import Session
from portal.oauth import blueprint, current_server
from portal.oauth.authentication_request import is_for
from portal.oauth.claims import subject_for
from portal.oauth.refusals import Refused
from portal.oauth.request_filter import read_authorization_request
from portal.security import csrf, may_redirect_anywhere, see_other

BAD_ADDRESS = (
    "The application asked to send you to an address that is not registered for it. You have not"
    " been sent there."
)


@blueprint.route("/oauth/logout", methods=["GET", "POST"])
@csrf.exempt
def end_session() -> Response:
    """Sign out at once when an ID token of ours proves the wish; else ask the person.

    Only such a proof, with an address registered to the character, sends anybody anywhere.
    """
    may_redirect_anywhere()
    server = current_server()
    wishes = _read(server)
    if request.method == "POST":
        # As a GET it comes with the cookies. Written anew, for the body may hold line breaks.
        return see_other(f"/oauth/logout?{urlencode(wishes)}")
    client, claims = _proof(server, wishes)
    if client is None or claims is None or not _is_about_this_person(server, client, claims):
        return _ask()
    target = wishes.get("post_logout_redirect_uri")
    if target is not None and target not in client.front.post_logout_redirect_uris:
        return _ask(BAD_ADDRESS)
    _sign_out()
    return _leave(target, wishes.get("state"))


@blueprint.post("/oauth/logout/confirm")
def confirm_logout() -> Response:
    """The person pressed the button."""
    may_redirect_anywhere()
    _sign_out()
    return render("oauth/logged_out.html")


def _read(server: Any) -> Mapping[str, str]:
    """The parameters; none when the request can be read in two ways."""
    try:
        payload = read_authorization_request(request, server.settings.issuer).payload
    except Refused:
        return {}
    return {} if payload.repeated else payload.data


def _proof(server: Any, wishes: Mapping[str, str]) -> tuple[Any, dict | None]:
    """The client that an `id_token_hint` of ours was issued to, and its claims; expired is fine."""
    claims = server.keys.claims(wishes.get("id_token_hint", ""))
    if claims is None or not isinstance(claims.get("aud"), str):
        return None, None
    client_id = wishes.get("client_id", claims["aud"])
    client = server.clients.current(client_id, whole=True)
    if client is None or not client.enabled or not is_for(claims, server, client_id):
        return None, None
    return client, claims


def _is_about_this_person(server: Any, client: Any, claims: dict) -> bool:
    """Whether the hint is about whoever is signed in here; nobody is fine."""
    if not current_user.is_authenticated:
        return True
    return bool(subject_for(client, current_user.sub, server.pairwise_key) == claims["sub"])


def _sign_out() -> None:
    if current_user.is_authenticated:
        Session.end(current_user.id, current_user.session.id)
    session.clear()


def _leave(target: str | None, state: str | None) -> Response:
    if target is None:
        return render("oauth/logged_out.html")
    query = f"{'&' if '?' in target else '?'}{urlencode({'state': state})}" if state else ""
    return see_other(target + query)


def _ask(problem: str | None = None) -> Response:
    """The page that asks "Sign out?", or says that nobody is signed in."""
    status = 400 if problem else 200
    if not current_user.is_authenticated:
        return render("oauth/logged_out.html", status=status, problem=problem)
    return render("oauth/logout.html", status=status, problem=problem)
