"""The protocol: one blueprint for the consent page and the endpoints."""

from flask import Blueprint, Flask

from portal.settings import Settings

blueprint = Blueprint("oauth", __name__)


def init_app(app: Flask, settings: Settings) -> None:
    app.register_blueprint(blueprint)
