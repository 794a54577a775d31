"""Two doors to one server: Flask's, and a short one for the requests that machines send most.

Flask's own work for a request costs as much as everything that a token needs. So a plain POST to
one of the machines' endpoints is answered before Flask wakes up: by the same server, grants and
models, with the same headers. Whatever is not plain goes through Flask, and so does every error
that nobody expected. The tests of the endpoints run through both doors.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, request
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response

from portal.database import give_way
from portal.oauth import current_server
from portal.oauth.authorization_server import PortalServer
from portal.oauth.metadata import OPEN_TO_SCRIPTS
from portal.oauth.request_filter import MachineCall
from portal.observer import ENDPOINT
from portal.security import MACHINE_ENDPOINTS, MAX_BODY_BYTES, plain_headers

Environ = dict[str, Any]
WSGI = Callable[[Environ, Callable], Iterable[bytes]]

NAMES = {path: path.removeprefix("/oauth/") for path in MACHINE_ENDPOINTS}
STATUS_LINES = {code: f"{code} {name.upper()}" for code, name in HTTP_STATUS_CODES.items()}


def answer_machine(endpoint: str) -> Response:
    """Flask's door: the answer to the current request."""
    call = MachineCall.of(request.environ, request.get_data())
    return current_server().answer(endpoint, call).as_response()


def init_app(app: Flask) -> None:
    """Open the short door."""
    app.wsgi_app = ShortDoor(app, app.wsgi_app)  # type: ignore[method-assign]


class ShortDoor:
    """The short door, before the WSGI application that answers everything else."""

    def __init__(self, app: Flask, inner: WSGI) -> None:
        self._app, self._inner = app, inner
        everywhere = plain_headers(app)
        for_scripts = [*everywhere, ("Access-Control-Allow-Origin", "*")]
        self._headers = {
            path: for_scripts if path.startswith(OPEN_TO_SCRIPTS) else everywhere for path in NAMES
        }

    def __call__(self, environ: Environ, start_response: Callable) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path not in NAMES or not _is_plain(environ):
            return self._inner(environ, start_response)
        server: PortalServer = self._app.extensions["portal.oauth"]
        environ[ENDPOINT] = f"oauth.{NAMES[path]}"
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        try:
            answer = server.answer(NAMES[path], MachineCall.of(environ, body))
        except Exception as error:
            give_way(error)
            return self._failure(error, environ)(environ, start_response)
        content = answer.body.encode()
        length = ("Content-Length", str(len(content)))
        headers = [*answer.headers, length, *self._headers[path]]
        start_response(STATUS_LINES[answer.status], headers)
        return [content]

    def _failure(self, error: Exception, environ: Environ) -> Response:
        """What Flask answers when a view raises this."""
        app = self._app
        with app.request_context(environ):
            return app.finalize_request(app.handle_user_exception(error), from_error_handler=True)


def _is_plain(environ: Environ) -> bool:
    """Whether the request is one that every client library sends; any other takes Flask's door."""
    length = environ.get("CONTENT_LENGTH") or ""
    return (
        environ["REQUEST_METHOD"] == "POST"
        and not environ.get("SCRIPT_NAME")
        and len(length) <= 6
        and length.isascii()
        and length.isdigit()
        and int(length) <= MAX_BODY_BYTES
    )
