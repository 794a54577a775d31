"""Try an application: the portal plays it, and shows each request and answer in words.

Secrets, codes and tokens are stored nowhere: a secret is pasted for the request that needs it, the
rest goes from page to page encrypted, and only this session can go on with it.
"""

import base64
import secrets
from hashlib import sha256
from urllib.parse import urlencode

from flask import abort, flash, request
from flask_login import current_user
from werkzeug.wrappers import Response

from portal.admin import blueprint, exchange, token_reading
from portal.admin.application_list import QUERY_LENGTH
from portal.admin.tester_page import (
    ADDRESS,
    FLOWS,
    LONGEST,
    TestForm,
    confirm_address,
    is_fresh,
    run_page,
    start_page,
)
from portal.admin.tester_run import (
    OVER,
    POLL,
    REDEEM,
    TOKENS,
    answer_page,
    cause_of_answer,
    end_token,
    new_run,
    record,
    tell_outcome,
)
from portal.database import transaction
from portal.htmx import render
from portal.models import Application, User
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from portal.models.scope import PERSONAL
from portal.models.search import find_applications
from portal.oauth import current_server, rehearsal
from portal.oauth.rehearsal import Run
from portal.security import no_store, see_other

SHOWN = 20
STEPS = (
    "any('authorization-code','client-credentials','device-code',"
    "redeem,poll,refresh,userinfo,introspect,revoke)"
)
STALE = "This test was begun too long ago, or in another session: begin again."
NOT_YOURS = (
    "This answer belongs to no test that you have begun in this browser, or to one that is over."
    " Nothing was done with it. Begin again from the page of the application."
)


@blueprint.get("/tester")
def choose_application() -> Response:
    """Choose the application to try: those used last, or those that a search finds."""
    query = request.args.get("q", "").replace("\0", "").strip()[:QUERY_LENGTH]
    rows = Application.select(Application, User).join(User)
    if query:
        rows = rows.where(find_applications(query).among).order_by(Application.name_key)
    else:
        rows = rows.order_by(Application.last_used_at.desc(), Application.id.desc())
    return render("admin/tester/index.html", query=query, applications=list(rows.limit(SHOWN)))


@blueprint.get("/tester/<client_id>")
def show_tester(client_id: str) -> Response:
    """What can be tried; `?flow=` chooses one of them, `?scope=` and `?resource=` what to ask."""
    application = _find(client_id)
    allowed = [slug for slug, grant in FLOWS.items() if application.allows_grant(grant)]
    flow = request.args.get("flow", "")
    flow = flow if flow in FLOWS else next(iter(allowed), next(iter(FLOWS)))
    asked = {"scope": _usual_scope(application, flow), **request.args.to_dict()}
    form = TestForm(
        formdata=None, data={name: asked.get(name, "") for name in ("scope", "resource")}
    )
    return start_page(application, flow, form)


@blueprint.post("/tester/<client_id>/authorization-code")
def start_authorization_code(client_id: str) -> Response:
    """Send the browser to the real sign-in and consent pages; the answer comes back here."""
    application, form, stop = _start(client_id, "authorization-code", needs_secret=False)
    if stop:
        return stop
    settings, verifier = current_server().settings, secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    scope = form.scope.data
    asked = {
        "response_type": "code",
        "client_id": application.client_id,
        "redirect_uri": rehearsal.callback(settings),
        "scope": scope,
        "resource": form.resource.data,
        "state": secrets.token_urlsafe(16),
        "nonce": secrets.token_urlsafe(16) if "openid" in scope.split() else "",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    asked = {name: value for name, value in asked.items() if value}
    run = new_run(application, "authorization-code", form)
    run |= {"request": asked, "verifier": verifier}
    rehearsal.begin(settings, current_user, run)
    shown = exchange.ask_for_code(application, asked)
    if shown.passed:
        return see_other("/oauth/authorize?" + urlencode(asked))
    rehearsal.end()
    tell_outcome(application, run, shown)
    return run_page(application, run, shown, OVER)


@blueprint.get("/tester/callback")
def receive_answer() -> Response:
    """Take the answer out of the address: the code waits, encrypted, in this session's cookie."""
    settings, answer = current_server().settings, request.args.to_dict()
    run = rehearsal.begun(settings, current_user)
    if run is None or not _is_same(answer.get("state"), run["request"]["state"]):
        return no_store(render("admin/tester/stray.html", status=400, message=NOT_YOURS))
    if "answer" not in run:
        names = ("code", "state", "iss", "error", "error_description")
        run["answer"] = {name: answer[name][:LONGEST] for name in names if name in answer}
        rehearsal.begin(settings, current_user, run)
    return see_other(f"{ADDRESS}/{run['client_id']}/code")


@blueprint.get("/tester/<client_id>/code")
def show_code(client_id: str) -> Response:
    """What came back with the browser, and the button that swaps it for tokens."""
    application = _find(client_id)
    settings = current_server().settings
    run = rehearsal.begun(settings, current_user)
    if run is None or run["client_id"] != client_id or "answer" not in run:
        return _begin_again(application)
    answer, shown = run.pop("answer"), exchange.authorization(application, run["request"])
    checks = [
        (True, "state is the one that was sent: the answer belongs to this browser."),
        (answer.get("iss") == settings.issuer, "iss is this portal: no other server answered."),
    ]
    exchange.answered(shown, answer, checks)
    if not shown.passed:
        rehearsal.end()
        shown.cause = cause_of_answer(answer)
        tell_outcome(application, run, shown)
        return run_page(application, run, shown, OVER)
    run["code"] = answer["code"]
    return run_page(application, run, shown, REDEEM)


@blueprint.post("/tester/<client_id>/redeem")
def redeem_code(client_id: str) -> Response:
    """Swap the code for tokens."""
    application, run, form, stop = _go_on(client_id, REDEEM)
    if stop:
        return stop
    redirect_uri = run["request"]["redirect_uri"]
    fields = {
        "grant_type": AUTHORIZATION_CODE,
        "code": run["code"],
        "redirect_uri": redirect_uri,
        "code_verifier": run["verifier"],
    }
    shown, body = exchange.ask("Code for tokens", application, "token", fields, form.proof)
    shown.curl = exchange.redeem_by_hand(application, redirect_uri, form.proof.method)
    # Without a proof of the application the code is not used up.
    again = REDEEM if body.get("error") == "invalid_client" else OVER
    if again == OVER:
        rehearsal.end()
    return answer_page(application, run, shown, body, again)


@blueprint.post("/tester/<client_id>/client-credentials")
def ask_for_itself(client_id: str) -> Response:
    """The application asks for a token of its own."""
    application, form, stop = _start(client_id, "client-credentials", needs_secret=True)
    if stop:
        return stop
    run = new_run(application, "client-credentials", form)
    fields = {"grant_type": CLIENT_CREDENTIALS, "scope": form.scope.data}
    fields["resource"] = form.resource.data
    shown, body = exchange.ask("A token for itself", application, "token", fields, form.proof)
    return answer_page(application, run, shown, body, OVER)


@blueprint.post("/tester/<client_id>/device-code")
def start_device(client_id: str) -> Response:
    """Ask for the code that a device shows."""
    application, form, stop = _start(client_id, "device-code", needs_secret=True)
    if stop:
        return stop
    run = new_run(application, "device-code", form)
    shown, body = exchange.ask(
        "A code for the device",
        application,
        "device_authorization",
        {"scope": form.scope.data, "resource": form.resource.data},
        form.proof,
    )
    if not shown.passed:
        tell_outcome(application, run, shown)
        return run_page(application, run, shown, OVER)
    run |= {name: body[name] for name in ("device_code", "user_code", "verification_uri_complete")}
    return run_page(application, run, shown, POLL)


@blueprint.post("/tester/<client_id>/poll")
def poll(client_id: str) -> Response:
    """Ask whether the person has decided, as the device does every few seconds."""
    application, run, form, stop = _go_on(client_id, POLL)
    if stop:
        return stop
    fields = {"grant_type": DEVICE_CODE, "device_code": run["device_code"]}
    shown, body = exchange.ask("Has somebody decided?", application, "token", fields, form.proof)
    waits = body.get("error") in ("authorization_pending", "slow_down", "invalid_client")
    return answer_page(application, run, shown, body, POLL if waits else OVER)


@blueprint.post("/tester/<client_id>/refresh")
def refresh(client_id: str) -> Response:
    """Swap the refresh token for new tokens."""
    application, run, form, stop = _go_on(client_id, TOKENS)
    if stop:
        return stop
    if "refresh_token" not in run:
        abort(400)
    fields = {"grant_type": REFRESH_TOKEN, "refresh_token": run["refresh_token"]}
    shown, body = exchange.ask("New tokens for old", application, "token", fields, form.proof)
    return answer_page(application, run, shown, body, TOKENS)


@blueprint.post("/tester/<client_id>/userinfo")
def ask_userinfo(client_id: str) -> Response:
    """Ask with the access token who the person is; no secret is needed."""
    application, run, _, stop = _go_on(client_id, TOKENS, needs_secret=False)
    if stop:
        return stop
    shown, body = exchange.ask_userinfo(run["access_token"])
    if shown.passed:
        shown.tokens = token_reading.read_userinfo(application, run["access_token"], body)
    tell_outcome(application, run, shown)
    return run_page(application, run, shown, TOKENS)


@blueprint.post("/tester/<client_id>/introspect")
def introspect(client_id: str) -> Response:
    """Ask whether the access token works, as a resource server does."""
    application, run, form, stop = _go_on(client_id, TOKENS)
    if stop:
        return stop
    fields = {"token": run["access_token"]}
    shown, body = exchange.ask(
        "Does it work? Introspection", application, "introspect", fields, form.proof
    )
    if shown.passed:
        shown.tokens = token_reading.read_introspection(application, run["access_token"], body)
    tell_outcome(application, run, shown)
    return run_page(application, run, shown, TOKENS)


@blueprint.post("/tester/<client_id>/revoke")
def revoke_tokens(client_id: str) -> Response:
    """End everything that this test made."""
    application, run, _, stop = _go_on(client_id, "")
    if stop:
        return stop
    with transaction():
        for token_id in run["made"]:
            end_token(application, token_id)
        record(application, run["flow"], "ended")
    text = "The tokens of the test are ended: they are refused from now on."
    if run["flow"] != "client-credentials":
        text += " Your own consent stays; you can take it away in Connected apps."
    flash(text, "success")
    return see_other(f"{ADDRESS}/{client_id}?flow={run['flow']}")


@blueprint.get(f"/tester/<client_id>/<{STEPS}:step>")
def leave_step(client_id: str, step: str) -> Response:
    """Somebody came back to the address of an answer, which is kept nowhere."""
    application = _find(client_id)
    return see_other(f"{ADDRESS}/{application.client_id}")


# What the routes share


def _find(client_id: str) -> Application:
    # PostgreSQL cannot look for NUL.
    return ("\0" not in client_id and Application.with_client_id(client_id)) or abort(404)


def _usual_scope(application: Application, flow: str) -> str:
    """All that the application may ask for in this flow."""
    for_itself = FLOWS[flow] == CLIENT_CREDENTIALS
    return " ".join(it for it in application.scopes if not (for_itself and it in PERSONAL))


def _start(
    client_id: str, flow: str, needs_secret: bool
) -> tuple[Application, TestForm, Response | None]:
    """The application and the form; and the page to show instead, when it cannot begin."""
    application, form = _find(client_id), TestForm()
    if not is_fresh(application):
        return application, form, see_other(confirm_address(application, flow))
    if not form.fits(application, needs_secret):
        return application, form, start_page(application, flow, form, 422)
    return application, form, None


def _go_on(
    client_id: str, phase: str, needs_secret: bool = True
) -> tuple[Application, Run, TestForm, Response | None]:
    """The same for a test that goes on; without a phase no secret is needed."""
    application, form = _find(client_id), TestForm()
    run = rehearsal.unseal(current_server().settings, current_user, form.run.data or "")
    if run is None or run["client_id"] != client_id or phase not in ("", run["phase"]):
        return application, {}, form, _begin_again(application)
    if not form.fits(application, needs_secret=needs_secret and bool(phase)):
        return application, run, form, run_page(application, run, None, phase, form, 422)
    return application, run, form, None


def _begin_again(application: Application) -> Response:
    flash(STALE, "error")
    return see_other(f"{ADDRESS}/{application.client_id}")


def _is_same(one: str | None, other: str) -> bool:
    return secrets.compare_digest((one or "").encode(), other.encode())
