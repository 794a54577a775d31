"""The protocol: one blueprint for the consent page and the endpoints."""

from typing import TYPE_CHECKING

from flask import Blueprint, Flask, current_app

from portal.settings import Settings

if TYPE_CHECKING:
    from portal.oauth.authorization_server import PortalServer

blueprint = Blueprint("oauth", __name__)


def current_server() -> "PortalServer":
    """The authorization server of the portal that handles this request."""
    return current_app.extensions["portal.oauth"]


def init_app(app: Flask, settings: Settings) -> None:
    """Build the server and register its endpoints and pages."""
    # The endpoints import the blueprint above.
    from portal.oauth import (  # noqa: F401
        ask_owner,
        authorize,
        backchannel,
        consent,
        device,
        door,
        keys,
        logout,
        metadata,
        token,
        userinfo,
    )
    from portal.oauth.server import make_server

    app.extensions["portal.oauth"] = make_server(settings)
    backchannel.init_app(app)
    app.register_blueprint(blueprint)
    door.init_app(app)
