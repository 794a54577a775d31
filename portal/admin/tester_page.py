"""What the pages of a test share: the form, the page to begin on, and the test so far."""

from urllib.parse import urlencode

from flask import request
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField, PasswordField, SelectField, StringField
from wtforms.fields import SelectChoice

from portal.admin.exchange import Exchange, Proof
from portal.clock import now
from portal.htmx import render
from portal.models import Application
from portal.models.application import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE
from portal.oauth import current_server, rehearsal
from portal.oauth.rehearsal import Run
from portal.oauth.request_filter import BASIC, POST
from portal.security import no_store
from portal.text import MINUTE

ADDRESS = "/admin/tester"
LONGEST = 1000
#: Whoever plays a confidential application has entered their password so lately.
FRESH_SECONDS = 15 * MINUTE
FLOWS = {
    "authorization-code": AUTHORIZATION_CODE,
    "client-credentials": CLIENT_CREDENTIALS,
    "device-code": DEVICE_CODE,
}


class TestForm(FlaskForm):
    """What to ask for, and the secret for this one request."""

    __test__ = False  # pytest takes every Test… for its own

    scope = StringField("Scopes to ask for", filters=[lambda it: " ".join((it or "").split())])
    resource = SelectField(
        "Resource server",
        # One that has left the list meanwhile is refused, in words that say so.
        validate_choice=False,
        filters=[lambda it: (it or "")[:LONGEST]],
    )
    method = SelectField(
        "How it is sent",
        # Pages that need no secret do not ask.
        filters=[lambda it: it if it in (BASIC, POST) else BASIC],
        choices=[
            SelectChoice(BASIC, "In the header (client_secret_basic)"),
            SelectChoice(POST, "In the form (client_secret_post)"),
        ],
    )
    secret = PasswordField("Client secret")
    run = HiddenField()

    def fits(self, application: Application, needs_secret: bool) -> bool:
        """Whether it can be sent; a secret is only needed where the application has one."""
        valid = self.validate_on_submit()
        if len(self.scope.data) > LONGEST:
            self.scope.errors = [f"Shorten the scopes to {LONGEST:,} characters."]
        if needs_secret and application.confidential and not self.secret.data:
            self.secret.errors = ["Paste the client secret."]
        return valid and not self.errors

    @property
    def proof(self) -> Proof:
        return Proof(self.method.data, self.secret.data or "")


def is_fresh(application: Application) -> bool:
    """Whether the password was entered lately, or need not be."""
    # Both ways: the clock may have been set back since.
    passed = abs(now() - current_user.session.auth_time)
    return not application.confidential or passed <= FRESH_SECONDS


def confirm_address(application: Application, flow: str) -> str:
    back = f"{ADDRESS}/{application.client_id}?flow={flow}"
    asked = {"next": back, "reauth": "1", "login_hint": current_user.username}
    return "/login?" + urlencode(asked)


def start_page(application: Application, flow: str, form: TestForm, status: int = 200) -> Response:
    form.resource.choices = [("", "None: the tokens are for this portal")]
    form.resource.choices += [(uri, uri) for uri in application.resources]
    return no_store(
        render(
            "admin/tester/show.html",
            status=status,
            application=application,
            flows=[(slug, application.allows_grant(grant)) for slug, grant in FLOWS.items()],
            flow=flow,
            allowed=application.allows_grant(FLOWS[flow]),
            form=form,
            confirm=None if is_fresh(application) else confirm_address(application, flow),
            callback=rehearsal.callback(current_server().settings),
            code_seconds=current_server().settings.code_seconds,
            errors=status == 422,
        )
    )


def run_page(
    application: Application,
    run: Run,
    shown: Exchange | None,
    phase: str,
    form: TestForm | None = None,
    status: int = 200,
) -> Response:
    """The test so far, and what can be asked next."""
    settings = current_server().settings
    if shown:
        # Of what was tried again only the last try stays.
        run["steps"] = [it for it in run["steps"] if it["passed"]] + [shown.as_dict()]
        run["phase"] = phase
    sealed = rehearsal.seal(settings, current_user, run)
    method = form.method.data if form else request.form.get("method", BASIC)
    filled = {"run": sealed, "method": method if method in (BASIC, POST) else BASIC}
    again = TestForm(formdata=None, data=filled)
    if form:
        again.secret.errors = form.secret.errors
    return no_store(
        render(
            "admin/tester/run.html",
            status=status,
            application=application,
            run=run,
            steps=run["steps"],
            phase=phase,
            form=again,
            settings=settings,
            keep_seconds=rehearsal.KEEP_SECONDS,
            errors=status == 422,
        )
    )
