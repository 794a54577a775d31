"""Is the portal alive, and can it serve? For load balancers and people who watch."""

from flask import Flask, Response, current_app, jsonify, send_from_directory

from portal.database import database, pending_migrations
from portal.htmx import LOCAL_FILE


def init_app(app: Flask) -> None:
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.add_url_rule("/assets/<name>", view_func=asset)


def healthz() -> Response:
    """The process answers."""
    return jsonify(status="ok")


def readyz() -> tuple[Response, int]:
    """The database answers and has the schema of this release."""
    database.execute_sql("SELECT 1")
    pending = pending_migrations()
    if pending:
        return jsonify(status="migrations pending", pending=pending), 503
    return jsonify(status="ok"), 200


def asset(name: str) -> Response:
    """The htmx file that `flask assets fetch` downloaded."""
    if name != LOCAL_FILE:
        return current_app.response_class(status=404)
    return send_from_directory(f"{current_app.instance_path}/assets", name, max_age=31536000)
