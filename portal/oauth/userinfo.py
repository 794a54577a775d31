"""GET and POST /oauth/userinfo: what the person agreed to say about themselves (OIDC §5.3)."""

import json
from typing import Any

from flask import request
from werkzeug.wrappers import Response

from portal.clock import now
from portal.credentials import ACCESS_TOKEN, matches, parse_token
from portal.models import User
from portal.models.compiled import Compiled, slot
from portal.models.statements import FIND_ACCESS_TOKEN
from portal.oauth import blueprint, current_server
from portal.oauth.claims import ClaimsRequest, about, scope_claims, subject_for
from portal.oauth.refusals import Refused
from portal.oauth.request_filter import FORM, parse_form
from portal.security import csrf

FIND_PERSON = Compiled(
    lambda: User.select(
        User.username,
        User.name,
        User.email,
        User.email_verified_at,
        User.profile,
        User.profile_updated_at,
        User.created_at,
    ).where(User.id == slot("id"))
)
#: Any of these scopes opens the endpoint.
ENOUGH = frozenset({"openid", "public"})


class BearerError(Exception):
    """A bearer token that does not do (RFC 6750 §3.1); without `error` none was sent."""

    def __init__(self, status: int, error: str | None = None, description: str = "") -> None:
        super().__init__(description)
        self.status, self.error, self.description = status, error, description


@blueprint.route("/oauth/userinfo", methods=["GET", "POST"])
@csrf.exempt
def userinfo() -> Response:
    """The claims that the token's scopes open, and those asked for by name."""
    try:
        token = _bearer_token()
    except BearerError as error:
        return _challenge(error)
    return answer_bearer(token)


def answer_bearer(token: str) -> Response:
    """What the bearer of this access token is told."""
    try:
        row = _bearer_row(token)
    except BearerError as error:
        return _challenge(error)
    scopes = row.scopes.split()
    names = [*scope_claims(scopes), *ClaimsRequest.restored(row.claims).userinfo]
    payload: dict[str, Any] = about(FIND_PERSON.row(id=row.user_id), names)
    if "openid" in scopes:
        payload["sub"] = subject_for(row, row.sub, current_server().pairwise_key)
    return Response(
        json.dumps(payload), 200, {"Content-Type": "application/json", "Cache-Control": "no-store"}
    )


def _bearer_row(token: str) -> Any:
    presented = parse_token(token)
    row = None
    if presented is not None and presented.kind == ACCESS_TOKEN:
        row = FIND_ACCESS_TOKEN.row(id=presented.id, asker_id=None)
    if (
        row is None
        or presented is None
        or not matches(presented.hash, row.hash)
        or not row.alive
        or row.expires_at <= now()
    ):
        raise BearerError(401, "invalid_token", "The access token is not valid.")
    if row.user_id is None or not ENOUGH & set(row.scopes.split()):
        raise BearerError(403, "insufficient_scope", "The access token is not about a person.")
    return row


def _bearer_token() -> str:
    """The token of the header or of the form body; one way only (RFC 6750 §2)."""
    if "access_token" in request.args:
        raise BearerError(400, "invalid_request", "Send the token in the Authorization header.")
    header = request.headers.get("Authorization")
    try:
        body = parse_form(request.get_data()) if request.mimetype == FORM else {}
    except Refused:
        raise BearerError(400, "invalid_request", "The request is malformed.") from None
    if header is not None and "access_token" in body:
        raise BearerError(400, "invalid_request", "Send the token once.")
    if header is None:
        if "access_token" not in body:
            raise BearerError(401)
        return body["access_token"]
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BearerError(401)
    return token.strip()


def _challenge(error: BearerError) -> Response:
    challenge = 'Bearer realm="Portal"'
    body: dict[str, str] = {}
    if error.error:
        challenge += f', error="{error.error}", error_description="{error.description}"'
        body = {"error": error.error, "error_description": error.description}
    return Response(
        json.dumps(body),
        error.status,
        {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "WWW-Authenticate": challenge,
        },
    )
