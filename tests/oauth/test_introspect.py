"""Introspection: who may ask, and what they hear."""

import pytest

from tests.doors import through_both_doors

pytestmark = through_both_doors


@pytest.fixture
def token(rp) -> str:
    return rp.token("client_credentials", scope="reports:read").get_json()["access_token"]


def test_a_token_is_described(rp, token):
    answer = rp.introspect(token)
    assert answer.pop("exp") - answer.pop("iat") == 900
    assert answer == {
        "active": True,
        "client_id": rp.client_id,
        "scope": "reports:read",
        "sub": rp.client_id,
        "iss": "http://localhost:8000",
        "token_type": "Bearer",
    }


def test_an_application_may_check_its_own_tokens_only(other, token):
    assert other.introspect(token) == {"active": False}


def test_a_resource_server_may_check_every_token(rp, other, token):
    other.application.change(resource_server=True)
    assert other.introspect(token)["client_id"] == rp.client_id


def test_a_person_is_named_by_an_opaque_subject(rp, bob, bob_signs_in):
    tokens = bob_signs_in(rp)
    for token in (tokens["access_token"], tokens["refresh_token"]):
        answer = rp.introspect(token)
        assert answer["sub"] == bob.sub
        assert answer["username"] == "bob"


@pytest.mark.parametrize(
    "token", ["x", "pat_1.y", "pat_1." + "s" * 43, "é", "a" * 9000, "pcs_" + "s" * 43, "."]
)
def test_anything_else_is_inactive_and_no_more(rp, token):
    assert rp.introspect(token) == {"active": False}


def test_a_forged_secret_is_inactive(rp, token):
    assert rp.introspect(token[:-1] + ("A" if token[-1] != "A" else "B")) == {"active": False}
    assert rp.introspect(token + "\n") == {"active": False}


def test_the_caller_must_be_authenticated(rp, public, token, client):
    assert client.post("/oauth/introspect", data={"token": token}).status_code == 401
    response = public.post("/oauth/introspect", {"token": token})
    assert response.get_json()["error"] == "invalid_client"
    rp.secret = "pcs_wrong"
    assert rp.post("/oauth/introspect", {"token": token}).status_code == 401


def test_the_token_must_be_sent(rp):
    assert rp.post("/oauth/introspect", {}).get_json()["error"] == "invalid_request"


def test_an_unknown_hint_is_ignored(rp, token):
    for hint in ("refresh_token", "nonsense", "access_token"):
        response = rp.post("/oauth/introspect", {"token": token, "token_type_hint": hint})
        assert response.get_json()["active"]


def test_one_statement_answers(rp, token, statements):
    for _ in range(3):
        rp.introspect(token)
    with statements() as seen:
        assert rp.introspect(token)["active"]
    assert len(seen) == 1, seen


def test_a_change_of_the_asking_application_counts_at_once(rp, other, token):
    other.application.change(resource_server=True)
    assert other.introspect(token)["active"]
    other.application.change(resource_server=False)
    assert other.introspect(token) == {"active": False}
    other.application.disable()
    assert other.post("/oauth/introspect", {"token": token}).status_code == 401
