"""The applications that may act for a person: see them, remove one."""

from flask import abort, flash
from flask_login import current_user
from werkzeug.wrappers import Response

from portal import audit
from portal.account import blueprint
from portal.database import transaction
from portal.htmx import render
from portal.models import Application, Consent, Offer, Scope, TokenFamily
from portal.models.connection import Connection
from portal.security import see_other, sign_in_required
from portal.story import Story


@blueprint.get("/account/connections")
@sign_in_required
def list_connections() -> Response:
    """What each application may do, since when, and when it was last used."""
    return render(
        "account/connections.html",
        connections=Connection.of(current_user.id),
        catalogue=Scope.catalogue(),
        offers=Offer.open_count(current_user.id),
        stories=Story.latest(TokenFamily.user_id == current_user.id, to_oneself=True),
        reused=Story.reused(TokenFamily.user_id == current_user.id, to_oneself=True),
    )


@blueprint.post("/account/connections/<client_id>/remove")
@sign_in_required
def remove_connection(client_id: str) -> Response:
    """Take an application's access away; everything issued to it is dead at the next request."""
    application = _find(client_id)
    person = current_user._get_current_object()
    with transaction():
        withdrawn = Consent.withdraw(person.id, application.id)
        if withdrawn:
            audit.record("consent.withdrawn", person=person, application=application)
    if withdrawn:
        flash(f"{application.name} can no longer use your account.", "success")
    else:
        flash(f"{application.name} had no access to your account any more.", "info")
    return see_other("/account/connections")


@blueprint.post("/account/connections/<client_id>/ask-again")
@sign_in_required
def ask_again(client_id: str) -> Response:
    """At its next request the application asks about what the person left out."""
    application = _find(client_id)
    Consent.ask_again(current_user.id, application.id)
    flash(f"When you next sign in to {application.name}, you are asked again.", "success")
    return see_other("/account/connections")


def _find(client_id: str) -> Application:
    found = Application.with_client_id(client_id) if "\0" not in client_id else None
    return found or abort(404)
