"""Authlib as a relying application: its Flask integration and its session."""

import pytest
import requests
from authlib.integrations.flask_client import OAuth
from authlib.integrations.requests_client import OAuth2Session
from flask import Flask

from tests.libraries.conftest import AFTER, REDIRECT_URI


def make_relying_app(registered) -> Flask:
    """What Authlib's documentation shows, and nothing else."""
    app = Flask("relying app")
    app.secret_key = "r" * 40
    portal = OAuth(app).register(
        "portal",
        server_metadata_url=f"{registered.issuer}/.well-known/openid-configuration",
        client_id=registered.client_id,
        client_secret=registered.client_secret,
        client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
    )

    @app.get("/login")
    def login():
        return portal.authorize_redirect(REDIRECT_URI)

    @app.get("/callback")
    def callback():
        token = portal.authorize_access_token()
        return {"token": token, "userinfo": portal.userinfo(token=token)}

    return app


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256"])
def test_its_flask_integration_signs_people_in(register, person, algorithm):
    registered = register(id_token_alg=algorithm)
    relying = make_relying_app(registered).test_client()
    callback = person.visit(relying.get("/login").location, REDIRECT_URI)
    answer = relying.get("/callback?" + callback.partition("?")[2]).get_json()
    claims = answer["token"]["userinfo"]
    assert (claims["sub"], claims["aud"]) == (registered.sub, registered.client_id)
    assert claims["nonce"]
    assert claims["at_hash"]
    assert answer["userinfo"]["email"] == "bob@example.org"
    assert answer["userinfo"]["given_name"] == "Bob"


def test_its_flask_integration_works_without_a_secret(register, person):
    registered = register(confidential=False)
    relying = make_relying_app(registered).test_client()
    callback = person.visit(relying.get("/login").location, REDIRECT_URI)
    answer = relying.get("/callback?" + callback.partition("?")[2]).get_json()
    assert answer["token"]["userinfo"]["sub"] == registered.sub


@pytest.fixture
def metadata(portal) -> dict:
    return requests.get(f"{portal.address}/.well-known/oauth-authorization-server").json()


@pytest.fixture
def session_of():
    """Authlib's session for an application."""
    opened: list[OAuth2Session] = []

    def make(registered, **more) -> OAuth2Session:
        fields = {"scope": "openid profile", "redirect_uri": REDIRECT_URI, **more}
        opened.append(OAuth2Session(registered.client_id, registered.client_secret, **fields))
        return opened[-1]

    yield make
    for session in opened:
        session.close()


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_its_session_gets_refreshes_checks_and_revokes(
    register, person, metadata, session_of, method
):
    session = session_of(
        register(), token_endpoint_auth_method=method, code_challenge_method="S256"
    )
    verifier = "v" * 50
    address, _ = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=verifier
    )
    callback = person.visit(address, REDIRECT_URI)
    first = session.fetch_token(
        metadata["token_endpoint"], authorization_response=callback, code_verifier=verifier
    )
    assert session.get(metadata["userinfo_endpoint"]).json()["name"] == "Bob"
    second = session.refresh_token(metadata["token_endpoint"])
    assert second["access_token"] != first["access_token"]
    checked = session.introspect_token(metadata["introspection_endpoint"], second["access_token"])
    assert checked.json()["active"] is True
    answer = session.revoke_token(metadata["revocation_endpoint"], second["refresh_token"])
    assert answer.status_code == 200
    assert session.get(metadata["userinfo_endpoint"]).status_code == 401


def test_its_session_acts_for_itself(register, metadata, session_of):
    session = session_of(register(), scope="reports:read", redirect_uri=None)
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert token["scope"] == "reports:read"


def test_the_person_signs_out_and_comes_back(register, person, metadata):
    registered = register()
    relying = make_relying_app(registered).test_client()
    callback = person.visit(relying.get("/login").location, REDIRECT_URI)
    token = relying.get("/callback?" + callback.partition("?")[2]).get_json()["token"]
    asked = requests.Request(
        "GET",
        metadata["end_session_endpoint"],
        params={
            "id_token_hint": token["id_token"],
            "post_logout_redirect_uri": AFTER,
            "state": "done",
        },
    ).prepare()
    assert person.visit(asked.url, AFTER) == f"{AFTER}?state=done"
