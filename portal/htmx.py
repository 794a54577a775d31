"""One address serves the page and its part: which one, and where htmx comes from."""

from dataclasses import dataclass

from flask import Response, current_app, make_response, render_template, request

from portal.settings import Settings

#: Version and hash belong together: the hash in 4.0.1's own README is that of 4.0.0.
VERSION = "4.0.1"
INTEGRITY = "sha384-Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn"
CDN_URL = f"https://cdn.jsdelivr.net/npm/htmx.org@{VERSION}/dist/htmx.min.js"
LOCAL_FILE = f"htmx-{VERSION}.min.js"


@dataclass(frozen=True)
class Script:
    """Where pages load htmx from; `integrity` makes the browser refuse any other file."""

    src: str
    integrity: str = INTEGRITY


def script(settings: Settings) -> Script | None:
    """The script for these settings; None when pages do without."""
    if settings.htmx == "off":
        return None
    return Script(CDN_URL if settings.htmx == "cdn" else f"/assets/{LOCAL_FILE}")


def wants_fragment() -> bool:
    """Whether htmx asks for a part of the page."""
    return request.headers.get("HX-Request-Type") == "partial"


def render(
    page: str, /, fragment: str | None = None, status: int = 200, **context: object
) -> Response:
    """The page, or its fragment when htmx asks for one and there is one."""
    template = fragment if fragment and wants_fragment() else page
    response = make_response(render_template(template, **context), status)
    response.vary.add("HX-Request-Type")
    return response


def redirect_whole_page(address: str) -> Response:
    """Tell htmx to leave the page (a sign-in page inside a table helps nobody)."""
    response = current_app.response_class(status=401)
    response.headers["HX-Redirect"] = address
    return response
