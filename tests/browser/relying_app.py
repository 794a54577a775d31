"""A relying application as somebody else writes it: Flask and Authlib's own client.

It knows the portal by its metadata address alone. Its pages show what it was given.
"""

import threading
from typing import Any

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session
from markupsafe import escape
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

METADATA = "/.well-known/oauth-authorization-server"


class RelyingApp:
    """The application on a port of its own; register it before people visit it."""

    def __init__(self, portal: str) -> None:
        self.portal = portal
        self.app = Flask(__name__)
        self.app.secret_key = "relying app"
        self.app.config["SESSION_COOKIE_NAME"] = "relying_app"
        self._add_pages()
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True)
        # Another host than the portal's: browsers keep cookies for a host, whatever the port.
        self.address = f"http://127.0.0.1:{self._server.port}"
        self.redirect_uri = f"{self.address}/callback"
        self.tokens: dict[str, Any] = {}

    def start(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def register(self, client_id: str, secret: str, scope: str) -> None:
        """What the portal's administrator sends to the application's developer."""
        self.client = OAuth(self.app).register(
            "portal",
            client_id=client_id,
            client_secret=secret,
            server_metadata_url=self.portal + METADATA,
            client_kwargs={"scope": scope, "code_challenge_method": "S256"},
            overwrite=True,
        )

    def _add_pages(self) -> None:
        app = self.app

        @app.get("/")
        def start() -> str:
            if "scope" not in session:
                return _page("Welcome", '<a href="/login">Sign in with Portal</a>')
            return _page("Signed in", f"<p>Granted: <b>{escape(session['scope'])}</b></p>", REFRESH)

        @app.get("/login")
        def log_in() -> Response:
            return self.client.authorize_redirect(self.redirect_uri)

        @app.get("/callback", strict_slashes=False)
        def callback() -> Response | str:
            try:
                self._keep(self.client.authorize_access_token())
            except OAuthError as error:
                return _page("Not signed in", f"<p>{escape(error.error)}</p>", SIGN_IN)
            return redirect("/")

        @app.post("/refresh")
        def refresh() -> Response | str:
            try:
                self._keep(
                    # Authlib would ask for all its scopes again, also those that were unticked.
                    self.client.fetch_access_token(
                        grant_type="refresh_token",
                        refresh_token=self.tokens["refresh_token"],
                        scope=self.tokens["scope"],
                    )
                )
            except OAuthError as error:
                session.clear()
                return _page("Signed out", f"<p>{escape(error.error)}</p>", SIGN_IN)
            return redirect("/")

    def _keep(self, token: dict[str, Any]) -> None:
        self.tokens = token
        session["scope"] = token["scope"]


SIGN_IN = '<a href="/login">Sign in with Portal</a>'
REFRESH = '<form method="post" action="/refresh"><button>Refresh</button></form>'


def _page(title: str, *parts: str) -> str:
    return f'<!doctype html><html lang="en"><title>{title}</title><h1>{title}</h1>{"".join(parts)}'
