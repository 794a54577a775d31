"""What a token response means, in words: every claim a sentence, every check its result."""

import base64
import json
from typing import Any

from authlib.oidc.core.util import create_half_hash

from portal.admin.exchange import mask
from portal.clock import now
from portal.credentials import parse_token
from portal.models import Application
from portal.models.application import CLIENT_CREDENTIALS, REFRESH_TOKEN
from portal.models.statements import FIND_ACCESS_TOKEN
from portal.oauth import current_server
from portal.oauth.claims import SCOPE_OF
from portal.oauth.introspect import Introspection
from portal.text import iso, lasting, until

Check = tuple[bool, str]

#: What each claim says (OpenID Connect Core §2, RFC 9068 §2.2, RFC 7662 §2.2).
MEANINGS = {
    "active": "The token works now.",
    "iss": "Who issued it: this portal.",
    "sub": "The account number of the person: the application recognises them by it, not by name"
    " or e-mail.",
    "aud": "Whom it is for. Anybody else must refuse it.",
    "exp": "Until when it works",
    "iat": "When it was issued",
    "auth_time": "When the person entered their password",
    "nonce": "What the application sent along: it ties the token to this sign-in.",
    "acr": "How sure the sign-in is.",
    "amr": "How the person proved who they are: pwd is a password.",
    "at_hash": "Ties it to the access token that came with it.",
    "sid": "The person's sign-in, by which a sign-out is told.",
    "client_id": "The application that asked for it.",
    "scope": "What it may be used for.",
    "jti": "Its own number, so that it can be revoked.",
    "token_type": "Whoever bears it may use it: keep it secret.",
    "username": "The person's name here, for resource servers.",
}
#: What the header of a JWT says (RFC 7515 §4.1, RFC 9068 §2.1).
HEADERS = {
    "typ": "What kind of token it is; at+jwt is an access token, which no ID token can pass for.",
    "alg": "How it is signed. A resource server accepts only what it expects, and never none.",
    "kid": "The key at /oauth/jwks that signed it.",
}
MOMENTS = ("exp", "iat", "auth_time")


def read(
    application: Application, body: dict[str, Any], asked: dict[str, str]
) -> list[dict[str, Any]]:
    """The tokens of a response, explained; `asked` has what the checks compare: nonce, if any."""
    found = [_access_token(application, body["access_token"], asked)]
    if "id_token" in body:
        found.append(_id_token(application, body, asked))
    if "refresh_token" in body:
        unused = lasting(current_server().settings.refresh_token_seconds)
        text = (
            "Opaque: nobody but the portal reads it. Swapping it gives a new access token and a"
            f" new refresh token, and ends this one. It works until it is unused for {unused}."
        )
        found.append(_token("Refresh token", body["refresh_token"], text))
    return found


def remarks(application: Application, body: dict[str, Any], asked: dict[str, str]) -> list[Check]:
    """What an administrator may miss in the answer, and what came as it should."""
    wanted, got = set(asked.get("scope", "").split()), set(body.get("scope", "").split())
    said: list[Check] = []
    if wanted and wanted <= got:
        said.append((True, "Every scope that was asked for was granted."))
    elif wanted:
        missing = " ".join(sorted(wanted - got))
        said.append((False, f"Not granted: {missing}. An application must work without them."))
    if asked.get("grant_type") == CLIENT_CREDENTIALS:
        return said
    if "id_token" not in body:
        said.append((False, "No ID token: the scope openid was not asked for."))
    if "refresh_token" not in body and not application.allows_grant(REFRESH_TOKEN):
        said.append((False, "No refresh token: the application does not keep people signed in."))
    return said


def _access_token(application: Application, token: str, asked: dict[str, str]) -> dict[str, Any]:
    if token.count(".") == 2:
        header, claims, checks = _checked(token)
        audience = asked.get("resource") or current_server().settings.issuer
        checks += [
            (header.get("typ") == "at+jwt", "typ is at+jwt: it is an access token."),
            (claims.get("aud") == audience, f"aud is {audience}: nobody else may take it."),
            (claims.get("client_id") == application.client_id, "client_id is its own."),
        ]
        text = "A JWT: every resource server can check it by itself, with the keys at /oauth/jwks."
        return _token("Access token", token, text, claims, checks, application, header)
    text = (
        "Opaque: a resource server asks the portal at /oauth/introspect what it is, and hears this."
    )
    claims, checks = _introspected(application, token), []
    if resource := asked.get("resource"):
        checks.append((claims.get("aud") == [resource], f"aud is {resource}, which was asked for."))
    return _token("Access token", token, text, claims, checks, application)


def _introspected(application: Application, token: str) -> dict[str, Any]:
    """What introspection says about a token of this application."""
    server, presented = current_server(), parse_token(token)
    client = server.clients.current(application.client_id)
    if presented is None or client is None:
        return {"active": False}
    row = FIND_ACCESS_TOKEN.row(id=presented.id, asker_id=client.id)
    found = (presented, row, client) if row else None
    return Introspection(server=server).create_introspection_payload(found)


def _id_token(
    application: Application, body: dict[str, Any], asked: dict[str, str]
) -> dict[str, Any]:
    token = body["id_token"]
    header, claims, checks = _checked(token)
    fits = create_half_hash(body["access_token"], application.id_token_alg).decode("ascii")
    checks += [
        (claims.get("aud") == application.client_id, "aud is this application."),
        (claims.get("at_hash") == fits, "at_hash fits the access token."),
    ]
    if nonce := asked.get("nonce"):
        checks.append((claims.get("nonce") == nonce, "nonce is the one that was sent."))
    text = "A JWT for the application itself: who signed in, when and how."
    return _token("ID token", token, text, claims, checks, application, header)


def read_introspection(
    application: Application, token: str, body: dict[str, Any]
) -> list[dict[str, Any]]:
    """What introspection said, claim by claim."""
    text = "What a resource server hears that asks about this token, and the application itself."
    works = [(body.get("active") is True, "active is true: the token works now.")]
    return [_token("Access token", token, text, body, works, application)]


def read_userinfo(
    application: Application, token: str, body: dict[str, Any]
) -> list[dict[str, Any]]:
    """What UserInfo said, claim by claim."""
    text = "What the application learns about the person with this token."
    return [_token("Access token", token, text, body, [], application)]


def _checked(token: str) -> tuple[dict[str, Any], dict[str, Any], list[Check]]:
    """The header and the claims of a JWT, and what everybody who gets one must look at."""
    server = current_server()
    head, payload, _ = token.split(".")
    header, claims = _json(head), _json(payload)
    signed = server.keys.claims(token) is not None
    return (
        header,
        claims,
        [
            (
                signed,
                f"The signature is by the key {header['kid']} of /oauth/jwks ({header['alg']}).",
            ),
            (claims["iss"] == server.settings.issuer, "iss is this portal."),
            (claims["exp"] > now(), "exp has not passed."),
        ],
    )


def _token(
    name: str,
    token: str,
    text: str,
    claims: dict[str, Any] | None = None,
    checks: list[Check] | None = None,
    application: Application | None = None,
    header: dict[str, Any] | None = None,
) -> dict[str, Any]:
    rows = [
        (claim, _shown(value), _meaning(claim, value, application))
        for claim, value in (claims or {}).items()
    ]
    head = [(it, _shown(value), HEADERS.get(it, "")) for it, value in (header or {}).items()]
    shown = {"name": name, "masked": mask("access_token", token), "text": text}
    return {**shown, "header": head, "rows": rows, "checks": checks or []}


def _meaning(claim: str, value: Any, application: Application | None) -> str:
    meaning = MEANINGS.get(claim, "")
    if claim in MOMENTS:
        coming = f", {until(value)}" if claim == "exp" else ""
        return f"{meaning}: {iso(value)}{coming}."
    if claim == "sub" and application is not None and value == application.client_id:
        return "The application itself: nobody signed in."
    if claim == "active" and value is not True:
        return "The token does not work."
    if not meaning and claim in SCOPE_OF:
        return "About the person, from their profile."
    return meaning


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
