"""Set-up cards, used as they stand: the general one, and the app of the Flask card."""

import shlex

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session

from portal import cards
from portal.models import Application
from tests.libraries.conftest import REDIRECT_URI


@pytest.fixture
def text_of(portal):
    """The first text of a card for an application that is registered."""

    def fill(name: str, registered) -> str:
        with portal.models():
            application = Application.with_client_id(registered.client_id)
            filled = cards.fill(cards.card_named(name), application, registered.issuer)
        assert filled.problems == []
        return filled.texts[0].content

    return fill


@pytest.mark.parametrize("confidential", [True, False], ids=["confidential", "public"])
def test_the_general_card_signs_people_in(register, person, text_of, confidential):
    registered = register(confidential=confidential)
    words = shlex.split(text_of("generic", registered), comments=True)
    env = dict(word.split("=", 1) for word in words)
    metadata = requests.get(env["OIDC_DISCOVERY_URL"]).json()
    assert metadata["issuer"] == env["OIDC_ISSUER"]
    for name in ("authorization", "token", "userinfo", "end_session"):
        assert metadata[f"{name}_endpoint"] == env[f"OIDC_{name.upper()}_ENDPOINT"]
    assert metadata["jwks_uri"] == env["OIDC_JWKS_URI"]
    with OAuth2Session(
        env["OIDC_CLIENT_ID"],
        registered.client_secret,
        scope=env["OIDC_SCOPE"],
        redirect_uri=env["OIDC_REDIRECT_URI"],
        token_endpoint_auth_method=env["OIDC_TOKEN_ENDPOINT_AUTH_METHOD"],
        code_challenge_method=env["OIDC_CODE_CHALLENGE_METHOD"],
    ) as session:
        verifier = "v" * 50
        address, _ = session.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier
        )
        callback = person.visit(address, env["OIDC_REDIRECT_URI"])
        session.fetch_token(
            metadata["token_endpoint"], authorization_response=callback, code_verifier=verifier
        )
        assert session.get(metadata["userinfo_endpoint"]).json()["sub"] == registered.sub


@pytest.mark.parametrize("confidential", [True, False], ids=["confidential", "public"])
def test_the_app_of_the_flask_card_signs_people_in(
    register, person, text_of, monkeypatch, confidential
):
    registered = register(confidential=confidential, name='Evil "name"\\')
    source = text_of("flask", registered)
    monkeypatch.setenv("CLIENT_SECRET", registered.client_secret or "")
    module: dict = {"__name__": "card"}
    exec(compile(source, "app.py", "exec"), module)
    relying = module["app"].test_client()
    assert relying.get("/").location == "/login"
    callback = person.visit(relying.get("/login").location, REDIRECT_URI)
    assert relying.get("/callback?" + callback.partition("?")[2]).location == "/"
    assert relying.get("/").text == "Hello Bob"
