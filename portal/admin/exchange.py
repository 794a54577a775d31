"""One exchange of a test: the request as it was sent, the answer as it came, what it means.

Nothing shown here holds a secret, a code or a token: of each only the beginning is left.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from shlex import quote
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from flask import Request, current_app
from flask_login import current_user
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from portal.admin.application_page import LABELS, curl
from portal.credentials import CLIENT_SECRET
from portal.models import Application
from portal.models.application import AUTHORIZATION_CODE
from portal.oauth import current_server, refusals, rehearsal
from portal.oauth.refusals import Refused
from portal.oauth.request_filter import (
    BASIC,
    FORM,
    POST,
    MachineCall,
    read_authorization_request,
)
from portal.oauth.userinfo import answer_bearer
from portal.security import plain_headers

SECRETS = frozenset(
    {
        *("client_secret", "code", "code_verifier", "device_code"),
        *("access_token", "refresh_token", "id_token", "token"),
    }
)
#: What to do, where the refusal is not a mistake and the doctor has nothing to say.
ADVICE = {
    refusals.DEVICE_PENDING.code: "Open the device page, decide there, then ask again.",
    refusals.ACCESS_DENIED.code: "The application is told so, and must not ask again by itself.",
}
#: Where to put it right: the words of the link, and its address for a client ID.
SETTINGS = ("Change its settings", "/admin/applications/{}/edit")
ITS_SECRETS = ("Look at its secrets", "/admin/secrets/{}")
FIXES = {
    refusals.GRANT_NOT_ALLOWED.code: SETTINGS,
    refusals.GRANT_CODE_OFF.code: SETTINGS,
    refusals.SCOPE_NOT_ALLOWED.code: SETTINGS,
    refusals.SCOPE_UNKNOWN.code: ("Open the scopes", "/admin/scopes"),
    refusals.PKCE_MISSING.code: SETTINGS,
    refusals.APPLICATION_DISABLED.code: ("Enable it on its page", "/admin/applications/{}"),
    **{
        reason.code: ITS_SECRETS
        for reason in (
            refusals.SECRET_WRONG,
            refusals.SECRET_RETIRED,
            refusals.SECRET_EXPIRED,
            refusals.SECRET_OF_ANOTHER,
            refusals.SECRET_HASH,
        )
    },
}


@dataclass
class Exchange:
    """A request and its answer, as the page shows them."""

    title: str
    request: str
    status: str
    answer: str
    passed: bool
    curl: str = ""
    #: (passed, sentence) of what the application must look at in the answer.
    checks: list[tuple[bool, str]] = field(default_factory=list)
    #: What came, explained: see `token_reading`.
    tokens: list[dict[str, Any]] = field(default_factory=list)
    #: Why it was refused: code, title, hint, detail, label, fix.
    cause: dict[str, Any] | None = None

    as_dict = asdict

    @property
    def outcome(self) -> str:
        return self.cause["code"] if self.cause else "passed" if self.passed else "failed"


@dataclass(frozen=True)
class Proof:
    """How the application proves itself in this test; the secret is kept nowhere."""

    method: str = BASIC
    secret: str = ""


def ask(
    title: str, application: Application, endpoint: str, fields: Mapping[str, str], proof: Proof
) -> tuple[Exchange, dict[str, Any]]:
    """Ask one of the machines' endpoints as the application does; the answer's JSON, too."""
    server, path = current_server(), f"/oauth/{endpoint}"
    sent, authorization = {k: v for k, v in fields.items() if v}, None
    if not application.confidential:
        sent = {"client_id": application.client_id, **sent}
    elif proof.method == POST:
        mine = {"client_id": application.client_id, "client_secret": proof.secret}
        sent |= mine
    else:
        pair = f"{quote_plus(application.client_id)}:{quote_plus(proof.secret)}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    call = MachineCall(path, "", FORM, authorization, urlencode(sent).encode())
    with rehearsal.rehearsing() as refused:
        answer = server.answer(endpoint, call)
    body = json.loads(answer.body) if answer.body else {}
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(server.settings.issuer).netloc}"]
    if authorization:
        lines.append(f"Authorization: {authorization[:10]}… (client ID and secret)")
    lines += [f"Content-Type: {FORM}", "", "\n&".join(_pairs(sent))]
    headers = [*answer.headers, *plain_headers(current_app)]
    return Exchange(
        title,
        "\n".join(lines),
        _status(answer.status),
        "\n".join([*_headers(headers), "", json.dumps(masked(body), indent=2, ensure_ascii=False)]),
        passed=answer.status == HTTPStatus.OK,
        curl=curl(
            application,
            server.settings.issuer + path,
            {name: f"${name.upper()}" if name in SECRETS else v for name, v in fields.items()},
            secret_in_body=proof.method == POST,
        ),
        cause=cause_of(application, refused[-1]) if refused else None,
    ), body


def ask_userinfo(token: str) -> tuple[Exchange, dict[str, Any]]:
    """Ask UserInfo with an access token; the answer's JSON, too."""
    issuer, path = current_server().settings.issuer, "/oauth/userinfo"
    answer = answer_bearer(token)
    body = json.loads(answer.get_data() or b"{}")
    shown = Exchange(
        "Who is it? UserInfo",
        f"GET {path} HTTP/1.1\nHost: {urlsplit(issuer).netloc}\n"
        f"Authorization: Bearer {mask('access_token', token)}",
        _status(answer.status_code),
        "\n".join(
            [*_headers([*answer.headers]), "", json.dumps(body, indent=2, ensure_ascii=False)]
        ),
        passed=answer.status_code == HTTPStatus.OK,
        curl=f'curl {quote(issuer + path)} \\\n  -H "Authorization: Bearer $ACCESS_TOKEN"',
    )
    if not shown.passed:
        said = {"code": body.get("error", "no_token"), "title": body.get("error_description", "")}
        hint = "Ask for tokens again, with the scope openid: begin a new test."
        shown.cause = {**said, "hint": hint, "detail": "", "label": "", "fix": None}
    return shown, body


def ask_for_code(application: Application, asked: dict[str, str]) -> Exchange:
    """What /oauth/authorize says to this request, before the browser is sent there.

    An answer that is not passed is the one that the browser would get.
    """
    server = current_server()
    environ = EnvironBuilder("/oauth/authorize", query_string=urlencode(asked)).get_environ()
    request, error, answer = None, None, None
    with rehearsal.rehearsing():
        try:
            request = read_authorization_request(Request(environ), server.settings.issuer)
            rehearsal.admit(server.settings, current_user, request)
            server.consent_grant(request)
        except Refused as refused:
            error = refused
            if request is not None and error.redirect_uri:
                answer = server.send_error(request, error)
    shown = authorization(application, asked)
    if error is None:
        return shown
    shown.passed, shown.cause = False, cause_of(application, error)
    shown.status, shown.answer = _sent_back(answer)
    return shown


def authorization(application: Application, asked: dict[str, str]) -> Exchange:
    """The authorization request, not yet answered."""
    lines = ["GET /oauth/authorize", "?" + "\n&".join(_pairs(asked)) + " HTTP/1.1"]
    lines.append(f"Host: {urlsplit(current_server().settings.issuer).netloc}")
    return Exchange(
        "Authorisation request, in the browser",
        "\n".join(lines),
        "",
        "",
        passed=True,
        curl=_by_hand(application, asked),
    )


def answered(exchange: Exchange, answer: dict[str, str], checks: list[tuple[bool, str]]) -> None:
    """The browser came back with this."""
    address = rehearsal.callback(current_server().settings) + "?" + urlencode(answer)
    exchange.status, exchange.answer = _status(HTTPStatus.SEE_OTHER), _location(address)
    exchange.checks = checks
    exchange.passed = "code" in answer and all(passed for passed, _ in checks)


def cause_of(application: Application, error: Refused) -> dict[str, Any]:
    """The doctor's words for a refusal, and where to put it right."""
    reason = error.reason
    words, address = FIXES.get(reason.code, ("", ""))
    return {
        "code": reason.code,
        "title": reason.title,
        "hint": reason.advice(error.detail) or ADVICE.get(reason.code, reason.sentence),
        "detail": error.detail,
        "label": LABELS.get(reason.code, "Sent"),
        "fix": (words, address.format(application.client_id)) if words else None,
    }


# Hiding what is secret


def mask(name: str, value: str) -> str:
    """The beginning of a secret, code or token. A pasted secret may be anything: a password."""
    if name == "client_secret" and not value.startswith(CLIENT_SECRET):
        return "…"
    return f"{value[:4]}…"


def masked(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: mask(name, str(value)) if name in SECRETS else value for name, value in body.items()
    }


def _pairs(fields: Mapping[str, str]) -> list[str]:
    # Written as a form is, but for the dots.
    return [
        f"{name}={mask(name, value) if name in SECRETS else quote_plus(value)}"
        for name, value in fields.items()
    ]


def _sent_back(answer: Response | None) -> tuple[str, str]:
    if answer is None:
        return _status(HTTPStatus.BAD_REQUEST), "A page tells the person that it cannot go on."
    return _status(answer.status_code), _location(answer.headers["Location"])


def _location(address: str) -> str:
    where, _, query = address.partition("?")
    return f"Location: {where}\n?" + "\n&".join(_pairs(dict(parse_qsl(query))))


def _headers(headers: list[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers]


def _status(code: int) -> str:
    return f"{int(code)} {HTTPStatus(code).phrase}"


# By hand


def _by_hand(application: Application, asked: dict[str, str]) -> str:
    """The same with a shell: PKCE, and the address to open."""
    issuer = current_server().settings.issuer
    own = {**asked, "redirect_uri": own_redirect_uri(application) or asked["redirect_uri"]}
    left = {"state", "nonce", "code_challenge"}
    query = urlencode({name: value for name, value in own.items() if name not in left})
    return "\n".join(
        [
            "CODE_VERIFIER=$(openssl rand -hex 32)",
            'CODE_CHALLENGE=$(printf %s "$CODE_VERIFIER" | openssl dgst -sha256 -binary'
            " | openssl base64 -A | tr '+/' '-_' | tr -d '=')",
            "# Open this address; CODE is what comes back in the address of the next page.",
            f"echo {quote(f'{issuer}/oauth/authorize?{query}')}"
            '"&state=$(openssl rand -hex 16)&code_challenge=$CODE_CHALLENGE"',
        ]
    )


def own_redirect_uri(application: Application) -> str:
    """The application's own address, which the portal's page stands in for."""
    return application.redirect_uris[0] if application.redirect_uris else ""


def redeem_by_hand(application: Application, redirect_uri: str, method: str) -> str:
    issuer = current_server().settings.issuer
    fields = {
        "grant_type": AUTHORIZATION_CODE,
        "code": "$CODE",
        "redirect_uri": own_redirect_uri(application) or redirect_uri,
        "code_verifier": "$CODE_VERIFIER",
    }
    return curl(application, f"{issuer}/oauth/token", fields, secret_in_body=method == POST)
