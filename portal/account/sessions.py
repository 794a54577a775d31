"""The browsers in which a person is signed in: see them, end them."""

from flask import abort, flash, session
from flask_login import current_user
from werkzeug.wrappers import Response

from portal import audit
from portal.account import blueprint
from portal.database import transaction
from portal.htmx import render
from portal.models import Session
from portal.security import see_other, sign_in_required
from portal.text import plural


@blueprint.get("/account/sessions")
@sign_in_required
def list_sessions() -> Response:
    """Every browser in which the person is signed in, this one marked."""
    return render("account/sessions.html", sessions=Session.of(current_user.id))


# The limit is what a database can hold: a larger number is nobody's session.
@blueprint.post(f"/account/sessions/<int(max={2**63 - 1}):session_id>/end")
@sign_in_required
def end_session(session_id: int) -> Response:
    """Sign one browser out; 404 for a session of somebody else."""
    with transaction():
        if not Session.end(current_user.id, session_id):
            abort(404)
        person = current_user._get_current_object()
        audit.record("person.signed_out_browser", person=person)
    if session_id == current_user.session.id:
        session.clear()
        flash("You are signed out.", "success")
        return see_other("/login")
    flash("That browser is signed out.", "success")
    return see_other("/account/sessions")


@blueprint.post("/account/sessions/end-others")
@sign_in_required
def end_other_sessions() -> Response:
    """Sign every browser out but this one."""
    with transaction():
        ended = Session.end(current_user.id, keep=current_user.session.id)
        if ended:
            _record(ended)
    if ended:
        flash(f"Signed out of {plural(ended, 'other browser')}.", "success")
    else:
        flash("You are signed in nowhere else.", "info")
    return see_other("/account/sessions")


@blueprint.post("/account/sessions/end-all")
@sign_in_required
def end_all_sessions() -> Response:
    """Sign out everywhere, here too; applications with a back channel are told."""
    with transaction():
        _record(Session.end(current_user.id))
    session.clear()
    flash("You are signed out everywhere.", "success")
    return see_other("/login")


def _record(ended: int) -> None:
    person = current_user._get_current_object()
    audit.record("person.signed_out_everywhere", person=person, after={"browsers": ended})
