"""What a test knows as it goes on, what its answers mean, and how its tokens end."""

from typing import Any

from werkzeug.wrappers import Response

from portal import audit
from portal.admin import exchange, token_reading
from portal.admin.exchange import Exchange
from portal.admin.tester_page import FLOWS, TestForm, run_page
from portal.credentials import parse_token
from portal.database import transaction
from portal.models import AccessToken, Application, TokenFamily
from portal.oauth import rehearsal
from portal.oauth.rehearsal import Run

#: What can be asked next.
REDEEM, POLL, TOKENS, OVER = "redeem", "poll", "tokens", "over"


def new_run(application: Application, flow: str, form: TestForm) -> Run:
    """What a test knows; `made` has the ids of the tokens that it must end."""
    mine = {"client_id": application.client_id, "flow": flow, "scope": form.scope.data}
    return {**mine, "resource": form.resource.data, "steps": [], "made": []}


def cause_of_answer(answer: dict[str, str]) -> dict[str, Any]:
    """The words for an error that came with the browser."""
    denied = answer.get("error") == "access_denied"
    return {
        "code": answer.get("error", "code_missing")[:40],
        "title": "You pressed Deny" if denied else "No code came back",
        "hint": exchange.ADVICE["access_denied"] if denied else answer.get("error_description", ""),
        "detail": "",
        "label": "",
        "fix": None,
    }


def answer_page(
    application: Application, run: Run, shown: Exchange, body: dict[str, Any], otherwise: str
) -> Response:
    """Explain the tokens that came, or the refusal; `otherwise` is what can be asked then."""
    if not shown.passed:
        if otherwise != POLL or body.get("error") == "invalid_client":
            tell_outcome(application, run, shown)
        return run_page(application, run, shown, otherwise)
    asked = {"scope": run["scope"], "grant_type": FLOWS[run["flow"]], "resource": run["resource"]}
    if "refresh_token" not in run and "request" in run:
        asked["nonce"] = run["request"].get("nonce", "")  # a refreshed ID token has none
    shown.tokens = token_reading.read(application, body, asked)
    shown.checks = token_reading.remarks(application, body, asked)
    run["made"].append(token_id(body["access_token"]))
    run["access_token"] = body["access_token"]
    run["personal"] = "openid" in body.get("scope", "").split()
    if "refresh_token" in body:
        run["refresh_token"] = body["refresh_token"]
    for name in ("code", "verifier", "device_code"):
        run.pop(name, None)
    rehearsal.end()
    tell_outcome(application, run, shown)
    return run_page(application, run, shown, TOKENS)


def token_id(token: str) -> int:
    presented = parse_token(token)
    assert presented
    return presented.id


def end_token(application: Application, token_id: int) -> None:
    """End one access token, and the family that it comes from."""
    mine = (AccessToken.id == token_id) & (AccessToken.application_id == application.id)
    token = AccessToken.get_or_none(mine)
    if token is None:  # expired and swept, or revoked by hand
        return
    if token.family_id is not None:
        TokenFamily.end_one("revoked", token.family_id)
    AccessToken.revoke(token.id)


def tell_outcome(application: Application, run: Run, shown: Exchange) -> None:
    with transaction():
        record(application, run["flow"], shown.outcome)


def record(application: Application, flow: str, outcome: str) -> None:
    after = {"flow": flow, "outcome": outcome}
    audit.record("application.tested", application=application, after=after)
