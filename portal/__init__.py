"""Portal: a self-hosted OAuth 2.1 and OpenID Connect server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import current_user
from werkzeug.middleware.proxy_fix import ProxyFix

from portal import (
    account,
    admin,
    cli,
    errors,
    health,
    htmx,
    logs,
    metrics,
    oauth,
    observer,
    security,
    text,
)
from portal.database import open_database
from portal.diagnosis import Diagnosis
from portal.postgres import PooledPostgres, giving_back
from portal.settings import Settings

ROOT = Path(__file__).parent.parent


class Portal(Flask):
    """Flask, with views that all return their answer."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: none is async, and Flask would look at each at every request."""
        return func


def create_app(settings: Settings | None = None) -> Flask:
    """Build the portal: settings, database, protection, then one blueprint after the other."""
    settings = settings or Settings.from_env()
    app = Portal(
        __name__,
        template_folder=str(ROOT / "templates"),
        static_folder=str(ROOT / "static"),
        instance_path=str(settings.instance.absolute()),
    )
    app.extensions["portal.settings"] = settings
    opened = app.extensions["portal.database"] = open_database(settings.database_url)
    app.extensions["portal.htmx"] = htmx.script(settings)

    logs.hush()
    security.init_app(app, settings)
    errors.init_app(app)
    text.init_app(app)
    health.init_app(app)
    metrics.init_app(app)
    oauth.init_app(app, settings)
    account.init_app(app)
    admin.init_app(app)
    cli.init_app(app)
    app.context_processor(
        lambda: {
            "htmx_script": app.extensions["portal.htmx"],
            "current_user": current_user,
            "setup_command": settings.setup_command,
        }
    )
    app.wsgi_app = Diagnosis(app.wsgi_app, settings)  # type: ignore[method-assign]
    if isinstance(opened, PooledPostgres):
        app.wsgi_app = giving_back(app.wsgi_app, opened)  # type: ignore[method-assign]
    if settings.proxy_hops:
        # Each proxy adds an address; scheme and host they hand on, so that there is one of each.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxy_hops, x_proto=1, x_host=1)  # type: ignore[method-assign]
    observer.init_app(app, settings)
    return app
