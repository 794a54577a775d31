"""Playing the device from the command line."""

import json

import pytest

from portal.models import DeviceCode
from portal.models.application import AUTHORIZATION_CODE
from tests.factories import make_application
from tests.flows import DEVICE_GRANT


@pytest.fixture
def application(app):
    made, _ = make_application(grants=[DEVICE_GRANT], scopes=["openid"], confidential=False)
    return made


def run(app, *arguments):
    return app.test_cli_runner().invoke(args=["application", "device-code", *arguments])


def test_a_code_and_its_qr_code_are_shown(app, application):
    result = run(app, application.client_id, "--scope", "openid")
    assert result.exit_code == 0
    row = DeviceCode.get()
    assert row.shown_code in result.output
    assert "█" in result.output
    assert row.scopes == ["openid"]


def test_the_device_can_poll_with_what_is_printed(app, client, application):
    answer = json.loads(run(app, application.client_id, "--json").output)
    poll = {
        "grant_type": DEVICE_GRANT,
        "device_code": answer["device_code"],
        "client_id": application.client_id,
    }
    assert client.post("/oauth/token", data=poll).get_json()["error"] == "authorization_pending"


@pytest.mark.parametrize("problem", ["flow", "scope", "disabled", "unknown"])
def test_bad_input_is_one_line(app, application, problem):
    arguments = [application.client_id]
    if problem == "flow":
        application.change(grants=[AUTHORIZATION_CODE])
    elif problem == "scope":
        arguments += ["--scope", "admin:all"]
    elif problem == "disabled":
        application.disable()
    else:
        arguments = ["nobody"]
    result = run(app, *arguments)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert DeviceCode.select().count() == 0
