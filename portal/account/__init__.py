"""People: sign in and out, password, sessions, connected applications."""

from flask import Blueprint, Flask

blueprint = Blueprint("account", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


# Each module adds its routes to the blueprint.
from portal.account import (  # noqa: E402, F401
    applications,
    connections,
    login,
    logout,
    offers,
    password,
    profile,
    reset,
    sessions,
    setup,
    verify_email,
)
