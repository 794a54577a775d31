"""Confirm one's e-mail address with a link that is mailed to it.

Looking at the link is free, the button uses it up; it is good for one person, one address, one
day and one time.
"""

from flask import abort, current_app, flash
from flask_login import current_user
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.exceptions import TooManyRequests
from werkzeug.wrappers import Response

from portal import audit, mail
from portal.account import blueprint, letters
from portal.credentials import derive_key, hash_secret
from portal.htmx import render
from portal.models import Throttle, User
from portal.security import see_other, sign_in_required
from portal.settings import Settings

LINK_SECONDS = 24 * 60 * 60
PURPOSE = "mail"
PROFILE = "/account/profile"


@blueprint.post("/account/verify-email")
@sign_in_required
def send_email_link() -> Response:
    """Mail a link to the person's address; former links stop working."""
    settings = _settings()
    if not settings.sends_mail:
        abort(404)
    if current_user.email_verified_at:
        flash("Your e-mail address is confirmed already.", "info")
        return see_other(PROFILE)
    wait = mail_wait(current_user)
    if wait:
        raise TooManyRequests(retry_after=wait)
    token = _signer().dumps([current_user.id, _mark(current_user)])
    current_user.expect_email_link(token)
    link = f"{settings.issuer}/account/verify-email/{token}"
    letter = letters.confirm_address(current_user, settings.issuer, link, LINK_SECONDS)
    try:
        mail.send(settings, current_user.email, letter)
    except mail.MailError as error:
        flash(str(error), "error")
    else:
        flash(f"A link is on its way to {current_user.email}.", "success")
    return see_other(PROFILE)


@blueprint.get("/account/verify-email/<token>")
@sign_in_required
def show_email_link(token: str) -> Response:
    """Show a button; the link stays good."""
    refused = _refuse(token)
    return refused or render("account/verify_email.html", theirs=True)


@blueprint.post("/account/verify-email/<token>")
@sign_in_required
def use_email_link(token: str) -> Response:
    """Use the link up: the address is confirmed."""
    refused = _refuse(token)
    if refused:
        return refused
    with audit.changing("person.changed", current_user._get_current_object()):
        if not current_user.confirm_email(token):
            return _dead()
    flash(f"Your e-mail address {current_user.email} is confirmed.", "success")
    return see_other(PROFILE)


def mail_wait(user: User) -> int:
    """Take one of the mails that a person may cause; the seconds to wait when there is none left.

    Nobody shall fill a mailbox that is not theirs.
    """
    return Throttle.spend(PURPOSE, str(user.id))


def _refuse(token: str) -> Response | None:
    """The page for a link that this person cannot use now; None when they can."""
    try:
        user_id, mark = _signer().loads(token, max_age=LINK_SECONDS)
    except (BadData, ValueError, TypeError):
        return _dead()
    if user_id != current_user.id:
        return render("account/verify_email.html", status=403, theirs=False)
    if mark != _mark(current_user) or not current_user.awaits_email_link(token):
        return _dead()
    return None


def _mark(user: User) -> str:
    """Stands for the address in the link, so that the link does not show it."""
    return hash_secret(user.email_key).hex()[:16]


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(derive_key(_settings().secret_key, "e-mail links"))


def _dead() -> Response:
    done = current_user.email_verified_at is not None
    return render("account/dead_link.html", status=410, purpose="email", done=done)


def _settings() -> Settings:
    settings: Settings = current_app.extensions["portal.settings"]
    return settings
