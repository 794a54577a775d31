"""Sign out: the session's row is deleted, so that the cookie is dead everywhere."""

from flask import flash, redirect, request, session
from flask_login import current_user
from werkzeug.wrappers import Response

from portal.account import blueprint
from portal.htmx import render
from portal.models import Session
from portal.security import may_redirect_anywhere, safe_next, see_other


@blueprint.get("/logout")
def ask_before_logout() -> Response:
    """Ask; only the button signs out, so that no link or picture can."""
    may_redirect_anywhere()
    if not current_user.is_authenticated:
        return redirect("/login")
    return render("account/logout.html", next=safe_next(request.args.get("next"), ""))


@blueprint.post("/logout")
def log_out() -> Response:
    """End this browser's session on the server and forget the cookie."""
    may_redirect_anywhere()
    if current_user.is_authenticated:
        Session.end(current_user.id, current_user.session.id)
    session.clear()
    back = safe_next(request.form.get("next"), "")
    if not back:
        flash("You are signed out.", "success")
    return see_other(back or "/login")
