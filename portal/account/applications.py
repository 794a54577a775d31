"""The applications that a person owns, to read. Administrators change them."""

from flask import abort, current_app
from flask_login import current_user
from werkzeug.wrappers import Response

from portal import cards
from portal.account import blueprint
from portal.htmx import render
from portal.models import Application, Offer, Refusal
from portal.oauth import mismatch, redirect_uris
from portal.oauth.advice import advice, cause
from portal.oauth.checkup import check, check_rows
from portal.oauth.refusals import REDIRECT_URI_MISMATCH
from portal.reuse import report
from portal.rotation import verdict
from portal.security import sign_in_required


@blueprint.get("/account/applications")
@sign_in_required
def list_own_applications() -> Response:
    """The applications that the person owns, by name."""
    rows = list(current_user.applications.order_by(Application.name_key, Application.id))
    check_rows(rows)
    return render(
        "account/applications.html",
        applications=rows,
        notices=_notices(rows),
        offers=Offer.open_count(current_user.id),
    )


@blueprint.get("/account/applications/<client_id>")
@sign_in_required
def show_own_application(client_id: str) -> Response:
    """One of them, read only; 404 when it is somebody else's."""
    application = _own(client_id)
    live = application.live_secrets
    return render(
        "account/application.html",
        application=application,
        secrets=[(it, verdict(it, live)) for it in live],
        connected=application.people_connected(),
        checkup=check(application),
        refusals=[
            (it, cause(it, application), advice(it, application))
            for it in Refusal.of(application.id)
        ],
        notices=_notices([application]),
        reuse=report(application),
    )


@blueprint.get("/account/applications/<client_id>/refusals/<reference>")
@sign_in_required
def show_own_refusal(client_id: str, reference: str) -> Response:
    """One refusal of it, and what to change, read only; 404 when it is not of this application."""
    application = _own(client_id)
    refusal = Refusal.with_reference(reference)
    if refusal is None or refusal.application_id != application.id:
        abort(404)
    sent, saved, reason = refusal.detail, None, cause(refusal, application)
    if reason is REDIRECT_URI_MISMATCH:
        saved = redirect_uris.nearest(sent, application.redirect_uris)
    return render(
        "account/refusal.html",
        application=application,
        refusal=refusal,
        reason=reason,
        saved=saved,
        diff=redirect_uris.explain(sent, saved) if saved else [],
        advice=mismatch.told(sent, saved) if saved else advice(refusal, application),
        is_settled=_is_settled(refusal, application),
    )


@blueprint.get("/account/applications/<client_id>/setup")
@blueprint.get("/account/applications/<client_id>/setup/<name>")
@sign_in_required
def show_own_setup(client_id: str, name: str | None = None) -> Response:
    """Its settings in the words of the software that it is; 404 when there is no such card."""
    application = _own(client_id)
    card = cards.card_for(application.grants, name) or abort(404)
    return render(
        "account/application_setup.html",
        url=f"/account/applications/{application.client_id}/setup",
        **cards.page_context(card, application, current_app.extensions["portal.settings"].issuer),
    )


def _own(client_id: str) -> Application:
    application = Application.with_client_id(client_id) if "\0" not in client_id else None
    if application is None or application.owner.id != current_user.id:
        abort(404)
    return application


def _notices(applications: list[Application]) -> list[tuple[Application, Refusal]]:
    """What people asked this owner for help with and still need, the latest first."""
    mine = {application.id: application for application in applications}
    told = [(mine[it.application_id], it) for it in Refusal.told(mine)] if mine else []
    return [(application, it) for application, it in told if not _is_settled(it, application)]


def _is_settled(refusal: Refusal, application: Application) -> bool:
    """Whether the address that was refused is registered now."""
    is_mismatch = cause(refusal, application) is REDIRECT_URI_MISMATCH
    return is_mismatch and redirect_uris.matches(refusal.detail, application.redirect_uris)
