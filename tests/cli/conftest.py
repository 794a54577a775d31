"""Run a command the way a script does: arguments, standard input, three kinds of answers."""

import json
from typing import Any, NamedTuple

import pytest


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line about bad input."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        assert self.err.startswith("Error: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("Error: ").strip()


@pytest.fixture
def flask(app):
    """`flask("user", "list")`."""

    def run(*arguments: str, stdin: str | bytes | None = None) -> Answer:
        result = app.test_cli_runner().invoke(args=list(arguments), input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run
