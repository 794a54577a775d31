"""openid-client, the certified library for Node, as a relying application.

npm install --prefix tests/libraries --no-package-lock
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.libraries.conftest import AFTER, REDIRECT_URI
from tests.receivers import receivers
from tests.requirements import require

HERE = Path(__file__).parent
SECONDS = 30


def problem() -> str | None:
    """Why these tests cannot run here; None when they can."""
    if shutil.which("node") is None:
        return "Node is not installed"
    if not (HERE / "node_modules/openid-client").is_dir():
        return "openid-client is missing: npm install --prefix tests/libraries --no-package-lock"
    return None


class RelyingApp:
    """relying_app.mjs in its own process."""

    def __init__(self, registered, algorithm: str) -> None:
        arguments = (
            *(registered.issuer, registered.client_id, registered.client_secret or ""),
            *(algorithm, REDIRECT_URI, AFTER),
        )
        self.process = subprocess.Popen(
            ["node", str(HERE / "relying_app.mjs"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def question(self) -> str:
        """The next line that it prints."""
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=SECONDS)
            raise AssertionError(errors)
        return line.strip()

    def answer(self, text: str) -> None:
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start():
    require("node", problem())
    started: list[RelyingApp] = []

    def make(registered, algorithm: str = "RS256") -> RelyingApp:
        started.append(RelyingApp(registered, algorithm))
        return started[-1]

    yield make
    for app in started:
        app.close()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256"])
def test_everything_that_a_relying_application_does(register, person, start, algorithm):
    with receivers() as make:
        receiver = make()
        registered = register(id_token_alg=algorithm, backchannel_logout_uri=receiver.uri)
        app = start(registered, algorithm)
        app.answer(person.visit(app.question(), REDIRECT_URI))
        assert person.visit(app.question(), AFTER) == f"{AFTER}?state=done"
        (token,) = receiver.tokens
        app.answer(token)
        learned = json.loads(app.question())
    assert learned["claims"]["sub"] == registered.sub
    assert learned["userinfo"]["email"] == "bob@example.org"
    assert learned["refreshed"]["auth_time"] == learned["claims"]["auth_time"]
    assert learned["active"] is True
    assert learned["own"] == "reports:read"
    assert learned["afterRevocation"] == "invalid_token"
    assert learned["loggedOut"] is True


def test_a_public_application(register, person, start):
    registered = register(confidential=False)
    app = start(registered)
    app.answer(person.visit(app.question(), REDIRECT_URI))
    app.question()
    app.answer("")
    learned = json.loads(app.question())
    assert learned["claims"]["sub"] == registered.sub
    assert learned["afterRevocation"] == "invalid_token"
