"""Sign in: the page, the start page, and the one way a session begins."""

from urllib.parse import parse_qs, urlsplit

import flask_login
from flask import redirect, request, session
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response

from portal import audit
from portal.account import blueprint
from portal.credentials import password_matches
from portal.database import transaction
from portal.errors import stale_form
from portal.htmx import render
from portal.metrics import sign_ins_tried
from portal.models import Application, Session, Throttle, User
from portal.models.throttle import TRIES
from portal.models.user import fold
from portal.security import may_redirect_anywhere, safe_next, see_other

#: One text for every cause, so that nobody learns which names exist.
WRONG = "The username or password is wrong."
THROTTLED = "Too many wrong passwords for this account. Wait a minute, then try again."
INCOMPLETE = "Enter your username and your password."
STALE = "The page was open for too long, or you signed out in another tab. Sign in again."

PURPOSE = "password"
AUTHORIZE = "/oauth/authorize"


@blueprint.get("/")
def start() -> Response:
    """Send everybody to the page they most likely want."""
    return redirect(start_page())


@blueprint.get("/login")
def show_login() -> Response:
    """The sign-in form; `reauth=1` shows it to people who are signed in, too."""
    may_redirect_anywhere()
    if current_user.is_authenticated and request.args.get("reauth") != "1":
        return redirect(safe_next(request.args.get("next"), start_page()))
    return _page(200)


@blueprint.post("/login")
def log_in() -> Response:
    """Check name and password, start a session and go on to `next`."""
    may_redirect_anywhere()
    typed, password = request.form.get("username", ""), request.form.get("password", "")
    if not fold(typed) or not password:
        return _page(422, INCOMPLETE)
    user = User.named(typed)
    subject = str(user.id) if user else fold(typed)
    wait, tries = Throttle.take(PURPOSE, subject)
    if wait:
        sign_ins_tried("throttled").inc()
        return _page(429, THROTTLED, wait)
    if not _may_enter(user, password) or user is None:
        sign_ins_tried("refused").inc()
        note_wrong_password(user, tries)
        return _page(422, WRONG)
    Throttle.forgive(PURPOSE, subject)
    sign_in(user)
    sign_ins_tried("accepted").inc()
    return see_other(safe_next(request.values.get("next"), start_page()))


@blueprint.errorhandler(CSRFError)
def _stale_form(error: CSRFError) -> Response:
    """Who signed in in another tab meanwhile goes on; who is signed out gets a fresh form."""
    if request.endpoint != "account.log_in":
        return stale_form(error)
    may_redirect_anywhere()
    if current_user.is_authenticated:
        return see_other(safe_next(request.values.get("next"), start_page()))
    return _page(400, STALE)


def _may_enter(user: User | None, password: str) -> bool:
    """Whether this is the person; always takes one password check's time."""
    if user is None or not user.is_active:
        return password_matches(password, None)
    return user.password_fits(password)


def note_wrong_password(user: User | None, tries: int) -> None:
    """Record that the guessing is slowed down from now on: one event however long it goes on.

    Not for names that nobody has: those could fill the log, and may be passwords.
    """
    if user is not None and tries == TRIES:
        audit.record("person.throttled", person=user)


def sign_in(user: User) -> None:
    """Start a session in this browser; whatever its cookie held before is gone (no fixation)."""
    sid = None
    if current_user.is_authenticated and current_user.id == user.id:
        # Applications know this sign-in by its sid: it goes on.
        sid = current_user.session.sid
        Session.end(user.id, current_user.session.id, goes_on=True)
    elif current_user.is_authenticated:
        Session.end(current_user.id, current_user.session.id)
    session.clear()
    with transaction():
        user.start_session(request.remote_addr or "", request.user_agent.string, sid)
        audit.record("person.signed_in", actor=user, person=user)
    flask_login.login_user(user)


def start_page() -> str:
    if not current_user.is_authenticated:
        return "/login"
    return "/admin/applications" if current_user.is_admin else "/account/connections"


def _page(status: int, error: str = "", wait: int = 0) -> Response:
    target = safe_next(request.values.get("next"), "")
    again = current_user.username if current_user.is_authenticated else ""
    response = render(
        "account/login.html",
        status=status,
        error=error,
        errors=bool(error),
        username=request.form.get("username", request.args.get("login_hint", again)),
        again=again,
        next=target,
        continue_to=_application_behind(target),
        no_administrator=not error and not User.administrators(),
    )
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def _application_behind(target: str) -> Application | None:
    """The application that `target`, an authorisation request, leads to."""
    parts = urlsplit(target)
    if parts.path != AUTHORIZE:
        return None
    client_id = parse_qs(parts.query).get("client_id", [""])[0]
    # PostgreSQL cannot even look for a NUL.
    return Application.with_client_id(client_id) if "\0" not in client_id else None
