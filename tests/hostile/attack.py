"""Send what no browser or library would send, byte for byte, and look at what comes back."""

import io
from urllib.parse import urlsplit

from werkzeug.test import TestResponse, run_wsgi_app

from tests.conftest import ISSUER
from tests.factories import REDIRECT_URI

FORM = "application/x-www-form-urlencoded"
#: Anything of this in an answer, as it is, would be a script that runs.
SCRIPT = "\"'><script>alert(1)</script>"
TRACES = ("Traceback (most recent call last)", "portal/", "site-packages", "sqlite3.", "psycopg")


def send(
    app,
    method: str,
    path: str,
    *,
    query: str = "",
    body: bytes = b"",
    content_type: str | None = FORM,
    cookie: str = "",
    **environ: object,
) -> TestResponse:
    """One WSGI call; `path` and `query` are bytes as latin-1, as WSGI servers give them."""
    whole = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost:8000",
        "REMOTE_ADDR": "192.0.2.7",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **environ,
    }
    if content_type is not None:
        whole["CONTENT_TYPE"] = content_type
    if cookie:
        whole["HTTP_COOKIE"] = cookie
    parts, status, headers = run_wsgi_app(app.wsgi_app, whole, buffered=True)
    return TestResponse(parts, status, headers, None)


def cookie_of(browser) -> str:
    """The Cookie header of a signed-in browser."""
    return f"portal_session={browser.get_cookie('portal_session').value}"


def assert_harmless(response, *marks: str) -> None:
    """A clear answer: no failure, no trace, no way to a foreign host, no script."""
    text = response.get_data(as_text=True)
    assert response.status_code < 500, text[:500]
    if response.mimetype in ("text/html", "application/json"):
        assert not any(trace in text for trace in TRACES), text[:500]
        assert "<script>alert" not in text or response.mimetype == "application/json"
    assert response.headers.get("X-Content-Type-Options") == "nosniff"
    for mark in marks:
        assert mark not in text
    assert_home(response.headers.get("Location"))


def assert_home(location: str | None) -> None:
    """A redirect stays here, or goes to the address that the application registered."""
    if location is None or location.startswith(REDIRECT_URI + "?"):
        return
    target = urlsplit(location)
    assert f"{target.scheme}://{target.netloc}" in (ISSUER, "://"), location
    assert not location.startswith(("//", "/\\")), location
