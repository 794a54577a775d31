"""The applications that a person owns, to read. Administrators change them."""

from flask import abort
from flask_login import current_user
from werkzeug.wrappers import Response

from portal.account import blueprint
from portal.htmx import render
from portal.models import Application, Refusal
from portal.oauth.refusals import REASONS
from portal.rotation import ends_of, verdict
from portal.security import sign_in_required


@blueprint.get("/account/applications")
@sign_in_required
def list_own_applications() -> Response:
    """The applications that the person owns, by name."""
    rows = list(current_user.applications.order_by(Application.name_key, Application.id))
    ends = ends_of([row.id for row in rows])
    return render("account/applications.html", applications=rows, ends=ends)


@blueprint.get("/account/applications/<client_id>")
@sign_in_required
def show_own_application(client_id: str) -> Response:
    """One of them, read only; 404 when it is somebody else's."""
    application = Application.with_client_id(client_id) if "\0" not in client_id else None
    if application is None or application.owner.id != current_user.id:
        abort(404)
    live = application.live_secrets
    return render(
        "account/application.html",
        application=application,
        secrets=[(it, verdict(it, live)) for it in live],
        connected=application.people_connected(),
        refusals=Refusal.of(application.id),
        reasons=REASONS,
    )
