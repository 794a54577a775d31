"""One production server for all client libraries, and a person who uses the applications."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from portal.models import User
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from tests import factories
from tests.browser.portal_server import PortalServer
from tests.libraries.person import Person

#: Nothing listens there: the person's browser stops before it.
REDIRECT_URI = "http://localhost:9/callback"
AFTER = "http://localhost:9/bye"


@dataclass(frozen=True)
class Registered:
    """An application as its developer knows it."""

    issuer: str
    client_id: str
    client_secret: str | None
    sub: str


@pytest.fixture(scope="session")
def portal(tmp_path_factory) -> Iterator[PortalServer]:
    server = PortalServer(tmp_path_factory.mktemp("libraries"))
    server.environ["PORTAL_PRIVATE_LOGOUT_URIS"] = "1"
    server.start()
    with server.models():
        factories.make_full_person("bob")
        factories.make_user("owner")
        factories.make_scope("reports:read")
    yield server
    server.stop()


@pytest.fixture
def register(portal) -> Callable[..., Registered]:
    """Add an application that may do everything."""

    def make(**fields) -> Registered:
        fields = {
            "grants": [AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN],
            "redirect_uris": [REDIRECT_URI],
            "post_logout_redirect_uris": [AFTER],
            "scopes": ["openid", "profile", "email", "offline_access", "reports:read"],
            **fields,
        }
        if not fields.get("confidential", True):
            fields["grants"].remove(CLIENT_CREDENTIALS)
        with portal.models():
            application, secret = factories.make_application(User.named("owner"), **fields)
            sub = User.named("bob").sub
        return Registered(portal.address, application.client_id, secret, sub)

    return make


@pytest.fixture
def person() -> Person:
    """Bob, in a new browser."""
    return Person("bob")
