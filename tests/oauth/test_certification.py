"""What the OpenID Foundation's conformance suite asks, one test a module, named after it.

The suite runs against a public address; these walk the same steps here: Basic, Config, Form Post,
RP-Initiated Logout and Back-Channel Logout OP. Its client sends no PKCE.
"""

import html
import re
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import time_machine
from authlib.oidc.core.util import create_half_hash
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc import jwt
from joserfc.jwk import KeySet

from portal import create_app
from portal.database import database
from portal.oauth.claims import PROFILE
from tests.factories import PASSWORD, make_application, make_full_person, make_scope, post
from tests.flows import RelyingApp, query
from tests.oauth.test_openid_connect import forged
from tests.receivers import receivers

ISSUER = "http://localhost:8000"
REDIRECT_URI = "https://suite.example.org/test/a/portal/callback"
AFTER = "https://suite.example.org/test/a/portal/post_logout_redirect"
STATE, NONCE = "s" * 128, "n" * 64
SCOPES = ["openid", "profile", "email", "address", "phone", "offline_access"]
EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Suite(RelyingApp):
    """The suite's client with its browser; every flow is checked as all modules check it."""

    def __init__(self, http, application, secret, browser) -> None:
        super().__init__(http, application, secret, REDIRECT_URI)
        self.browser = browser
        self.auth = "basic"

    def ask(self, **changes):
        """An authorization request as the suite sends it."""
        params = {"scope": "openid", "state": STATE, "nonce": NONCE}
        params |= {"code_challenge": None, "code_challenge_method": None, **changes}
        return self.authorize(self.browser, **params)

    def go_on(self, response):
        """Allow on the consent page, if it is shown."""
        if response.status_code == 200 and 'name="decision"' in response.get_data(as_text=True):
            scopes = re.findall(r'name="scope" value="([^"]*)"', response.get_data(as_text=True))
            return self.decide(self.browser, response, ticked=scopes)
        return response

    def callback(self, response) -> dict[str, str]:
        """The parameters of the redirect, checked."""
        assert response.location.startswith(f"{REDIRECT_URI}?")
        answer = query(response)
        assert answer["state"] == STATE
        assert answer["iss"] == ISSUER
        return answer

    def error(self, response) -> str:
        """The error of a redirect: with the state, without a code, in ASCII."""
        answer = self.callback(response)
        assert set(answer) <= {"error", "error_description", "error_uri", "state", "iss"}
        assert answer["error_description"].isascii()
        return answer["error"]

    def swap(self, code: str, **changes):
        data = {"code": code, "redirect_uri": REDIRECT_URI, **changes}
        data["grant_type"] = "authorization_code"
        return self.post("/oauth/token", data, self.auth)

    def flow(self, **changes) -> tuple[dict, dict]:
        """A whole sign-in: the token response and the ID token's claims, both checked."""
        code = self.callback(self.go_on(self.ask(**changes)))["code"]
        assert len(code) >= 43
        tokens = self.swap(code)
        return self.check_tokens(tokens, changes.get("nonce", NONCE))

    def check_tokens(self, response, nonce: str | None) -> tuple[dict, dict]:
        assert response.status_code == 200, response.get_json()
        assert response.headers["Cache-Control"] == "no-store"
        tokens = response.get_json()
        assert tokens["token_type"] == "Bearer"
        assert tokens["expires_in"] > 0
        header, claims = self.read(tokens["id_token"])
        assert header["alg"] == self.application.id_token_alg
        assert (claims["iss"], claims["aud"]) == (ISSUER, self.client_id)
        assert claims["sub"].isascii()
        assert len(claims["sub"]) <= 255
        assert abs(claims["iat"] - time.time()) < 300
        assert claims["exp"] > time.time()
        assert claims.get("nonce") == nonce
        half = create_half_hash(tokens["access_token"], header["alg"]).decode()
        assert claims["at_hash"] == half
        assert not set(claims) & {*PROFILE, "email", "address", "phone_number"}
        return tokens, claims

    def read(self, token: str) -> tuple[dict, dict]:
        keys = KeySet.import_key_set(self.http.get("/oauth/jwks").get_json())
        checked = jwt.decode(token, keys, algorithms=["RS256", "ES256", "PS256"])
        return checked.header, checked.claims

    def userinfo(self, tokens: dict) -> dict:
        header = {"Authorization": f"Bearer {tokens['access_token']}"}
        response = self.http.get("/oauth/userinfo", headers=header)
        assert response.status_code == 200
        assert response.mimetype == "application/json"
        return response.get_json()

    def sign_in_page(self, response):
        """Sign in where the answer leads, and come back to the application."""
        assert response.status_code == 303
        assert response.location.startswith("/login?")
        page = response.location
        fields = {"username": "bob", "password": PASSWORD, "next": query(response)["next"]}
        done = post(self.browser, "/login", fields, page=page)
        assert done.status_code == 303
        return self.go_on(self.browser.get(done.location))

    def log_out(self, **params):
        return self.browser.get("/oauth/logout", query_string=params)


@pytest.fixture
def settings(settings):
    return replace(settings, private_logout_uris=1)


@pytest.fixture
def bob(app):
    return make_full_person("bob")


@pytest.fixture
def make_suite(app, alice, bob, browser_of):
    def make(**fields) -> Suite:
        fields = {
            "scopes": SCOPES,
            "redirect_uris": [REDIRECT_URI],
            "post_logout_redirect_uris": [AFTER],
            "require_pkce": False,
            **fields,
        }
        application, secret = make_application(alice, **fields)
        return Suite(app.test_client(), application, secret, browser_of(bob))

    return make


@pytest.fixture
def suite(make_suite) -> Suite:
    return make_suite()


@pytest.fixture
def clock():
    with time_machine.travel(time.time(), tick=False) as clock:
        yield clock


@pytest.fixture
def discovery(client) -> dict:
    return client.get("/.well-known/openid-configuration").get_json()


# Basic OP


def test_oidcc_server(suite, bob):
    tokens, claims = suite.flow()
    assert claims["sub"] == bob.sub
    assert suite.userinfo(tokens) == {"sub": bob.sub}


def test_oidcc_server_client_secret_post(suite):
    suite.auth = "post"
    suite.flow()


def test_oidcc_idtoken_signature(suite):
    tokens, _ = suite.flow()
    header, _ = suite.read(tokens["id_token"])
    assert header["alg"] == "RS256"
    assert header["kid"]


def test_oidcc_idtoken_unsigned(discovery):
    """Skipped by the suite: alg none is not offered."""
    assert "none" not in discovery["id_token_signing_alg_values_supported"]


def test_oidcc_request_uri_unsigned(suite, discovery):
    assert discovery["request_uri_parameter_supported"] is False
    answer = suite.error(suite.ask(request_uri="https://suite.example.org/request.jwt"))
    assert answer == "request_uri_not_supported"


def test_oidcc_response_type_missing(suite):
    assert suite.error(suite.ask(response_type=None)) == "invalid_request"


def test_oidcc_userinfo_get(suite, bob):
    tokens, claims = suite.flow()
    assert suite.userinfo(tokens)["sub"] == claims["sub"] == bob.sub


def test_oidcc_userinfo_post_header(suite, bob):
    tokens, _ = suite.flow()
    header = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert suite.http.post("/oauth/userinfo", headers=header).get_json()["sub"] == bob.sub


def test_oidcc_userinfo_post_body(suite, bob):
    tokens, _ = suite.flow()
    form = {"access_token": tokens["access_token"]}
    assert suite.http.post("/oauth/userinfo", data=form).get_json()["sub"] == bob.sub


def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(suite):
    suite.flow(nonce=None)


def test_oidcc_ensure_request_with_unknown_parameter_succeeds(suite):
    suite.flow(extra="foobar")


def test_oidcc_ensure_request_with_valid_pkce_succeeds(suite):
    from tests.flows import CHALLENGE, VERIFIER

    pkce = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    code = suite.callback(suite.go_on(suite.ask(**pkce)))["code"]
    suite.check_tokens(suite.swap(code, code_verifier=VERIFIER), NONCE)


@pytest.mark.parametrize("display", ["page", "popup"])
def test_oidcc_display(suite, display):
    suite.flow(display=display)


def test_oidcc_ui_locales(suite):
    suite.flow(ui_locales="se")


def test_oidcc_claims_locales(suite):
    suite.flow(claims_locales="se")


def test_oidcc_login_hint(suite):
    suite.flow(login_hint="buffy@suite.example.org")


def test_oidcc_scope_profile(suite):
    tokens, _ = suite.flow(scope="openid profile")
    assert set(suite.userinfo(tokens)) == {"sub", *PROFILE}
    assert len(PROFILE) == 14


def test_oidcc_scope_email(suite):
    tokens, _ = suite.flow(scope="openid email")
    assert suite.userinfo(tokens)["email_verified"] is True
    assert set(suite.userinfo(tokens)) == {"sub", "email", "email_verified"}


def test_oidcc_scope_address(suite):
    tokens, _ = suite.flow(scope="openid address")
    address = suite.userinfo(tokens)["address"]
    assert all(isinstance(part, str) for part in address.values())


def test_oidcc_scope_phone(suite):
    tokens, _ = suite.flow(scope="openid phone")
    assert set(suite.userinfo(tokens)) == {"sub", "phone_number", "phone_number_verified"}


EVERY_CLAIM = {
    *("sub", "email", "email_verified", "address", "phone_number", "phone_number_verified"),
    *PROFILE,
}


def test_oidcc_scope_all(suite):
    tokens, _ = suite.flow(scope="openid profile email address phone")
    claims = suite.userinfo(tokens)
    assert set(claims) == EVERY_CLAIM
    assert isinstance(claims["updated_at"], int)
    assert isinstance(claims["email_verified"], bool)


def test_oidcc_ensure_other_scope_order_succeeds(suite):
    tokens, _ = suite.flow(scope="phone address email profile openid")
    assert set(suite.userinfo(tokens)) == EVERY_CLAIM


def test_oidcc_prompt_login(suite, clock):
    _, first = suite.flow()
    clock.shift(2)
    code = suite.callback(suite.sign_in_page(suite.ask(prompt="login")))["code"]
    _, second = suite.check_tokens(suite.swap(code), NONCE)
    assert second["auth_time"] > first["auth_time"]
    assert second["sub"] == first["sub"]


def test_oidcc_max_age_1(suite, clock):
    _, first = suite.flow()
    clock.shift(2)
    code = suite.callback(suite.sign_in_page(suite.ask(max_age="1")))["code"]
    _, second = suite.check_tokens(suite.swap(code), NONCE)
    assert second["auth_time"] > first["auth_time"]


def test_oidcc_max_age_10000(suite, clock):
    _, first = suite.flow(max_age="15000")
    clock.shift(2)
    response = suite.ask(max_age="10000")
    assert response.status_code == 303, "silent"
    _, second = suite.check_tokens(suite.swap(suite.callback(response)["code"]), NONCE)
    assert (second["auth_time"], second["sub"]) == (first["auth_time"], first["sub"])


def test_oidcc_prompt_none_not_logged_in(suite, client):
    suite.browser = client
    assert suite.error(suite.ask(prompt="none")) == "login_required"


def test_oidcc_prompt_none_logged_in(suite):
    _, first = suite.flow()
    _, second = suite.check_tokens(
        suite.swap(suite.callback(suite.ask(prompt="none"))["code"]), NONCE
    )
    assert second["sub"] == first["sub"]


def test_oidcc_id_token_hint(suite):
    tokens, first = suite.flow()
    response = suite.ask(prompt="none", id_token_hint=tokens["id_token"])
    _, second = suite.check_tokens(suite.swap(suite.callback(response)["code"]), NONCE)
    assert second["sub"] == first["sub"]


def test_oidcc_ensure_request_with_acr_values_succeeds(suite, discovery):
    acrs = discovery["acr_values_supported"]
    _, claims = suite.flow(acr_values=" ".join(acrs))
    assert claims["acr"] in acrs


def test_oidcc_codereuse(suite):
    code = suite.callback(suite.go_on(suite.ask()))["code"]
    suite.check_tokens(suite.swap(code), NONCE)
    again = suite.swap(code)
    assert again.status_code == 400
    assert again.get_json()["error"] == "invalid_grant"


def test_oidcc_codereuse_30seconds(suite, clock):
    code = suite.callback(suite.go_on(suite.ask()))["code"]
    tokens, _ = suite.check_tokens(suite.swap(code), NONCE)
    clock.shift(30)
    again = suite.swap(code)
    assert again.status_code == 400
    assert again.get_json()["error"] == "invalid_grant"
    header = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert suite.http.get("/oauth/userinfo", headers=header).status_code == 401


def test_oidcc_ensure_registered_redirect_uri(suite):
    response = suite.ask(redirect_uri=f"{REDIRECT_URI}x")
    assert response.status_code == 400
    assert "does not match" in response.get_data(as_text=True)
    assert "Location" not in response.headers


def test_oidcc_ensure_post_request_succeeds(suite):
    params = suite.authorize_params(
        scope="openid", state=STATE, nonce=NONCE, code_challenge=None, code_challenge_method=None
    )
    response = suite.browser.post("/oauth/authorize", data=params)
    response = suite.go_on(suite.browser.get(response.location))
    suite.check_tokens(suite.swap(suite.callback(response)["code"]), NONCE)


UNSIGNED = "eyJhbGciOiJub25lIn0.eyJzY29wZSI6Im9wZW5pZCJ9."


def test_oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(suite):
    assert suite.error(suite.ask(request=UNSIGNED)) == "request_not_supported"


def test_oidcc_ensure_request_object_with_redirect_uri(suite):
    response = suite.ask(request=UNSIGNED, redirect_uri=f"{REDIRECT_URI}x")
    assert response.status_code == 400
    assert "Location" not in response.headers


def test_oidcc_claims_essential(suite):
    tokens, _ = suite.flow(claims='{"userinfo": {"name": {"essential": true}}}')
    assert suite.userinfo(tokens)["name"] == "Bob"


def test_oidcc_refresh_token(suite, make_suite, clock):
    second_client = make_suite(name="Second client")
    second_client.browser = suite.browser
    wish = {"scope": "openid offline_access", "prompt": "consent"}
    tokens, first = suite.flow(**wish)
    others, _ = second_client.flow(**wish)
    clock.shift(5)
    response = suite.refresh(tokens["refresh_token"])
    _, claims = suite.check_tokens(response, None)
    assert claims["iat"] == first["iat"] + 5
    for name in ("iss", "sub", "aud", "auth_time"):
        assert claims[name] == first[name], name
    foreign = suite.refresh(others["refresh_token"])
    assert foreign.status_code == 400
    assert foreign.get_json()["error"] == "invalid_grant"


# Config OP


@pytest.fixture
def https_discovery(app, settings):
    """Discovery of a portal at its public address."""
    made = create_app(replace(settings, issuer="https://login.example.org"))
    make_scope("reports:read")
    yield made.test_client().get("/.well-known/openid-configuration")
    database.close()


def test_oidcc_discovery_endpoint_verification(https_discovery):
    data = https_discovery.get_json()
    assert https_discovery.status_code == 200
    assert https_discovery.mimetype == "application/json"
    assert data["issuer"] == "https://login.example.org"
    for name, address in data.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            assert address.startswith("https://login.example.org/"), name
    OpenIDProviderMetadata(data).validate()
    assert data["response_types_supported"] == ["code"]
    assert data["subject_types_supported"]
    assert "RS256" in data["id_token_signing_alg_values_supported"]
    assert "openid" in data["scopes_supported"]
    assert {"sub", "name", "email"} <= set(data["claims_supported"])
    assert data["claims_parameter_supported"] is True
    assert data["code_challenge_methods_supported"] == ["S256"]
    assert data["ui_locales_supported"] == ["en-GB"]
    assert all(value != [] for value in data.values())


def test_oidcc_jwks(client):
    keys = client.get("/oauth/jwks").get_json()["keys"]
    assert len({key["kid"] for key in keys}) == len(keys)
    for key in keys:
        assert key["use"] == "sig"
        assert not set(key) & {"d", "p", "q", "dp", "dq", "qi", "k"}


# Form Post OP


def posted(response) -> dict[str, str]:
    """What the page sends to the application."""
    text = response.get_data(as_text=True)
    assert response.status_code == 200
    assert f'<form method="post" action="{REDIRECT_URI}"' in text
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', text)
    return {name: html.unescape(value) for name, value in fields}


def test_form_post_oidcc_server(suite):
    answer = posted(suite.go_on(suite.ask(response_mode="form_post")))
    assert set(answer) == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == (STATE, ISSUER)
    suite.check_tokens(suite.swap(answer["code"]), NONCE)


def test_form_post_oidcc_response_type_missing(suite):
    answer = posted(suite.ask(response_mode="form_post", response_type=None))
    assert (answer["error"], answer["state"]) == ("invalid_request", STATE)
    assert "code" not in answer


def test_form_post_oidcc_prompt_none_not_logged_in(suite, client):
    suite.browser = client
    answer = posted(suite.ask(response_mode="form_post", prompt="none"))
    assert answer["error"] == "login_required"


def test_form_post_needs_no_modern_script(suite):
    """The suite's browser runs little JavaScript: the page has a button, too."""
    suite.flow()
    text = suite.ask(response_mode="form_post").get_data(as_text=True)
    assert "<button" in text
    assert ' type="module"' not in text


# RP-Initiated Logout OP


def signed_out(suite) -> bool:
    return suite.error(suite.ask(prompt="none")) == "login_required"


def assert_no_redirect(response) -> None:
    assert response.status_code in (200, 400)
    assert response.mimetype == "text/html"
    assert "Location" not in response.headers
    assert urlsplit(AFTER).hostname not in response.get_data(as_text=True)


def test_oidcc_rp_initiated_logout_discovery_endpoint_verification(https_discovery):
    address = https_discovery.get_json()["end_session_endpoint"]
    assert address == "https://login.example.org/oauth/logout"


def test_oidcc_rp_initiated_logout(suite):
    tokens, _ = suite.flow()
    response = suite.log_out(
        id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER, state=STATE
    )
    assert response.location == f"{AFTER}?state={STATE}"
    assert signed_out(suite)


def test_oidcc_rp_initiated_logout_no_state(suite):
    tokens, _ = suite.flow()
    response = suite.log_out(id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER)
    assert response.location == AFTER
    assert signed_out(suite)


def test_oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(suite):
    tokens, _ = suite.flow()
    bad = "https://bad.example.org/post_logout_redirect"
    hint = tokens["id_token"]
    assert_no_redirect(suite.log_out(id_token_hint=hint, post_logout_redirect_uri=bad))


def test_oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(suite):
    tokens, _ = suite.flow()
    bad, hint = f"{AFTER}?foo=bar", tokens["id_token"]
    assert_no_redirect(suite.log_out(id_token_hint=hint, post_logout_redirect_uri=bad))


def test_oidcc_rp_initiated_logout_no_id_token_hint(suite):
    suite.flow()
    assert_no_redirect(suite.log_out(post_logout_redirect_uri=AFTER, state=STATE))


def test_oidcc_rp_initiated_logout_modified_id_token_hint(suite):
    tokens, _ = suite.flow()
    for hint in forged(suite, tokens["id_token"]).values():
        assert_no_redirect(suite.log_out(id_token_hint=hint, post_logout_redirect_uri=AFTER))


def test_oidcc_rp_initiated_logout_bad_id_token_hint(suite):
    suite.flow()
    assert_no_redirect(suite.log_out(id_token_hint="bad", post_logout_redirect_uri=AFTER))


@pytest.mark.parametrize("params", [{}, {"state": STATE}])
def test_oidcc_rp_initiated_logout_no_params_and_only_state(suite, params):
    suite.flow()
    assert_no_redirect(suite.log_out(**params))
    post(suite.browser, "/oauth/logout/confirm", {"decision": "allow"}, page="/oauth/logout")
    assert signed_out(suite)


def test_oidcc_rp_initiated_logout_no_post_logout_redirect_uri(suite):
    tokens, _ = suite.flow()
    response = suite.log_out(id_token_hint=tokens["id_token"], state=STATE)
    assert_no_redirect(response)
    assert "You are signed out" in response.get_data(as_text=True)
    assert signed_out(suite)


# Back-Channel Logout OP


def test_oidcc_backchannel_rp_initiated_logout_discovery(https_discovery):
    data = https_discovery.get_json()
    assert data["backchannel_logout_supported"] is True
    assert data["backchannel_logout_session_supported"] is True


def test_oidcc_backchannel_rp_initiated_logout(suite):
    with receivers() as make:
        receiver = make()
        suite.application.change(backchannel_logout_uri=receiver.uri)
        tokens, id_claims = suite.flow()
        response = suite.log_out(
            id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER, state=STATE
        )
        (token,) = receiver.tokens
    assert response.location == f"{AFTER}?state={STATE}"
    header, claims = suite.read(token)
    assert header["alg"] == "RS256"
    assert (claims["iss"], claims["aud"]) == (ISSUER, suite.client_id)
    assert abs(claims["iat"] - time.time()) < 300
    assert claims["exp"] > time.time()
    assert claims["jti"]
    assert claims["events"] == {EVENT: {}}
    assert (claims["sid"], claims["sub"]) == (id_claims["sid"], id_claims["sub"])
    assert "nonce" not in claims
    assert signed_out(suite)
