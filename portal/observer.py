"""Around every request: its id, the time it took, its line in the access log."""

import logging
import os
import re
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from time import perf_counter
from typing import Any

from flask import Flask

from portal import logs
from portal.metrics import request_seconds
from portal.patience import Busy
from portal.settings import Settings

Environ = dict[str, Any]
App = Callable[[Environ, Callable], Iterable[bytes]]

access_log = logging.getLogger(logs.ACCESS)

#: Where whoever answers says which route it was, such as `oauth.token`.
ENDPOINT = "portal.endpoint"
#: Set by a server that has yet to wait for the disk; replaced by what it calls once it has.
NOTE = "portal.note"
#: The error that the disk answered with: whoever asks again gets the page or the JSON about it.
FAILURE = "portal.failure"
#: For addresses that lead nowhere: one name, so that nobody can fill the metrics with others.
UNKNOWN = "unknown"
#: What a proxy may choose as the id of a request.
HARMLESS_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def init_app(app: Flask, settings: Settings) -> None:
    """Stand around all that answers; comes last, so that it sees what the others did."""
    app.wsgi_app = Observer(app.wsgi_app, app, settings)  # type: ignore[method-assign]


class Observer:
    """A WSGI callable that notes what the one inside does; a few microseconds a request."""

    def __init__(self, inner: App, app: Flask, settings: Settings) -> None:
        self.inner, self.app = inner, app
        self.believes_proxy = settings.proxy_hops > 0
        self.counts = bool(settings.metrics_token)
        self.logs = bool(settings.access_log)
        # The rule, never the path or the query: those may hold the secret of a link.
        self.rules = {rule.endpoint: rule.rule for rule in app.url_map.iter_rules()}

    def __call__(self, environ: Environ, start_response: Callable) -> Iterable[bytes]:
        mine = self._id_for(environ)
        line = "500"

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal line
            line = status
            return start_response(status, [*headers, ("X-Request-ID", mine)], exc_info)

        before = logs.request_id.set(mine)
        began, again = perf_counter(), False
        try:
            if FAILURE in environ:
                return self._fail(environ, respond)
            return self.inner(environ, respond)
        except Busy:
            again = True
            raise
        finally:
            if self.counts or self.logs:
                note = partial(self._note, environ, line[:3], perf_counter() - began)
                if NOTE in environ:  # with the request's id, which is no longer set by then
                    environ[NOTE] = partial(copy_context().run, note)
                elif not again:
                    note()
            logs.request_id.reset(before)

    def _fail(self, environ: Environ, start_response: Callable) -> Iterable[bytes]:
        with self.app.request_context(environ):
            answer = self.app.handle_user_exception(environ[FAILURE])
            return self.app.finalize_request(answer, True)(environ, start_response)

    def _note(self, environ: Environ, status: str, seconds: float) -> None:
        if self.counts:
            request_seconds(environ.get(ENDPOINT) or UNKNOWN, status).observe(seconds)
        if self.logs:
            self._log(environ, status, seconds * 1000)

    def _id_for(self, environ: Environ) -> str:
        if self.believes_proxy:
            sent = environ.get("HTTP_X_REQUEST_ID", "")
            if HARMLESS_ID.fullmatch(sent):
                return sent
        return os.urandom(8).hex()

    def _log(self, environ: Environ, status: str, milliseconds: float) -> None:
        method, client = environ["REQUEST_METHOD"][:16], environ.get("REMOTE_ADDR", "")
        route = self.rules.get(environ.get(ENDPOINT) or UNKNOWN, UNKNOWN)
        took = round(milliseconds, 2)
        access_log.info(
            "%s %s %s in %s ms for %s",
            *(method, route, status, took, client),
            extra={
                "method": method,
                "route": route,
                "status": int(status),
                "duration_ms": took,
                "client": client,
            },
        )
