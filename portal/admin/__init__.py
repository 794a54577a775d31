"""Administrators' pages: applications, scopes, people. One gate for all of them."""

from flask import Blueprint, Flask

from portal.security import require_admin

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
blueprint.before_request(require_admin)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


# Each module adds its routes to the blueprint.
from portal.admin import (  # noqa: E402
    applications,  # noqa: F401
    audit,  # noqa: F401
    connections,  # noqa: F401
    doctor,  # noqa: F401
    leaving,  # noqa: F401
    reuse,  # noqa: F401
    scopes,  # noqa: F401
    secrets,  # noqa: F401
    setup,  # noqa: F401
    tester,  # noqa: F401
    trust,  # noqa: F401
    users,  # noqa: F401
)
