"""What a request looks like once it has passed the proxies, told to `flask doctor` alone.

Doctor signs a short-lived challenge with the secret key; with it, any address answers what the
portal saw of that one request. Without it, or with a wrong one, nothing is different.
"""

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer

from portal.settings import Settings

HEADER = "Portal-Doctor"
SECONDS = 60
CHALLENGE, ANSWER = "doctor challenge", "doctor answer"
#: What proxies say about the request that they took.
FORWARDED = (
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "Forwarded",
)

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable], Iterable[bytes]]


class Diagnosis:
    """Wraps the portal inside ProxyFix, so that it sees what the portal sees."""

    def __init__(self, app: WsgiApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    def __call__(self, environ: Environ, start_response: Callable) -> Iterable[bytes]:
        challenge = environ.get("HTTP_PORTAL_DOCTOR")
        if challenge is None or (nonce := _nonce(self.settings, challenge)) is None:
            return self.app(environ, start_response)
        # Signed, so that doctor knows that no proxy and no other portal made it up.
        answer = {"nonce": nonce, **seen(environ, self.settings)}
        body = _serializer(self.settings, ANSWER).dumps(answer).encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response("200 OK", headers)
        return [body]


def seen(environ: Environ, settings: Settings) -> dict[str, Any]:
    """The request as the portal understands it, and the headers that the proxies sent."""
    raw = environ.get("werkzeug.proxy_fix.orig", environ)
    arrived = {name: environ.get(f"HTTP_{name.upper().replace('-', '_')}") for name in FORWARDED}
    return {
        "issuer": settings.issuer,
        "hops": settings.proxy_hops,
        "scheme": environ.get("wsgi.url_scheme"),
        "host": environ.get("HTTP_HOST"),
        "client": environ.get("REMOTE_ADDR"),
        "path": f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}",
        "peer": raw.get("REMOTE_ADDR"),
        "forwarded": {name: value for name, value in arrived.items() if value is not None},
    }


def make_challenge(settings: Settings) -> tuple[str, str]:
    """A challenge to send as `HEADER`, and the nonce that its answer must hold."""
    nonce = secrets.token_urlsafe(16)
    return _serializer(settings, CHALLENGE).dumps(nonce), nonce


def read_answer(settings: Settings, body: str, nonce: str) -> dict[str, Any] | None:
    """What the portal saw; None when this is no answer to our challenge."""
    try:
        answer = _serializer(settings, ANSWER).loads(body, max_age=SECONDS)
    except BadData:
        return None
    return answer if isinstance(answer, dict) and answer.get("nonce") == nonce else None


def _nonce(settings: Settings, challenge: str) -> str | None:
    try:
        return str(_serializer(settings, CHALLENGE).loads(challenge, max_age=SECONDS))
    except BadData:
        return None


def _serializer(settings: Settings, purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret_key, salt=purpose)
