"""Relying applications that the protocol tests share."""

import pytest

from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from tests.factories import make_application, make_scope
from tests.flows import RelyingApp


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    """A confidential application with every grant."""
    make_scope("reports:read")
    application, secret = make_application(
        alice,
        grants=[AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN],
        scopes=["openid", "profile", "email", "offline_access", "reports:read"],
    )
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def other(app, alice) -> RelyingApp:
    """Another confidential application with every grant."""
    application, secret = make_application(
        alice,
        name="Other",
        grants=[AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN],
    )
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def public(app, alice) -> RelyingApp:
    """A public application."""
    application, _ = make_application(
        alice,
        name="Single Page",
        confidential=False,
        grants=[AUTHORIZATION_CODE, DEVICE_CODE, REFRESH_TOKEN],
    )
    return RelyingApp(app.test_client(), application)


@pytest.fixture
def bob_signs_in(browser_of, bob):
    """Bob signs in at an application: the token response's JSON."""
    browser = browser_of(bob)

    def sign_in(rp: RelyingApp, **changes) -> dict:
        return rp.sign_in(browser, **changes)

    sign_in.browser = browser
    return sign_in
