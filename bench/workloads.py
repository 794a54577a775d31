"""What is asked of Portal: each workload's requests, its right answers and the rows it leaves."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Flask

from bench.hello import TEXT
from bench.load import Chain, Plan, Right, is_right
from bench.seed import PASSWORD, PEOPLE, REDIRECT_URI, SCOPE, Credentials, Data
from portal.database import database
from portal.models.application import DEVICE_CODE

FORM = "application/x-www-form-urlencoded"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B
COUNT_TOKENS = "SELECT COUNT(*) FROM access_token"
COUNT_ROTATIONS = "SELECT SUM(rotations) FROM token_family"
COUNT_CODES = "SELECT COUNT(*) FROM authorization_code"
COUNT_SESSIONS = "SELECT COUNT(*) FROM session"

HELLO = Plan("GET", [("/", "")], [Right(200, TEXT)])


@dataclass(frozen=True)
class Workload:
    """One kind of request; `plan` takes the data, the round and the number of connections."""

    name: str
    title: str
    plan: Callable[[Data, int, int], Plan]
    #: Each must grow by one with every right answer.
    rows: tuple[str, ...] = ()
    logins: bool = False


def basic(who: Credentials) -> dict[str, str]:
    """client_secret_basic; what Portal makes needs no escaping."""
    pair = f"{who.client_id}:{who.secret}".encode()
    return {"Authorization": f"Basic {b64encode(pair).decode()}", "Content-Type": FORM}


def token_plan(path: str, who: Credentials, right: list[Right], scope: str = SCOPE) -> Plan:
    body = urlencode({"grant_type": "client_credentials", "scope": scope})
    return Plan("POST", [(path, body)], right, basic(who))


def has(status: int, name: str, value: str) -> list[Right]:
    """A JSON body with this member, however it is spaced; `value` may be only its beginning."""
    return [Right(status, f'"{name}":{blank}{value}') for blank in (" ", "")]


def _token(data: Data, turn: int, connections: int) -> Plan:
    return token_plan("/oauth/token", data.machine, has(200, "access_token", '"pat_'))


def _token_jwt(data: Data, turn: int, connections: int) -> Plan:
    return token_plan("/oauth/token", data.machine_jwt, has(200, "access_token", '"eyJ'))


def _introspect(data: Data, turn: int, connections: int) -> Plan:
    requests = [("/oauth/introspect", urlencode({"token": token})) for token in data.access_tokens]
    return Plan("POST", requests, has(200, "active", "true"), basic(data.api))


def _refresh(data: Data, turn: int, connections: int) -> Plan:
    first = turn * connections
    chain = Chain(
        "grant_type=refresh_token&refresh_token=", data.refresh_tokens[first : first + connections]
    )
    body = chain.before + chain.tokens[0]
    right = has(200, "refresh_token", '"prt_')
    return Plan("POST", [("/oauth/token", body)], right, basic(data.web), chain)


def _device(data: Data, turn: int, connections: int) -> Plan:
    # slow_down is right, too: a code that is polled again within five seconds costs the same.
    requests = [
        (
            "/oauth/token",
            urlencode(
                {
                    "grant_type": DEVICE_CODE,
                    "client_id": data.device_client_id,
                    "device_code": code,
                }
            ),
        )
        for code in data.device_codes
    ]
    right = has(400, "error", '"authorization_pending"') + has(400, "error", '"slow_down"')
    return Plan("POST", requests, right, {"Content-Type": FORM})


def _authorize(data: Data, turn: int, connections: int) -> Plan:
    query = urlencode(
        {
            "response_type": "code",
            "client_id": data.web.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid profile",
            "state": "st4te",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
    )
    right = [Right(303, f"{REDIRECT_URI}?code=pac_", "Location")]
    return Plan("GET", [(f"/oauth/authorize?{query}", "")], right, {"Cookie": data.person_cookie})


def _admin_list(data: Data, turn: int, connections: int) -> Plan:
    right = [Right(200, "Application 000")]
    return Plan("GET", [("/admin/applications", "")], right, {"Cookie": data.admin_cookie})


def login_plan(data: Data) -> Plan:
    """Right passwords of several people, so that no throttle counts."""
    requests = [
        (
            "/login",
            urlencode(
                {
                    "csrf_token": data.login_csrf_token,
                    "username": f"person{number}",
                    "password": PASSWORD,
                }
            ),
        )
        for number in range(PEOPLE)
    ]
    headers = {"Cookie": data.login_cookie, "Content-Type": FORM}
    return Plan("POST", requests, [Right(303, "/account/connections", "Location")], headers)


WORKLOADS = (
    Workload("token", "Token, opaque", _token, (COUNT_TOKENS,)),
    Workload("token-jwt", "Token, ES256 JWT", _token_jwt, (COUNT_TOKENS,)),
    Workload("introspect", "Introspection", _introspect),
    Workload("refresh", "Refresh", _refresh, (COUNT_TOKENS, COUNT_ROTATIONS)),
    Workload("device", "Device poll, pending", _device),
    Workload("authorize", "Authorize, consent known", _authorize, (COUNT_CODES,)),
    Workload("admin", "List of applications", _admin_list),
    Workload("token-logins", "Token, 10 logins/s beside", _token, (COUNT_TOKENS,), logins=True),
)


def count_statements(app: Flask, plan: Plan) -> int:
    """SQL statements of one request: counted, not measured.

    Peewee's query hook sees each one. The first two requests fill the caches; that the application
    and its secret were used is written in between, as it is for many requests at once.
    """
    seen: list[str] = []

    def hook(event: object) -> None:
        seen.append(event.sql)  # type: ignore[attr-defined]

    client, (path, body) = app.test_client(use_cookies=False), plan.requests[0]
    database.obj.query_hooks.append(hook)
    try:
        for _ in range(3):
            app.extensions["portal.oauth"].uses.write()
            seen.clear()
            answer = client.open(path, method=plan.method, headers=plan.headers, data=body or None)
            text = answer.get_data(as_text=True)
            assert is_right(plan, answer.status_code, answer.headers, text), text
            if plan.chain:
                body = plan.chain.before + answer.get_json()["refresh_token"]
    finally:
        database.obj.query_hooks.remove(hook)
    return len([sql for sql in seen if sql.split()[0].upper() not in ("BEGIN", "COMMIT")])
