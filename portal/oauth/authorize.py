"""GET and POST /oauth/authorize: an application sends a person to sign in and decide."""

import string
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response as FlaskResponse
from flask import request
from flask_login import current_user
from werkzeug.wrappers import Response

from portal.htmx import render
from portal.models import Application, Consent, User
from portal.models.client import Client
from portal.oauth import blueprint, current_server, redirect_uris, refusals, rehearsal
from portal.oauth.authentication_request import after_sign_in
from portal.oauth.decision import access_lasts, questions, seal
from portal.oauth.refusals import Refused, refuse
from portal.oauth.request_filter import ProtocolRequest, read_authorization_request
from portal.security import csrf, may_redirect_anywhere, see_other

REFUSED_TITLES = {
    refusals.CLIENT_UNKNOWN: "This application is not known here",
    refusals.APPLICATION_DISABLED: "This application is switched off",
    refusals.GRANT_CODE_OFF: "Nobody can sign in to this application here",
}
REFUSED_MESSAGES = {
    refusals.REDIRECT_URI_MISMATCH: "You have done nothing wrong. The application wants you sent to"
    " an address that is not saved here, so you cannot go on: the redirect URI does not match.",
    refusals.REDIRECT_URI_MISSING: "You have done nothing wrong. The application does not say where"
    " you come back to, so you cannot go on: the redirect URI is missing.",
    refusals.GRANT_CODE_OFF: "You have done nothing wrong. You were sent here to sign in to an"
    " application that is not set up for it, so you cannot go on: Authorisation Code is off.",
    refusals.APPLICATION_DISABLED: "An administrator has switched it off."
    " You have done nothing wrong.",
    refusals.CLIENT_UNKNOWN: "The link that brought you here names an application that this portal"
    " does not have. You have done nothing wrong. Tell the people who run that application.",
}


@blueprint.route("/oauth/authorize", methods=["GET", "POST"])
@csrf.exempt
def authorize() -> Response:
    """RFC 6749 §3.1. A POSTed request goes on as a GET, so that it comes with the cookies."""
    may_redirect_anywhere()
    server, asked = current_server(), None
    try:
        asked = read_authorization_request(request, server.settings.issuer)
        if request.method == "POST":
            # A raw line break in the body would end the header.
            query = quote(request.get_data(as_text=True), safe=string.punctuation)
            return see_other(f"/oauth/authorize?{query}")
        rehearsal.admit(server.settings, current_user, asked)
        grant = server.consent_grant(asked)
        return _go_on(grant, asked)
    except Refused as error:
        if asked is not None and error.redirect_uri:
            return server.send_error(asked, error)
        return refused_page(error)


def _go_on(grant: Any, asked: ProtocolRequest) -> Response:
    """Sign-in, consent or straight back with a code: whatever is still missing."""
    server, client, redirect_uri = current_server(), asked.client, grant.redirect_uri
    person = current_user._get_current_object()  # a proxy that is asked often costs
    wishes = grant.wishes
    if wishes.needs_sign_in(server, client, person):
        if wishes.is_silent:
            raise refuse(refusals.LOGIN_REQUIRED, redirect_uri=redirect_uri)
        return _sign_in(asked, wishes.login_hint)
    wanted = wanted_scopes(grant, asked)
    allowed, open_scopes = _so_far(person, asked, wanted, redirect_uri, "consent" in wishes.prompts)
    if not open_scopes:
        return server.send_code(grant, person, allowed)
    if wishes.is_silent:
        raise refuse(refusals.CONSENT_REQUIRED, redirect_uri=redirect_uri)
    return _consent_page(asked, redirect_uri, open_scopes)


def wanted_scopes(grant: Any, asked: ProtocolRequest) -> list[str]:
    """The scopes to decide on: those requested, and those that cover claims asked by name."""
    requested = asked.scope.split()
    by_name = grant.wishes.claims.scopes() & asked.client.scopes - set(requested)
    return [*requested, *sorted(by_name)]


def _sign_in(asked: ProtocolRequest, login_hint: str) -> Response:
    """To the sign-in page, also for somebody who is signed in, and back here."""
    back = f"/oauth/authorize?{urlencode(after_sign_in(asked.payload.data))}"
    extra = {"reauth": "1"} if current_user.is_authenticated else {}
    if login_hint:
        extra["login_hint"] = login_hint
    return see_other("/login?" + urlencode({"next": back, **extra}))


def _so_far(
    person: User,
    asked: ProtocolRequest,
    wanted: list[str],
    redirect_uri: str,
    ask_again: bool,
) -> tuple[list[str], list[str]]:
    """The scopes that are allowed, and those that the person has not decided on yet."""
    client = asked.client
    if client.skips_consent and not ask_again:
        return wanted, []
    if ask_again or not may_remember(client, redirect_uri):
        return [], wanted
    consent = Consent.of(person.id, client.id)
    if consent is None:
        return [], wanted
    allowed = [scope for scope in wanted if scope in consent.scopes]
    if not set(allowed) & set(asked.scope.split()):  # there is nothing to send a code for
        return [], wanted
    return allowed, consent.open_scopes(wanted)


def may_remember(client: Client, redirect_uri: str) -> bool:
    """Whether a consent may answer the next request.

    Never for a public client on loopback or a private-use scheme: any program on the device can
    pose as it (RFC 8252 §8.6).
    """
    return client.confidential or not (
        redirect_uris.is_loopback(redirect_uri) or redirect_uris.is_private_use(redirect_uri)
    )


def _consent_page(
    asked: ProtocolRequest, redirect_uri: str, open_scopes: list[str]
) -> FlaskResponse:
    settings = current_server().settings
    application = Application.with_client_id(asked.client.client_id)
    assert application is not None
    before = Consent.of(current_user.id, application.id)
    # A program that only poses as the application finds nothing sensitive ticked.
    allowed = before.scopes if before and may_remember(asked.client, redirect_uri) else ()
    sealed = seal(
        settings,
        "consent",
        current_user,
        {"request": dict(asked.payload.data), "open": open_scopes},
    )
    return render(
        "oauth/consent.html",
        application=application,
        user=current_user,
        scopes=questions(
            current_user,
            open_scopes,
            allowed=allowed,
            refused=before.refused(open_scopes) if before else (),
        ),
        host=redirect_uris.shown_host(redirect_uri),
        owner_name=application.owner.display_name,
        access_lasts=access_lasts(application, settings),
        warning=_warning(asked, redirect_uri),
        action="/oauth/consent",
        hidden={"request": sealed},
        next_url=f"/oauth/authorize?{urlencode(asked.payload.data)}",
    )


def _warning(asked: ProtocolRequest, redirect_uri: str) -> str | None:
    if asked.own_callback:
        return (
            "This is a test that you have just begun, and the real page that people see. The answer"
            " comes back to the portal itself, not to the application."
        )
    if may_remember(asked.client, redirect_uri):
        return None
    return (
        "This application runs on your own device, so the portal cannot check that it is the real"
        " one. Allow only if you have just started it yourself."
    )


def refused_page(error: Refused) -> FlaskResponse:
    """The page for a person when going back to the application would be unsafe."""
    reference = current_server().note(error)
    application = (
        Application.select(Application, User)
        .join(User)
        .where(Application.id == error.application_id)
        .first()
        if error.application_id
        else None
    )
    reason = error.reason
    name = application.name if application else None
    saved = _nearest(error, application)
    for_admin = application is not None and getattr(current_user, "is_admin", False)
    return render(
        "oauth/refused.html",
        status=400,
        title=REFUSED_TITLES.get(reason, f"{name or 'The application'} is set up wrongly"),
        message=REFUSED_MESSAGES.get(
            reason, "You have done nothing wrong. It sent a request that cannot be used."
        ),
        application_name=name,
        owner_name=application.owner.display_name if application else None,
        reference=reference,
        diff=_difference(error.detail, saved) if for_admin and saved else None,
        difference=redirect_uris.sentence(error.detail, saved) if for_admin and saved else None,
        admin_url=f"/admin/applications/{application.client_id}" if for_admin else None,  # type: ignore[union-attr]
    )


def _nearest(error: Refused, application: Any) -> str | None:
    """The saved address that comes nearest to the one that was sent."""
    if error.reason is not refusals.REDIRECT_URI_MISMATCH or application is None:
        return None
    return redirect_uris.nearest(error.detail, application.redirect_uris)


def _difference(sent: str, saved: str) -> list[tuple[str, str, bool, str]]:
    """Sent and saved, part by part, for the template to mark what differs."""
    return [
        (part.sent, part.saved, part.differs, part.name)
        for part in redirect_uris.explain(sent, saved)
    ]
