"""The one-time link that sets a password: for new people, and for those who forgot theirs.

Made by an administrator or on the command line. It works like the set-up link: looking is free.
"""

from flask import flash, session
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import Field, PasswordField
from wtforms.validators import ValidationError

from portal import audit
from portal.account import blueprint
from portal.account.login import PURPOSE, sign_in, start_page
from portal.database import transaction
from portal.htmx import render
from portal.models import OneTimeLink, Session, Throttle, User
from portal.models.user import password_problem
from portal.security import see_other

KEY = "reset"


class NewPasswordForm(FlaskForm):
    """A new password for one person."""

    password = PasswordField("New password")

    def __init__(self, user: User) -> None:
        super().__init__()
        self.user = user

    def validate_password(self, field: Field) -> None:
        problem = password_problem(field.data or "", self.user.username, self.user.email)
        if problem:
            raise ValidationError(problem)


@blueprint.get("/reset/<secret>")
def show_reset_link(secret: str) -> Response:
    """Show a button; the link stays good."""
    link, user = _find(secret)
    if link is None:
        return _dead()
    return render("account/reset_link.html", user=user)


@blueprint.post("/reset/<secret>")
def use_reset_link(secret: str) -> Response:
    """Use the link up; this browser may go on to the form."""
    link, _ = _find(secret)
    fresh = link.exchange() if link else None
    if fresh is None:
        return _dead()
    session[KEY] = fresh
    return see_other("/reset")


@blueprint.route("/reset", methods=["GET", "POST"])
def reset_password() -> Response:
    """Set the password, once; end the person's sessions and sign them in here."""
    link, user = _find(session.get(KEY, ""))
    if link is None or user is None:
        return _dead()
    form = NewPasswordForm(user)
    if not form.validate_on_submit():
        errors = bool(form.errors)
        status = 422 if errors else 200
        return render("account/reset.html", status=status, form=form, user=user, errors=errors)
    with transaction():
        if not link.spend():
            return _dead()
        user.set_password(form.password.data)
        Session.end(user.id)
        Throttle.forgive(PURPOSE, str(user.id))
        audit.record("person.reset_password", actor=user, person=user)
    sign_in(user)
    flash("Your new password is saved. Your other browsers are signed out.", "success")
    return see_other(start_page())


def _find(secret: str) -> tuple[OneTimeLink | None, User | None]:
    """The link and the person it is for; None twice when it is dead or they may not sign in."""
    link = OneTimeLink.find(secret)
    user = link and link.user_id and User.get_or_none(User.id == link.user_id)
    return (link, user) if user and user.is_active else (None, None)


def _dead() -> Response:
    return render("account/dead_link.html", status=410, purpose="reset", done=False)
