"""Revocation: an application gives its tokens back."""

import pytest

from tests.doors import through_both_doors

pytestmark = through_both_doors


@pytest.fixture
def tokens(rp, bob_signs_in) -> dict:
    return bob_signs_in(rp)


def revoke(rp, token, **data):
    return rp.post("/oauth/revoke", {"token": token, **data})


def test_a_revoked_access_token_is_dead_and_the_refresh_token_lives(rp, tokens):
    assert revoke(rp, tokens["access_token"]).status_code == 200
    assert not rp.is_active(tokens["access_token"])
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_a_revoked_refresh_token_takes_its_access_tokens_along(rp, tokens):
    assert revoke(rp, tokens["refresh_token"]).status_code == 200
    assert not rp.is_active(tokens["access_token"])
    assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert revoke(rp, tokens["refresh_token"]).status_code == 200


def test_the_token_before_the_rotation_can_be_revoked_too(rp, tokens):
    second = rp.refresh(tokens["refresh_token"]).get_json()
    assert revoke(rp, tokens["refresh_token"]).status_code == 200
    assert not rp.is_active(second["access_token"])


@pytest.mark.parametrize("token", ["nonsense", "pat_1." + "s" * 43, "é", "x" * 9000])
def test_an_unknown_token_is_as_good_as_revoked(rp, token):
    assert revoke(rp, token).status_code == 200


def test_an_unknown_hint_is_ignored(rp, tokens):
    assert revoke(rp, tokens["access_token"], token_type_hint="nonsense").status_code == 200
    assert not rp.is_active(tokens["access_token"])


def test_others_cannot_revoke(rp, other, public, tokens, client):
    for stranger in (other, public):
        assert revoke(stranger, tokens["access_token"]).get_json()["error"] == "invalid_grant"
    assert client.post("/oauth/revoke", data={"token": "x"}).status_code == 401
    assert rp.is_active(tokens["access_token"])


def test_a_public_application_revokes_without_a_secret(public, rp, bob_signs_in):
    rp.application.change(resource_server=True)
    tokens = bob_signs_in(public)
    assert revoke(public, tokens["refresh_token"]).status_code == 200
    assert not rp.is_active(tokens["access_token"])


def test_the_token_must_be_sent(rp):
    assert rp.post("/oauth/revoke", {}).get_json()["error"] == "invalid_request"
