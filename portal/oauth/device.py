"""Devices without a browser: /oauth/device_authorization for them, /device for people."""

from typing import Any

from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint
from flask import redirect, request, session
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import StringField

from portal import audit
from portal.credentials import USER_CODE_LENGTH
from portal.database import transaction
from portal.htmx import render
from portal.models import Application, Consent, DeviceCode, Throttle, User
from portal.models.application import DEVICE_CODE
from portal.models.client import StaleClient
from portal.models.device_code import POLL_SECONDS, letters_of
from portal.oauth import blueprint, current_server
from portal.oauth.decision import StalePage, access_lasts, granted, questions, seal, unseal
from portal.oauth.door import answer_machine
from portal.oauth.refusals import GRANT_NOT_ALLOWED, refuse
from portal.oauth.request_filter import BASIC, NONE, POST
from portal.oauth.resources import asked_resources
from portal.oauth.scopes import refuse_scopes
from portal.security import csrf, may_redirect_anywhere, see_other, sign_in_required

#: The user code that was decided on last, in the session's cookie.
DECIDED = "device"
UNKNOWN_CODE = (
    "Check the code: there is no device waiting with it. It may have expired, then start again on"
    " the device."
)
CODE_OVER = (
    "The code has expired, or was decided on already. Nothing was shared. Start again on the"
    " device and enter the new code."
)
STALE = (
    "The page was open for too long, or you signed in as somebody else since. Nothing was shared."
    " Enter the code again."
)


class DeviceAuthorization(DeviceAuthorizationEndpoint):
    """A device asks for a code to show (RFC 8628 §3.1)."""

    ENDPOINT_NAME = "device_authorization"
    CLIENT_AUTH_METHODS = [BASIC, POST, NONE]

    def create_endpoint_response(self, request: Any) -> tuple:
        client = self.authenticate_client(request)
        # What is issued here is not checked by a statement of its own, so look again.
        if not client.is_current():
            raise StaleClient(client.client_id)
        if not client.check_grant_type(DEVICE_CODE):
            raise refuse(GRANT_NOT_ALLOWED, application_id=client.id, detail=DEVICE_CODE)
        scope = client.get_allowed_scope(request.payload.scope)
        if scope is None:
            raise refuse_scopes(client, request.payload.scope)
        settings = self.server.settings
        row, device_code = DeviceCode.start(
            client.id,
            client.epoch,
            scope.split(),
            settings.device_code_seconds,
            resources=asked_resources(request, client),
        )
        page = f"{settings.issuer}/device"
        body = {
            "device_code": device_code,
            "user_code": row.shown_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={row.shown_code}",
            "expires_in": settings.device_code_seconds,
            "interval": POLL_SECONDS,
        }
        return 200, body, self.server.HEADERS


@blueprint.post("/oauth/device_authorization")
@csrf.exempt
def device_authorization() -> Response:
    return answer_machine(DeviceAuthorization.ENDPOINT_NAME)


class DeviceForm(FlaskForm):
    """The code that a person reads from a device's screen."""

    user_code = StringField("Code shown on your device")


@blueprint.get("/device")
@sign_in_required
def device() -> Response:
    """Ask for the code; a link that carries one only fills it in (RFC 8628 §3.3.1)."""
    may_redirect_anywhere()
    form = DeviceForm(data={"user_code": request.args.get("user_code", "")[:24]})
    return render("device/index.html", form=form)


@blueprint.post("/device")
@sign_in_required
def enter_code() -> Response:
    """Look the code up; guessing is slow (RFC 8628 §5.1)."""
    may_redirect_anywhere()
    form = DeviceForm()
    if trouble := _mistyped(form.user_code.data or ""):
        return _ask(form, trouble)
    wait = Throttle.spend("device", str(current_user.id))
    if wait:
        response = _ask(form, f"Too many codes. Wait {wait} seconds, then try again.", 429)
        response.headers["Retry-After"] = str(wait)
        return response
    code = DeviceCode.pending(form.user_code.data or "")
    application = _live_application(code)
    if code is None or application is None:
        return _ask(form, UNKNOWN_CODE)
    settings = current_server().settings
    before = Consent.of(current_user.id, application.id)
    return render(
        "device/consent.html",
        application=application,
        user=current_user,
        user_code=code.shown_code,
        scopes=questions(
            current_user,
            code.scopes,
            locked=application.skips_consent,
            refused=before.refused(code.scopes) if before else (),
        ),
        owner_name=application.owner.display_name,
        access_lasts=access_lasts(application, settings),
        action="/device/decision",
        hidden={"request": seal(settings, "device", current_user, code.user_code)},
    )


@blueprint.get("/device/decision")
@sign_in_required
def show_decision() -> Response:
    """What this browser decided last; the first page when the code is over, or there is none."""
    code = DeviceCode.decided(session.get(DECIDED, ""), current_user.id)
    application = _live_application(code)
    if code is None or application is None:
        return redirect("/device")
    allowed = code.approved_at is not None
    return render("device/done.html", allowed=allowed, application_name=application.name)


@blueprint.post("/device/decision")
@sign_in_required
def decide_device() -> Response:
    """Give the device what was asked and ticked, or nothing; once."""
    may_redirect_anywhere()
    settings = current_server().settings
    try:
        user_code = unseal(settings, "device", current_user, request.form.get("request", ""))
    except StalePage:
        return _ask(DeviceForm(formdata=None), STALE, 400)
    code = DeviceCode.pending(user_code)
    application = _live_application(code)
    if code is None or application is None:
        return _decided_before(user_code)
    ticked = code.scopes if application.skips_consent else request.form.getlist("scope")
    given = granted(code.scopes, ticked, request.form.get("decision"))
    if not _decide(code, application, current_user._get_current_object(), given):
        return _decided_before(user_code)
    if given:
        current_server().usage.sign_in(application.id, DEVICE_CODE, given)
    return _show(user_code)


def _decided_before(user_code: str) -> Response:
    """Answer a decision that was sent twice with the first one; else nothing was decided."""
    if DeviceCode.decided(user_code, current_user.id):
        return _show(user_code)
    return _ask(DeviceForm(formdata=None), CODE_OVER, 400)


def _ask(form: DeviceForm, trouble: str, status: int = 422) -> Response:
    """The page that asks for a code again, and why."""
    form.user_code.errors = [trouble]
    return render("device/index.html", status=status, form=form, errors=True)


def _mistyped(text: str) -> str | None:
    """What is wrong with a code that no device can have shown."""
    if not any(it.isalnum() for it in text):
        return "Enter the code that your device shows."
    if len(letters_of(text)) != USER_CODE_LENGTH:
        return "The code has eight letters: check what your device shows."
    return None


def _show(user_code: str) -> Response:
    session[DECIDED] = user_code
    return see_other("/device/decision")


def _decide(code: DeviceCode, application: Application, user: User, given: list[str]) -> bool:
    with transaction():
        if not code.decide(user.id, user.session.auth_time, user.session.sid, given or None):
            return False
        if given and not application.skips_consent:
            Consent.give(user.id, application.id, given, code.scopes)
        event = "device.approved" if given else "device.denied"
        after = {"scopes": given} if given else None
        audit.record(event, application=application, person=user, after=after)
        return True


def _live_application(code: DeviceCode | None) -> Application | None:
    """The application behind a code, when it may still be served."""
    if code is None:
        return None
    return (
        Application.select(Application, User)
        .join(User)
        .where(
            Application.id == code.application_id,
            Application.epoch == code.epoch,
            Application.disabled_at.is_null(),
        )
        .first()
    )
