"""Administrators' pages: applications, scopes, people. One gate for all of them."""

from flask import Blueprint, Flask

from portal.security import require_admin

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.before_request(require_admin)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


# Each module adds its routes to the blueprint.
from portal.admin import applications, audit, connections, doctor, scopes, secrets, users  # noqa: E402, F401
