"""A portal for real beside the models of the test, both on one database."""

from collections.abc import Iterator

import pytest

from tests.factories import make_application
from tests.faults.portal import Portal
from tests.flows import DEVICE_GRANT, RelyingApp

GRANTS = ["authorization_code", "client_credentials", DEVICE_GRANT, "refresh_token"]


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    """An application whose people use the portal of this process: see `Portal.serving`."""
    application, secret = make_application(alice, grants=GRANTS)
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def portal(app, database_url, tmp_path) -> Iterator[Portal]:
    """The server, not started yet."""
    made = Portal(database_url, tmp_path / "portal.log")
    yield made
    made.end()
