"""Errors as people see them: a page that says what to do, never a trace."""

import logging
import sqlite3
from urllib.parse import urlencode

from flask import Flask, Response, current_app, g, jsonify, make_response, request
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from peewee import InterfaceError, OperationalError
from werkzeug.exceptions import BadHost, HTTPException, InternalServerError

from portal import logs
from portal.database import database, give_way
from portal.htmx import render, wants_fragment
from portal.models.signing_key import WrongSecretKey

log = logging.getLogger(__name__)

#: The database is away, full or locked. A statement that returns rows may meet it while they are
#: fetched, and then peewee does not translate SQLite's own error.
DATABASE_FAILURES = (OperationalError, InterfaceError, sqlite3.OperationalError)
TITLES = {
    400: "The request could not be understood",
    403: "You may not open this page",
    404: "Page not found",
    405: "This address does not work that way",
    413: "That was too much at once",
    414: "The address is too long",
    415: "The request could not be understood",
    429: "Too many tries",
    431: "The request headers are too long",
    500: "Something went wrong here",
    503: "The portal cannot reach its database",
}
MESSAGES = {
    400: "Go back, check what you sent and try again.",
    403: "Your account has no right to it. Ask an administrator of this portal.",
    404: "Check the address. The page may have been moved or deleted.",
    405: "Follow a link or press a button instead of typing the address.",
    413: "Send less: forms here take at most 256 KB.",
    429: "Wait a minute, then try again.",
    500: "It is not your fault. Try again; if it stays, tell the administrator this reference.",
    503: "Try again in a few seconds. Nothing that was confirmed is lost.",
}
STALE_FORM = (
    "The page was open for too long, or you signed in or out in another tab. Go back, reload the"
    " page and send the form again."
)
SIGNED_OUT = "You were signed out since the page was opened, and nothing was saved. Sign in first."
KEPT = (
    "You signed in or out in another tab since the page was opened, and nothing was saved yet. What"
    " you typed is kept."
)
KEPT_SIGNED_OUT = (
    "You were signed out since the page was opened, and nothing was saved yet. What you typed is"
    " kept here: sign in in another tab, come back to this one and send it."
)
#: Pages where people decide about an application: whoever decides must see what about.
DECISIONS = ("/oauth/", "/device/")
#: Fields with one of these in their names have to be typed again.
PRIVATE = ("password", "secret")
NO_KEYS = "The portal cannot read its signing keys. Its administrator finds the reason in the log."


def init_app(app: Flask) -> None:
    """Answer every error of a page with a page, of the protocol with JSON."""
    # Two slashes in a row are another address: werkzeug would redirect by the Host header.
    app.url_map.merge_slashes = False
    app.register_error_handler(CSRFError, stale_form)
    app.register_error_handler(HTTPException, _http_error)
    for failure in DATABASE_FAILURES:
        app.register_error_handler(failure, _database_error)
    app.register_error_handler(WrongSecretKey, _no_keys)
    app.register_error_handler(Exception, _unexpected)


def stale_form(error: CSRFError) -> Response:
    """The form is of another session. What was typed into it can be sent once more."""
    if is_protocol_path():
        return _answer(400)
    fields = _kept_fields()
    if not current_user.is_authenticated and fields:
        page = {"title": "You are signed out", "message": KEPT_SIGNED_OUT, "sign_in": "/login"}
    elif not current_user.is_authenticated:
        page = {
            "title": "You are signed out",
            "message": SIGNED_OUT,
            "sign_in": _sign_in_for_page(),
        }
    elif fields:
        page = {"title": "Send the form again", "message": KEPT}
    else:
        return _answer(400, STALE_FORM)
    return render("stale_form.html", status=400, fields=fields, **page)


def _sign_in_for_page() -> str:
    """The sign-in page, and then the page that the form was on, if it has the same address."""
    if not current_app.url_map.bind("").test(request.path, "GET"):
        return "/login"
    here = request.full_path if request.query_string else request.path
    return f"/login?{urlencode({'next': here})}"


def _kept_fields() -> list[tuple[str, str]]:
    """What the form held, if this portal's own page sent it: no other may fill in a form here."""
    own_page = request.headers.get("Sec-Fetch-Site") == "same-origin"
    if not own_page or wants_fragment() or request.path.startswith(DECISIONS):
        return []
    return [
        (name, value)
        for name, value in request.form.items(multi=True)
        if name != "csrf_token" and not any(word in name for word in PRIVATE)
    ]


def _http_error(error: HTTPException) -> Response | HTTPException:
    code = error.code or 500
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, DATABASE_FAILURES):  # while another error was shown
        return _database_error(cause)
    if code < 400 or error.response is not None:
        return error
    response = _answer(code)
    for name in ("Retry-After", "Allow"):
        for key, value in error.get_headers():
            if key == name:
                response.headers[name] = value
    return response


def _database_error(error: Exception) -> Response:
    give_way(error)
    # One line: while the database is away there is one for every request.
    reason = str(error).partition("\n")[0][:200]
    log.error("database: %s: %s", error.__class__.__name__, reason)
    if not database.in_transaction():
        database.close()  # the next request of this thread connects anew
    response = _answer(503)
    response.headers["Retry-After"] = "5"
    return response


def _no_keys(error: WrongSecretKey) -> Response:
    log.error("%s", error)
    if is_protocol_path():
        return protocol_error(503, NO_KEYS)
    return _answer(503, NO_KEYS, "The portal cannot sign anybody in at the moment")


def _unexpected(error: Exception) -> Response:
    # The rule, not the path: that may hold the secret of a link.
    log.error("unexpected error at %s %s", request.method, request.url_rule, exc_info=error)
    return _answer(InternalServerError.code)


def _answer(code: int, message: str | None = None, title: str | None = None) -> Response:
    title = title or TITLES.get(code, TITLES[400])
    if is_protocol_path():
        return protocol_error(code)
    if code >= 500:
        # The page must not ask a database that fails who is signed in.
        g._login_user = current_app.login_manager.anonymous_user()  # type: ignore[attr-defined]
    message = message or MESSAGES.get(code, MESSAGES[400])
    if isinstance(request.routing_exception, BadHost):
        # Without a host no address can be built, so the page cannot name its style sheet.
        return make_response(f"{title}. {message}\n", code, {"Content-Type": "text/plain"})
    # Only what went wrong here is worth looking up in the log.
    reference = logs.request_id.get() if code >= 500 else ""
    return render(
        "error.html", status=code, code=code, title=title, message=message, reference=reference
    )


def is_protocol_path() -> bool:
    """Whether a program, not a person, reads the answer."""
    return request.path.startswith(("/oauth/", "/.well-known/")) and not request.path.startswith(
        ("/oauth/authorize", "/oauth/consent", "/oauth/logout")
    )


def protocol_error(code: int, description: str | None = None) -> Response:
    """An RFC 6749 §5.2 error for a failure outside the grants."""
    name = {503: "temporarily_unavailable", 500: "server_error"}.get(code, "invalid_request")
    description = description or {
        404: "There is no such endpoint.",
        405: "This endpoint does not take that method.",
        413: "The request body is too large.",
        503: "The server cannot reach its database. Try again in a few seconds.",
        500: "The server met an unexpected condition.",
    }.get(code, "The request could not be read.")
    response = jsonify(error=name, error_description=description)
    response.status_code = code
    response.headers["Cache-Control"] = "no-store"
    return response
