"""An application with every grant, and pages of everybody, for those who attack them."""

import pytest

from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from tests.factories import make_application
from tests.flows import RelyingApp

ALL_GRANTS = [AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN]


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    application, secret = make_application(alice, grants=ALL_GRANTS)
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def other(app, alice) -> RelyingApp:
    application, secret = make_application(
        alice, name="Mallory's", grants=ALL_GRANTS, redirect_uris=["https://mallory.example/cb"]
    )
    return RelyingApp(app.test_client(), application, secret)
