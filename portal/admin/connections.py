"""Admin > Connections: why people were signed out, and the timeline of each connection."""

from flask import abort, request
from werkzeug.wrappers import Response

from portal.admin import blueprint
from portal.htmx import render
from portal.models import Application, TokenFamily, User
from portal.story import MOST_STORIES, Story

ADDRESS = "/admin/connections"


@blueprint.get("/connections")
def list_connections() -> Response:
    """The latest connections of an application or a person; of all, those that reuse ended."""
    client_id, username = request.args.get("application", ""), request.args.get("person", "")
    application, person, which = None, None, []
    if client_id:
        application = _known(Application.with_client_id, client_id)
        which.append(TokenFamily.application_id == application.id)
    if username:
        person = _known(User.with_username, username)
        which.append(TokenFamily.user_id == person.id)
    return render(
        "admin/connections/index.html",
        application=application,
        person=person,
        reused=Story.reused(*which),
        latest=Story.latest(*which, TokenFamily.ended_verdict.is_null()) if which else [],
        most=MOST_STORIES,
    )


def _known(find, name: str):  # type: ignore[no-untyped-def]
    # PostgreSQL cannot even look for a NUL.
    return ("\0" not in name and find(name)) or abort(404)
