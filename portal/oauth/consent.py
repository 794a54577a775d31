"""POST /oauth/consent: the person's decision on the consent page."""

from flask import request
from flask_login import current_user
from werkzeug.wrappers import Response

from portal import audit
from portal.database import transaction
from portal.htmx import render
from portal.models import Consent
from portal.oauth import blueprint, current_server, refusals, rehearsal
from portal.oauth.authorize import refused_page, wanted_scopes
from portal.oauth.decision import StalePage, granted, unseal
from portal.oauth.refusals import Refused, refuse
from portal.oauth.request_filter import Payload, ProtocolRequest
from portal.security import may_redirect_anywhere, sign_in_required


@blueprint.post("/oauth/consent")
@sign_in_required
def decide() -> Response:
    """Grant what was asked and ticked, or tell the application that the person denied."""
    may_redirect_anywhere()
    server = current_server()
    try:
        page = unseal(server.settings, "consent", current_user, request.form.get("request", ""))
    except StalePage:
        return stale_page()
    asked = ProtocolRequest(
        "GET", f"{server.settings.issuer}/oauth/authorize", Payload(page["request"])
    )
    rehearsal.admit(server.settings, current_user, asked)
    try:
        grant = server.consent_grant(asked)
        decision = request.form.get("decision")
        given = granted(page["open"], request.form.getlist("scope"), decision)
        # Scopes that the page did not ask about were allowed before; they still must be.
        earlier = Consent.of(current_user.id, asked.client.id)
        known = set(earlier.scopes if earlier else ()) - set(page["open"])
        wanted = wanted_scopes(grant, asked)
        allowed = [scope for scope in wanted if scope in given or scope in known]
        if decision != "allow" or not set(allowed) & set(asked.scope.split()):
            raise refuse(refusals.ACCESS_DENIED, redirect_uri=grant.redirect_uri)
        with transaction():
            Consent.give(current_user.id, asked.client.id, given, page["open"], wanted)
            audit.record(
                "consent.given",
                application=asked.client,
                person=current_user._get_current_object(),
                after={"scopes": given},
            )
        return server.send_code(grant, current_user, allowed)
    except Refused as error:
        if error.redirect_uri:
            return server.send_error(asked, error)
        return refused_page(error)


def stale_page() -> Response:
    """The page was open for too long, or belongs to another session."""
    return render(
        "error.html",
        status=400,
        code=400,
        title="This page is no longer valid",
        message="It was open for too long, or you signed in as somebody else since. Nothing was"
        " shared. Go back to the application and start again.",
    )
