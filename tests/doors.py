"""Both ways to the machines' endpoints: `pytestmark = through_both_doors`.

A plain POST takes the short door before Flask. One whose length is not said beforehand goes
through Flask; so the same tests, sent in chunks, prove that the two answer alike.
"""

import os
from typing import Any

import pytest
from flask.testing import FlaskClient

SHORT, FLASK = "short-door", "flask"
#: The doors do not differ by database, so a run on another one takes just the first.
DOORS = [SHORT] if os.environ.get("PORTAL_TEST_DATABASE_URL") else [SHORT, FLASK]

through_both_doors = pytest.mark.usefixtures("door")


class InChunks(FlaskClient):
    """A client that sends each body with Transfer-Encoding: chunked (RFC 9112 §7.1)."""

    def run_wsgi_app(self, environ: dict[str, Any], buffered: bool = False):
        environ = dict(environ)
        if environ.pop("CONTENT_LENGTH", None):
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
            environ["wsgi.input_terminated"] = True
        return super().run_wsgi_app(environ, buffered)
