"""The one-time link that makes the first administrator.

Looking at the link shows a button; only the button uses the link up, since chat programs and
mail filters look at links, too. The browser that pressed it gets a secret of its own.
"""

from typing import Any

from flask import session
from flask_wtf import FlaskForm
from peewee import IntegrityError
from werkzeug.wrappers import Response
from wtforms import Field, PasswordField, StringField
from wtforms.validators import ValidationError

from portal import audit
from portal.account import blueprint
from portal.account.login import sign_in
from portal.database import transaction
from portal.htmx import render
from portal.models import OneTimeLink, User
from portal.models.user import email_problem, name_problem, password_problem, username_problem
from portal.security import see_other

KEY = "setup"


class AdministratorForm(FlaskForm):
    """Who the first administrator is."""

    username = StringField("Username", filters=[lambda text: (text or "").strip()])
    email = StringField("E-mail address", filters=[lambda text: (text or "").strip()])
    name = StringField("Full name", filters=[lambda text: (text or "").strip()])
    password = PasswordField("Password")

    def validate_username(self, field: Field) -> None:
        _refuse(username_problem(field.data))
        _refuse("This username is taken." if User.named(field.data) else None)

    def validate_email(self, field: Field) -> None:
        _refuse(email_problem(field.data))
        _refuse("Somebody has this e-mail address already." if User.named(field.data) else None)

    def validate_name(self, field: Field) -> None:
        _refuse(name_problem(field.data))

    def validate_password(self, field: Field) -> None:
        own_names = self.username.data or "", self.email.data or ""
        _refuse(password_problem(field.data or "", *own_names))


def _refuse(problem: str | None) -> None:
    if problem:
        raise ValidationError(problem)


@blueprint.get("/setup/<secret>")
def show_setup_link(secret: str) -> Response:
    """Show a button; the link stays good."""
    if _usable(OneTimeLink.find(secret)) is None:
        return _dead()
    return render("account/setup_link.html")


@blueprint.post("/setup/<secret>")
def use_setup_link(secret: str) -> Response:
    """Use the link up; this browser may go on to the form."""
    link = _usable(OneTimeLink.find(secret))
    fresh = link.exchange() if link else None
    if fresh is None:
        return _dead()
    session[KEY] = fresh
    return see_other("/setup")


@blueprint.route("/setup", methods=["GET", "POST"])
def set_up() -> Response:
    """Make the first administrator and sign them in, once."""
    link = _usable(OneTimeLink.find(session.get(KEY, "")))
    if link is None:
        return _dead()
    form = AdministratorForm()
    if not form.validate_on_submit():
        return _form_page(form)
    try:
        user = _register(link, form.data)
    except IntegrityError:  # taken since the form was checked
        form.form_errors.append("This username or e-mail address was taken just now.")
        return _form_page(form)
    if user is None:
        return _dead()
    sign_in(user)
    return see_other("/admin/applications")


def _usable(link: OneTimeLink | None) -> OneTimeLink | None:
    """The link, when it is for the first administrator and there is none yet."""
    if link is None or link.user_id is not None or User.administrators():
        return None
    return link


def _register(link: OneTimeLink, who: dict[str, Any]) -> User | None:
    with transaction():
        if not link.spend():
            return None
        user = User.register(
            who["username"], who["email"], name=who["name"], password=who["password"], is_admin=True
        )
        audit.record("portal.setup", actor=user, person=user, after=audit.state_of(user))
        return user


def _form_page(form: AdministratorForm) -> Response:
    errors = bool(form.errors)
    return render("account/setup.html", status=422 if errors else 200, form=form, errors=errors)


def _dead() -> Response:
    done = bool(User.administrators())
    return render("account/dead_link.html", status=410, purpose="setup", done=done)
