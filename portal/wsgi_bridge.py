"""From ASGI to our WSGI application and back (PEP 3333; the ASGI HTTP specification)."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple

Environ = dict[str, Any]
App = Callable[[Environ, Callable], Iterable[bytes]]
Headers = list[tuple[str, str]]

#: An answer that is longer is sent while it is made.
STREAMED_BYTES = 1024 * 1024
#: What is the same in every environment.
CONSTANT: Environ = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.input_terminated": True,
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


class Answer(NamedTuple):
    """What a WSGI application said. `more` is the rest of an answer that is still being made."""

    status: int
    headers: Headers
    body: bytes
    more: Iterator[bytes] | None = None


def environ_of(scope: dict[str, Any]) -> Environ:
    """The environment of a request; its body is added by `with_body`."""
    server, client = scope["server"] or ("", 0), scope["client"] or ("", 0)
    environ = {
        **CONSTANT,
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": scope["path"].encode("utf-8", "surrogatepass").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "wsgi.url_scheme": scope["scheme"],
    }
    for name, value in scope["headers"]:
        key = _key(name)
        if key is None:
            continue
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
    return environ


def with_body(environ: Environ, body: bytes) -> None:
    """Add the body, which was taken in whole, so that its length is known."""
    environ["wsgi.input"] = BytesIO(body)
    if environ.pop("HTTP_TRANSFER_ENCODING", None):
        environ["CONTENT_LENGTH"] = str(len(body))


@lru_cache(256)
def _key(header: bytes) -> str | None:
    """What a header is called in the environment.

    None for one with an underscore: it would pass for another, such as X-Forwarded-For.
    """
    if b"_" in header:
        return None
    name = header.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def ask(app: App, environ: Environ) -> Answer:
    """Call the application and take in what it says.

    In a context of its own: whatever the making of a long answer leaves open there, such as who
    is signed in, no other request of this thread may find.
    """
    status, headers = 500, []

    def start_response(line: str, given: Headers, exc_info: object = None) -> None:
        nonlocal status, headers
        status, headers = int(line[:3]), given

    context = copy_context()
    body = context.run(app, environ, start_response)
    if isinstance(body, list):
        return Answer(status, headers, b"".join(body))
    chunks, size, parts = [], 0, _closing(body, context)
    for chunk in parts:
        chunks.append(chunk)
        size += len(chunk)
        if size > STREAMED_BYTES:
            return Answer(status, headers, b"".join(chunks), parts)
    return Answer(status, headers, b"".join(chunks))


def _closing(body: Any, context: Context) -> Iterator[bytes]:
    chunks = iter(body)
    try:
        while (chunk := context.run(next, chunks, None)) is not None:
            if chunk:
                yield chunk
    finally:
        if hasattr(body, "close"):
            context.run(body.close)


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of an answer as ASGI takes them; the date of a file's, the server adds itself."""
    return [(_name(name), value.encode("latin-1")) for name, value in headers if name != "Date"]


@lru_cache(256)
def _name(header: str) -> bytes:
    return header.lower().encode("latin-1")
