"""What protects every page: headers, CSRF, who is signed in, and who may enter."""

import json
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, abort, current_app, g, make_response, redirect, request
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask.wrappers import Request
from flask_login import LoginManager, current_user
from flask_wtf.csrf import CSRFProtect
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.wrappers import Response as BaseResponse

from portal import htmx
from portal.models import User
from portal.observer import ENDPOINT
from portal.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

csrf = CSRFProtect()

#: What client applications post to.
MACHINE_ENDPOINTS = (
    "/oauth/token",
    "/oauth/introspect",
    "/oauth/revoke",
    "/oauth/device_authorization",
)
#: Machines call these; they have no cookies, and no session is opened for them.
MACHINE_PATHS = (
    *MACHINE_ENDPOINTS,
    "/oauth/jwks",
    "/.well-known/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/static/",
    "/assets/",
)
MAX_BODY_BYTES = 256 * 1024
MAX_FORM_PARTS = 1000
#: So many session cookies are remembered with what they say.
KNOWN_COOKIES = 1000


class PageSessions(SecureCookieSessionInterface):
    """Flask's signed cookie for pages, nothing for machines."""

    #: The portal keeps only text in it; Flask's own looks for dates and more in every value.
    serializer = json  # type: ignore[assignment]

    def __init__(self) -> None:
        self._made: tuple[object, URLSafeTimedSerializer | None] = (None, None)
        self._known: dict[str, str] = {}

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Made once, not for every request; and anew should the key change."""
        key, made = self._made
        if key != app.secret_key:
            made = super().get_signing_serializer(app)
            self._made, self._known = (app.secret_key, made), {}
        return made

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:  # type: ignore[override]
        if request.path.startswith(MACHINE_PATHS):
            return self.make_null_session(app)
        cookie = request.cookies.get(self.get_cookie_name(app))
        text = self._read(app, cookie) if cookie else None
        return self.session_class(json.loads(text) if text else None)

    def _read(self, app: Flask, cookie: str) -> str | None:
        """The JSON in a cookie that was signed here; a page asks for the same one again and again.

        Without Flask's look at the age, which the session's row knows: a clock that was set back,
        or that is behind another node's, would sign people out.
        """
        serializer = self.get_signing_serializer(app)
        known = self._known.get(cookie)  # once: another thread may clear them
        if known is None and serializer is not None:
            try:
                known = json.dumps(serializer.loads(cookie))
            except BadSignature:
                return None
            if len(self._known) >= KNOWN_COOKIES:
                self._known.clear()
            self._known[cookie] = known
        return known

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session.modified:
            super().save_session(app, session, response)
        elif session.accessed:  # Flask's way, to say only this, parses and writes whole headers
            vary = response.headers.get("Vary")
            response.headers["Vary"] = f"{vary}, Cookie" if vary else "Cookie"


def init_app(app: Flask, settings: Settings) -> None:
    """Wire sessions, sign-in, CSRF and response headers."""
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_NAME="portal_session",
        SESSION_COOKIE_SECURE=settings.is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
        WTF_CSRF_TIME_LIMIT=None,  # bound to the session, which ends by itself
        # Referer is not sent with our Referrer-Policy; the token does the work.
        WTF_CSRF_SSL_STRICT=False,
    )
    app.session_interface = PageSessions()
    csrf.init_app(app)
    login = LoginManager(app)
    login.session_protection = None
    # Else it hashes what the browser calls itself at each request, to compare it with nothing.
    login._session_identifier_generator = str
    login.user_loader(User.signed_in_with)
    app.after_request(_add_headers)


def see_other(address: str) -> BaseResponse:
    """Redirect after a POST: 303, so that no browser posts again (RFC 9700 §4.12)."""
    return redirect(address, 303)


def safe_next(target: str | None, default: str = "/") -> str:
    """`target` when it is a path on this portal, else `default`."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return default
    if any(ord(c) < 0x20 or c == "\\" for c in target):
        return default
    parts = urlsplit(target)
    return default if parts.scheme or parts.netloc else target


def sign_in_first(**extra: str) -> BaseResponse:
    """Send the person to the sign-in page and back here; htmx leaves the whole page."""
    here = request.full_path if request.query_string else request.path
    if request.method not in ("GET", "HEAD"):
        here = "/"  # what was sent is lost with the session, and no Referer says where it stood
    address = "/login?" + urlencode({"next": here, **extra})
    if htmx.wants_fragment():
        return htmx.redirect_whole_page(address)
    return see_other(address)


def sign_in_required(view: Callable[P, R]) -> Callable[P, R | BaseResponse]:
    """Only for people who are signed in."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | BaseResponse:
        if not current_user.is_authenticated:
            return sign_in_first()
        return view(*args, **kwargs)

    return guarded


def require_admin() -> BaseResponse | None:
    """Before every request of the administrators' pages: sign in, or 403."""
    if not current_user.is_authenticated:
        return sign_in_first()
    if not current_user.is_admin:
        abort(403)
    return None


def may_redirect_anywhere() -> None:
    """Leave `form-action` out of this page's policy.

    Chromium applies it to the whole redirect chain after a POST, so 'self' would stop the way
    back to the application on sign-in, consent, device and sign-out pages.
    """
    g.form_action = None


def no_store(response: Response | str) -> Response:
    """Keep a page with a secret out of every cache."""
    made = make_response(response)
    made.headers["Cache-Control"] = "no-store"
    return made


def _policy() -> str:
    script = current_app.extensions["portal.htmx"]
    sources = " ".join(["'self'", *([script.src] if script and "//" in script.src else [])])
    parts = [
        "default-src 'none'",
        f"script-src {sources}",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    if g.get("form_action", "'self'"):
        parts.append("form-action 'self'")
    return "; ".join(parts)


def plain_headers(app: Flask) -> list[tuple[str, str]]:
    """The headers of every response, whoever reads it."""
    headers = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
    if app.config["SESSION_COOKIE_SECURE"]:
        headers.append(("Strict-Transport-Security", "max-age=31536000"))
    return headers


def _add_headers(response: Response) -> Response:
    request.environ[ENDPOINT] = request.endpoint
    headers = response.headers
    headers.extend(plain_headers(current_app))
    if response.mimetype == "text/html":
        headers.setdefault("Content-Security-Policy", _policy())
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        # Pages are about one person: a shared cache must not keep them.
        headers.setdefault("Cache-Control", "no-store")
    return response
