"""Change one's own password."""

from flask import flash
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import Field, PasswordField
from wtforms.validators import ValidationError

from portal import audit
from portal.account import blueprint
from portal.account.current_password import current_password_trouble
from portal.database import transaction
from portal.htmx import render
from portal.models import Session, User
from portal.models.user import password_problem
from portal.security import see_other, sign_in_required


class PasswordForm(FlaskForm):
    """The password as it is, and as it shall be."""

    current_password = PasswordField("Current password")
    new_password = PasswordField("New password")

    def validate_current_password(self, field: Field) -> None:
        if not field.data:
            raise ValidationError("Enter your current password.")

    def validate_new_password(self, field: Field) -> None:
        problem = password_problem(field.data or "", current_user.username, current_user.email)
        if problem:
            raise ValidationError(problem)
        if field.data == self.current_password.data:
            raise ValidationError("Choose another password than your current one.")


@blueprint.route("/account/password", methods=["GET", "POST"])
@sign_in_required
def change_password() -> Response:
    """Change the password; the person's other sessions end."""
    form = PasswordForm()
    if not form.is_submitted():
        return _page(form, 200)
    is_valid = form.validate()
    typed = form.current_password
    # Both are looked at, so that nobody learns of one mistake after the other.
    trouble = None if typed.errors else current_password_trouble(current_user, typed.data)
    if trouble and trouble.wait:
        form.form_errors.append(trouble.sentence)
        response = _page(form, trouble.status)
        response.headers["Retry-After"] = str(trouble.wait)
        return response
    if trouble:
        typed.errors = [trouble.sentence]
    if trouble or not is_valid:
        return _page(form, 422)
    _change(current_user, form.new_password.data)
    flash("Your password is changed. Your other browsers are signed out.", "success")
    return see_other("/account/password")


def _change(user: User, password: str) -> None:
    with transaction():
        user.set_password(password)
        Session.end(user.id, keep=user.session.id)
        audit.record("person.set_password", person=user)


def _page(form: PasswordForm, status: int) -> Response:
    return render("account/password.html", status=status, form=form, errors=status != 200)
