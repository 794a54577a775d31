"""The token endpoint: codes and client credentials."""

import pytest
import time_machine

from portal.models import AccessToken, AuthorizationCode, Consent, TokenFamily
from portal.models.application import AUTHORIZATION_CODE
from tests.doors import through_both_doors
from tests.factories import make_application
from tests.flows import VERIFIER, RelyingApp, query

pytestmark = through_both_doors


def code_for(rp, browser, **changes) -> str:
    response = rp.authorize(browser, **changes)
    if response.status_code == 200:
        response = rp.decide(browser, response)
    return query(response)["code"]


@pytest.fixture
def code(rp, browser_of, bob) -> str:
    return code_for(rp, browser_of(bob))


def refused(response, error: str, status: int = 400) -> None:
    assert response.status_code == status, response.get_data(as_text=True)
    body = response.get_json()
    assert body["error"] == error, body
    assert body["error_description"].isascii()
    assert response.headers["Cache-Control"] == "no-store"


# Client credentials


def test_an_application_gets_a_token_for_itself(rp):
    response = rp.token("client_credentials", scope="reports:read")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    body = response.get_json()
    assert body["scope"] == "reports:read"
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert "refresh_token" not in body
    answer = rp.introspect(body["access_token"])
    assert answer["active"]
    assert answer["sub"] == rp.client_id
    assert "username" not in answer


def test_public_is_the_scope_when_none_is_asked(rp):
    assert rp.token("client_credentials").get_json()["scope"] == "public"


@pytest.mark.parametrize("scope", ["openid", "offline_access", "profile", "email", "admin:all"])
def test_an_application_gets_nothing_about_people(rp, scope):
    refused(rp.token("client_credentials", scope=scope), "invalid_scope")
    assert AccessToken.select().count() == 0


def test_a_public_application_cannot_act_for_itself(public):
    refused(public.token("client_credentials"), "unauthorized_client")


def test_a_grant_must_be_switched_on(app, alice):
    application, secret = make_application(alice, grants=[AUTHORIZATION_CODE])
    refused(
        RelyingApp(app.test_client(), application, secret).token("client_credentials"),
        "unauthorized_client",
    )


@pytest.mark.parametrize(
    ("grant_type", "error"),
    [("password", "unsupported_grant_type"), ('x"é', "unsupported_grant_type")],
)
def test_other_grants_are_not_supported(rp, grant_type, error):
    refused(rp.token(grant_type, username="bob", password="x"), error)


def test_the_grant_type_must_be_sent(rp):
    refused(rp.post("/oauth/token", {"scope": "public"}), "invalid_request")


# Codes


def test_a_code_is_swapped_for_tokens(rp, code):
    response = rp.redeem(code)
    assert response.status_code == 200
    body = response.get_json()
    names = {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert set(body) == names
    assert rp.is_active(body["access_token"])
    assert rp.is_active(body["refresh_token"])


def test_no_refresh_token_without_the_grant(app, alice, browser_of, bob):
    application, secret = make_application(alice, grants=[AUTHORIZATION_CODE])
    rp = RelyingApp(app.test_client(), application, secret)
    tokens = rp.sign_in(browser_of(bob))
    assert "refresh_token" not in tokens
    assert rp.is_active(tokens["access_token"])


def test_a_used_code_is_refused_and_its_first_tokens_die(rp, code):
    tokens = rp.redeem(code).get_json()
    refused(rp.redeem(code), "invalid_grant")
    assert not rp.is_active(tokens["access_token"])
    refused(rp.refresh(tokens["refresh_token"]), "invalid_grant")


def test_another_application_cannot_redeem_a_code_nor_burn_it(rp, other, code):
    refused(other.redeem(code), "invalid_grant")
    assert rp.redeem(code).status_code == 200


def test_a_code_lives_a_minute(rp, code):
    with time_machine.travel(60, tick=False) as clock:
        clock.move_to(AuthorizationCode.get().expires_at)
        refused(rp.redeem(code), "invalid_grant")


@pytest.mark.parametrize("uri", ["https://evil.example.org/", "https://app.example.org/callback/"])
def test_the_redirect_uri_must_be_the_same(rp, code, uri):
    refused(rp.redeem(code, redirect_uri=uri), "invalid_grant")


def test_with_pkce_the_redirect_uri_may_be_left_out(rp, code):
    assert rp.redeem(code, redirect_uri=None).status_code == 200


@pytest.mark.parametrize(
    ("verifier", "error"),
    [
        ("w" * 43, "invalid_grant"),
        (None, "invalid_grant"),
        ("short", "invalid_request"),
        ("v" * 129, "invalid_request"),
        (VERIFIER + "\n", "invalid_request"),
    ],
)
def test_the_verifier_must_match_and_a_wrong_one_burns_nothing(rp, code, verifier, error):
    refused(rp.redeem(code, code_verifier=verifier), error)
    assert TokenFamily.select().count() == 0
    assert rp.redeem(code).status_code == 200


def test_pkce_may_be_waived_for_a_confidential_application_only(app, alice, browser_of, bob):
    application, secret = make_application(alice, require_pkce=False)
    rp = RelyingApp(app.test_client(), application, secret)
    plain = {"code_challenge": None, "code_challenge_method": None}
    code = code_for(rp, browser_of(bob), **plain)
    # A verifier without a challenge: somebody took the challenge out on the way.
    refused(rp.redeem(code), "invalid_grant")
    refused(rp.redeem(code, code_verifier=None, redirect_uri=None), "invalid_grant")
    assert rp.redeem(code, code_verifier=None).status_code == 200
    application, _ = make_application(alice, confidential=False, require_pkce=False)
    rp = RelyingApp(app.test_client(), application)
    assert query(rp.authorize(browser_of(bob), **plain))["error"] == "invalid_request"


@pytest.mark.parametrize(
    "code",
    [
        "nonsense",
        "pac_1.x",
        "pac_" + "f" * 17 + "." + "s" * 43,
        "pac_ffff." + "s" * 43,
        "é",
        "\x00",
    ],
)
def test_a_code_that_was_never_issued(rp, code):
    assert rp.redeem(code).get_json()["error"] in ("invalid_grant", "invalid_request")


def test_tokens_of_other_kinds_are_no_codes(rp, code):
    tokens = rp.redeem(code).get_json()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        refused(rp.redeem(token), "invalid_grant")
        refused(rp.redeem(token.replace(token[:4], "pac_")), "invalid_grant")


def test_the_code_must_be_sent(rp):
    refused(rp.redeem(None), "invalid_request")


@pytest.mark.parametrize("end", ["disable", "remove", "withdraw", "application"])
def test_a_code_dies_with_what_it_came_from(rp, code, bob, end):
    if end == "disable":
        bob.disable()
        bob.enable()
    elif end == "remove":
        bob.remove()
    elif end == "withdraw":
        Consent.withdraw(bob.id, rp.application.id)
    else:
        rp.application.disable()
        rp.application.enable()
    refused(rp.redeem(code), "invalid_grant")
    assert AccessToken.select().count() == 0


# What is issued dies with what it came from


@pytest.mark.parametrize(
    "end", ["disable person", "remove person", "withdraw", "disable app", "remove app"]
)
def test_everything_issued_is_dead_at_the_next_request(rp, other, bob, bob_signs_in, end):
    other.application.change(resource_server=True)
    tokens = bob_signs_in(rp)
    assert other.is_active(tokens["access_token"])
    if end == "disable person":
        bob.disable()
        bob.enable()
    elif end == "remove person":
        bob.remove()
    elif end == "withdraw":
        Consent.withdraw(bob.id, rp.application.id)
    elif end == "disable app":
        rp.application.disable()
        rp.application.enable()
    else:
        rp.application.remove()
    assert not other.is_active(tokens["access_token"])
    assert not other.is_active(tokens["refresh_token"])
    error = "invalid_client" if end == "remove app" else "invalid_grant"
    assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == error


def test_a_disabled_application_is_refused_at_once(rp):
    token = rp.token("client_credentials").get_json()["access_token"]
    rp.application.disable()
    refused(rp.token("client_credentials"), "invalid_client", 401)
    assert AccessToken.select().count() == 1
    rp.application.enable()
    assert rp.token("client_credentials").status_code == 200
    assert not rp.is_active(token)


def test_an_access_token_lives_fifteen_minutes(rp):
    token = rp.token("client_credentials").get_json()["access_token"]
    expires_at = rp.introspect(token)["exp"]
    with time_machine.travel(expires_at, tick=False):
        assert not rp.is_active(token)


# What it costs


def test_a_machine_token_is_one_statement(rp, statements):
    for _ in range(3):  # the first ones note that the application and its secret are used
        rp.token("client_credentials")
    with statements() as seen:
        assert rp.token("client_credentials").status_code == 200
    assert len(seen) == 1, seen


def test_redeeming_a_code_costs_few_statements(rp, browser_of, bob, statements):
    browser = browser_of(bob)
    rp.redeem(code_for(rp, browser))
    code = code_for(rp, browser)
    with statements() as seen:
        assert rp.redeem(code).status_code == 200
    assert len(seen) <= 5, seen
