"""Set-up cards: an application's settings, ready to paste into the software that it is."""

from flask import abort, current_app
from flask_login import current_user
from werkzeug.wrappers import Response

from portal import cards
from portal.admin import blueprint
from portal.admin.application_form import ApplicationForm
from portal.admin.connect_fields import fill_in
from portal.htmx import render
from portal.models import Application

ADDRESS = "/admin/setup"


@blueprint.get("/setup")
def list_cards() -> Response:
    """What there is a card for, and where each is called back."""
    return render("admin/setup/index.html", cards=cards.CARDS, kinds=cards.KINDS)


@blueprint.post("/setup")
def fill_in_form() -> Response:
    """The add form again, with what the chosen software needs filled in and nothing lost."""
    form = ApplicationForm.to_add(current_user)
    filled = fill_in(form)
    return render(
        "admin/applications/form.html",
        "admin/applications/_fields.html",
        status=200 if filled else 422,
        form=form,
        application=None,
        catalogue=form.catalogue,
        errors=not filled,
        refresh=True,
        filled_in=form.card.title if filled and form.card else None,
    )


@blueprint.get("/setup/<client_id>")
@blueprint.get("/setup/<client_id>/<name>")
def show_card(client_id: str, name: str | None = None) -> Response:
    """One card, filled in, or the one that suits its grant flows; 404 when there is none."""
    # PostgreSQL cannot look for NUL.
    application = None if "\0" in client_id else Application.with_client_id(client_id)
    if application is None:
        abort(404)
    card = cards.card_for(application.grants, name) or abort(404)
    return render(
        "admin/setup/show.html",
        url=f"{ADDRESS}/{application.client_id}",
        **cards.page_context(card, application, current_app.extensions["portal.settings"].issuer),
    )
