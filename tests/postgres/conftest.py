"""Commands are run here as in `tests/cli`."""

from tests.cli.conftest import flask

__all__ = ["flask"]
