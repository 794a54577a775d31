"""The traps of Authlib 1.9.9 that were reproduced before the portal was built, one test each."""

import base64
import logging

import pytest

from portal.models import AccessToken, AuthorizationCode, TokenFamily
from portal.oauth.refusals import REASONS
from tests import factories
from tests.doors import through_both_doors
from tests.flows import DEVICE_GRANT, basic, query
from tests.hostile.attack import assert_harmless, send

pytestmark = through_both_doors

MALFORMED_HEADERS = [
    "",
    " ",
    "Basic",
    "Basic ",
    "Basic :",
    "Basic =",
    "Basic %%%",
    "Basic \xe9\xe9\xe9\xe9",
    "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    "Basic " + base64.b64encode(b":secret").decode(),
    "Basic " + base64.b64encode(b"no colon").decode(),
    "Basic " + base64.b64encode(b"a%FF:b").decode(),
    "Basic " + base64.b64encode(b"a\0:b").decode(),
    "Bearer pat_1.x",
    "Digest username=a",
    "Basic a:b, Bearer c",
]


@pytest.mark.parametrize("header", MALFORMED_HEADERS, ids=range(len(MALFORMED_HEADERS)))
@pytest.mark.parametrize("path", ["token", "introspect", "revoke", "device_authorization"])
def test_trap_1_odd_authorization_headers_answer_401(app, path, header):
    response = send(app, "POST", f"/oauth/{path}", body=b"token=x", HTTP_AUTHORIZATION=header)
    assert response.status_code == 401
    assert response.get_json()["error"] == "invalid_client"
    assert response.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("name", ["redirect_uri", "response_type", "scope", "prompt", "state"])
@pytest.mark.parametrize("value", ['"', "\u00e9", "\\", "\x7f", "\U0001f600"])
def test_trap_1_odd_text_in_authorization_requests_is_no_failure(rp, browser_of, bob, name, value):
    assert_harmless(rp.authorize(browser_of(bob), **{name: value}))


def test_trap_1_plain_http_behind_a_proxy_is_no_failure(app, rp):
    response = send(app, "GET", "/oauth/authorize", HTTP_HOST="login.example.org")
    assert_harmless(response)
    body = f"grant_type=client_credentials&client_id={rp.client_id}&client_secret={rp.secret}"
    response = send(app, "POST", "/oauth/token", body=body.encode(), HTTP_HOST="login.example.org")
    assert response.status_code == 200


def test_trap_2_the_query_string_does_not_beat_the_body(rp):
    response = rp.http.post(
        "/oauth/token?scope=public",
        data={"grant_type": "client_credentials"},
        headers=basic(rp.client_id, rp.secret),
    )
    assert response.status_code == 400
    assert not AccessToken.select().exists()


def test_trap_2_one_client_one_method(rp, other):
    header = basic(rp.client_id, rp.secret)
    for more in (
        {"client_id": rp.client_id, "client_secret": rp.secret},
        {"client_secret": rp.secret},
        {"client_id": other.client_id},
    ):
        data = {"grant_type": "client_credentials", **more}
        response = rp.http.post("/oauth/token", data=data, headers=header)
        assert response.get_json()["error"] == "invalid_request"
    assert not AccessToken.select().exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge": "c" * 43 + "\n"},
        {"code_challenge": "c" * 42},
    ],
)
def test_trap_3_pkce_is_demanded_where_the_code_is_made(rp, browser_of, bob, changes):
    assert query(rp.authorize(browser_of(bob), **changes))["error"] == "invalid_request"
    assert not AuthorizationCode.select().exists()


def test_trap_4_a_refused_redemption_leaves_no_row_and_keeps_its_consequences(rp, browser_of, bob):
    browser = browser_of(bob)
    code = query(rp.decide(browser, rp.authorize(browser)))["code"]
    assert rp.redeem(code).status_code == 200
    tokens = AccessToken.select().count()
    assert rp.redeem(code).status_code == 400
    assert AccessToken.select().count() == tokens
    # The answer is an error, and yet what it decided is stored.
    assert TokenFamily.get().ended_reason == "code_reused"


def test_trap_5_unknown_foreign_and_used_device_codes_are_invalid_grants(
    rp, other, browser_of, bob
):
    asked = rp.post("/oauth/device_authorization", {"scope": "profile"}).get_json()
    code = asked["device_code"]
    for app_, value in ((rp, "nonsense"), (rp, code[:-1] + "!"), (other, code)):
        answer = app_.token(DEVICE_GRANT, device_code=value)
        assert answer.get_json()["error"] == "invalid_grant"
    assert rp.token(DEVICE_GRANT, device_code=code).get_json()["error"] == "authorization_pending"
    assert rp.token(DEVICE_GRANT, device_code=code).get_json()["error"] == "slow_down"
    browser = browser_of(bob)
    rp.decide(browser, factories.post(browser, "/device", {"user_code": asked["user_code"]}))
    assert rp.token(DEVICE_GRANT, device_code=code).status_code == 200
    assert rp.token(DEVICE_GRANT, device_code=code).get_json()["error"] == "invalid_grant"


def test_trap_5_the_device_endpoint_checks_grant_and_scope(app, rp, alice):
    from tests.flows import RelyingApp

    answer = rp.post("/oauth/device_authorization", {"scope": "admin:all"})
    assert answer.get_json()["error"] == "invalid_scope"
    without = RelyingApp(app.test_client(), *factories.make_application(alice))
    answer = without.post("/oauth/device_authorization", {"scope": "openid"})
    assert answer.get_json()["error"] == "unauthorized_client"


def test_trap_6_refreshing_works_and_a_person_who_is_gone_is_an_invalid_grant(rp, browser_of, bob):
    tokens = rp.sign_in(browser_of(bob))
    tokens = rp.refresh(tokens["refresh_token"]).get_json()
    bob.remove()
    assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


@pytest.mark.parametrize("path", ["introspect", "revoke"])
def test_trap_7_an_unknown_token_type_hint_does_no_harm(rp, path):
    token = rp.token("client_credentials").get_json()["access_token"]
    for hint in ("nonsense", "refresh_token", "\u00e9"):
        answer = rp.post(f"/oauth/{path}", {"token": token, "token_type_hint": hint})
        assert answer.status_code == 200


def test_trap_7_public_clients_can_revoke(app, alice, browser_of, bob):
    from tests.flows import RelyingApp

    application, _ = factories.make_application(alice, confidential=False)
    public = RelyingApp(app.test_client(), application)
    tokens = public.sign_in(browser_of(bob))
    assert public.post("/oauth/revoke", {"token": tokens["refresh_token"]}).status_code == 200
    assert public.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_trap_8_authlib_does_not_log_tokens(app):
    assert logging.getLogger("authlib.oauth2.rfc6749").getEffectiveLevel() >= logging.WARNING


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_trap_8_every_description_is_text_that_the_protocol_allows(reason):
    allowed = {chr(c) for c in range(0x20, 0x7F)} - {'"', "\\"}
    assert set(reason.sentence) <= allowed


def test_trap_9_errors_carry_the_issuer_and_go_to_known_addresses_alone(rp, client):
    answer = query(rp.authorize(client, prompt="none"))
    assert answer["error"] == "login_required"
    assert answer["iss"] == "http://localhost:8000"
    assert query(rp.authorize(client, scope="nonsense"))["iss"] == "http://localhost:8000"
    answer = query(rp.authorize(client, request="eyJhbGciOiJub25lIn0.e30."))
    assert answer["error"] == "request_not_supported"
    response = rp.authorize(client, redirect_uri="https://evil.example.org/")
    assert response.location is None
    assert "evil.example.org" not in response.get_data(as_text=True)
    assert query(rp.authorize(client, response_mode="fragment"))["error"] == "invalid_request"
    posted = rp.authorize(client, response_mode="form_post", prompt="none").get_data(as_text=True)
    assert 'name="iss" value="http://localhost:8000"' in posted
