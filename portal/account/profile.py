"""One's own profile: names, e-mail address, and what applications may learn."""

import logging

from flask import current_app, flash, redirect
from flask_login import current_user
from peewee import IntegrityError
from werkzeug.wrappers import Response
from wtforms import Field

from portal import audit, mail
from portal.account import blueprint, letters
from portal.account.current_password import Trouble, current_password_trouble
from portal.account.profile_form import ProfileForm
from portal.account.verify_email import mail_wait
from portal.clock import now
from portal.htmx import render
from portal.models import User
from portal.models.profile import time_zones
from portal.security import see_other, sign_in_required
from portal.settings import Settings

log = logging.getLogger(__name__)

PASSWORD_NEEDED = "Enter your current password to change your e-mail address."  # noqa: S105
TAKEN = "Somebody has this e-mail address already."
TOO_MANY_MAILS = "Your e-mail address was changed too often. Wait a minute, then try again."


@blueprint.get("/account/")
@sign_in_required
def show_account() -> Response:
    """`/account` is what people type."""
    return redirect("/account/profile")


@blueprint.route("/account/profile", methods=["GET", "POST"])
@sign_in_required
def edit_profile() -> Response:
    """Show and save the profile; a new e-mail address needs the current password."""
    form = ProfileForm.about(current_user)
    former = current_user.email
    is_new = form.email.data != former
    if not form.validate_on_submit():
        if form.errors and is_new:  # no page brings a password back
            form.current_password.errors = [PASSWORD_NEEDED]
        return _page(form, 422 if form.errors else 200)
    refused = _refuse_new_address(form) if is_new else None
    if refused:
        return refused
    try:
        with audit.changing("person.changed", current_user._get_current_object()):
            current_user.change_profile(
                name=form.name.data, email=form.email.data if is_new else None, claims=form.claims
            )
    except IntegrityError:  # taken since it was checked
        return _with_error(form, form.email, Trouble(TAKEN))
    if is_new:
        _tell(former)
        flash(f"Your profile is saved. Your e-mail address is {form.email.data} now.", "success")
    else:
        flash("Your profile is saved.", "success")
    return see_other("/account/profile")


def _refuse_new_address(form: ProfileForm) -> Response | None:
    """The page that says why the e-mail address may not change; None when it may."""
    password = form.current_password
    if not password.data:
        return _with_error(form, password, Trouble(PASSWORD_NEEDED))
    trouble = current_password_trouble(current_user, password.data)
    if trouble:
        return _with_error(form, password, trouble)
    # Only now: a stolen session must not learn who has an account.
    other = User.named(form.email.data)
    if other is not None and other.id != current_user.id:
        return _with_error(form, form.email, Trouble(TAKEN))
    wait = mail_wait(current_user) if _settings().sends_mail else 0
    return _with_error(form, form.email, Trouble(TOO_MANY_MAILS, wait)) if wait else None


def _tell(former: str) -> None:
    """Tell the former address; the change stands even when that fails."""
    settings = _settings()
    if not settings.sends_mail:
        return
    letter = letters.address_changed(current_user, settings.issuer, now())
    try:
        mail.send(settings, former, letter)
    except mail.MailError:
        log.warning("mail: the former address of %s was not told", current_user.username)


def _with_error(form: ProfileForm, field: Field, trouble: Trouble) -> Response:
    field.errors = [trouble.sentence]
    response = _page(form, trouble.status)
    if trouble.wait:
        response.headers["Retry-After"] = str(trouble.wait)
    return response


def _page(form: ProfileForm, status: int) -> Response:
    return render(
        "account/profile.html",
        status=status,
        form=form,
        errors=status != 200,
        sends_mail=_settings().sends_mail,
        time_zones=time_zones(),
    )


def _settings() -> Settings:
    settings: Settings = current_app.extensions["portal.settings"]
    return settings
