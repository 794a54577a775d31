"""Commands: `flask --app wsgi …`. Each one calls the models."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Register the commands."""
