"""A portal behind a reverse proxy with TLS, as small as they come: what it changes is the test."""

import http.client
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

from portal.database import database
from tests.mail_server import make_certificate

#: Changes the headers that go on, and may change the path.
Change = Callable[[dict[str, str], str], str]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args) -> None:
        pass


@contextmanager
def serving(app, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve a WSGI application on a free port of this machine."""
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closing_database(app):
    """The portal, so that the server's thread leaves no connection behind."""

    def call(environ, start_response):
        try:
            return app(environ, start_response)
        finally:
            database.close()

    return call


def proxy(target: int, change: Change):
    """Hand each request on to a port, as `change` makes it."""

    def call(environ, start_response):
        names = {n[5:].replace("_", "-").title(): v for n, v in environ.items() if n[:5] == "HTTP_"}
        path = change(names, environ["PATH_INFO"])
        connection = http.client.HTTPConnection("127.0.0.1", target, timeout=5)
        try:
            connection.request("GET", path, headers=names)
            answer = connection.getresponse()
            body = answer.read()
        except OSError:
            start_response("502 Bad Gateway", [])
            return [b"bad gateway"]
        finally:
            connection.close()
        hop_by_hop = ("connection", "transfer-encoding", "keep-alive", "server", "date")
        kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in hop_by_hop]
        start_response(f"{answer.status} {answer.reason}", kept)
        return [body]

    return call


def tls(folder: Path, name: str = "localhost", days: int = 1) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of its own, and that certificate's file."""
    certificate, key = make_certificate(folder, name, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
