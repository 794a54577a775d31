"""POST /oauth/ask_owner/<reference>: whoever met a refusal has the application's owner told."""

from contextlib import suppress

from flask import current_app, request
from werkzeug.wrappers import Response

from portal import mail
from portal.htmx import render
from portal.mail import Letter, MailError
from portal.models import Application, Refusal, Throttle, User
from portal.oauth import blueprint
from portal.security import see_other
from portal.settings import Settings

PURPOSE = "ask owner"
#: Mails about one application; the notices on the pages are not counted.
MAILS_AN_HOUR = 5


@blueprint.post("/oauth/ask_owner/<reference>")
def ask_owner(reference: str) -> Response:
    """Tell the owner, once an hour for each refusal; the answer is the same for any reference."""
    if seconds := Throttle.spend(PURPOSE, request.remote_addr or ""):
        return render("oauth/ask_owner.html", status=429, seconds=seconds)
    refusal = Refusal.with_reference(reference)
    application = _application_of(refusal)
    if refusal and application and refusal.tell():
        _write(current_app.extensions["portal.settings"], refusal, application)
    return see_other("/oauth/ask_owner")


@blueprint.get("/oauth/ask_owner")
def owner_told() -> Response:
    """What the person reads after it, and no more."""
    return render("oauth/ask_owner.html", seconds=0)


def _application_of(refusal: Refusal | None) -> Application | None:
    if refusal is None:
        return None
    mine = Application.id == refusal.application_id
    return Application.select(Application, User).join(User).where(mine).first()


def _write(settings: Settings, refusal: Refusal, application: Application) -> None:
    """Mail it, too, when there is a mail server; the pages say it in any case."""
    owner = application.owner
    if not settings.smtp_url or not owner.email or not owner.is_active:
        return
    if Refusal.told_within_the_hour(application.id) > MAILS_AN_HOUR:
        return
    with suppress(MailError):  # it is logged, and the notice stands on the pages
        mail.send(settings, owner.email, _letter(settings.issuer, refusal, application))


def _letter(issuer: str, refusal: Refusal, application: Application) -> Letter:
    """Nothing in it was sent by a stranger: anybody can have one of these written."""
    owner = application.owner
    page = (
        f"/admin/doctor/{refusal.reference}"
        if owner.is_admin
        else f"/account/applications/{application.client_id}/refusals/{refusal.reference}"
    )
    return Letter(
        f"Somebody cannot get into {application.name}",
        f"""Hello {owner.username},

somebody wanted to use {application.name} and was stopped: what the
application sent does not fit what is saved at
{issuer}.

What it sent, and what to change:

{issuer}{page}

The reference is {refusal.reference}. You get this e-mail at most once an hour for it.
""",
    )
