"""Refresh tokens: rotation, the retry window, and what reuse does."""

import time

import pytest
import time_machine

from portal.models import AccessToken, TokenFamily
from tests.doors import through_both_doors

pytestmark = through_both_doors


@pytest.fixture
def tokens(rp, bob_signs_in) -> dict:
    return bob_signs_in(rp, scope="openid profile email")


def test_each_use_gives_a_new_refresh_token(rp, tokens):
    second = rp.refresh(tokens["refresh_token"]).get_json()
    third = rp.refresh(second["refresh_token"]).get_json()
    assert len({tokens["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert all(rp.is_active(t["access_token"]) for t in (tokens, second, third))


def test_a_retry_gets_the_same_refresh_token(rp, tokens):
    first = rp.refresh(tokens["refresh_token"]).get_json()
    again = rp.refresh(tokens["refresh_token"]).get_json()
    assert again["refresh_token"] == first["refresh_token"]
    assert rp.is_active(again["access_token"])
    assert rp.refresh(first["refresh_token"]).status_code == 200


def test_later_reuse_ends_the_whole_family(rp, tokens):
    start = time.time()
    with time_machine.travel(start, tick=False) as clock:
        second = rp.refresh(tokens["refresh_token"]).get_json()
        clock.shift(10)
        assert rp.refresh(tokens["refresh_token"]).status_code == 200
        clock.shift(1)
        response = rp.refresh(tokens["refresh_token"])
        assert response.get_json()["error"] == "invalid_grant"
        assert not rp.is_active(second["access_token"])
        assert rp.refresh(second["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert TokenFamily.get().ended_reason == "refresh_reused"


def test_reuse_of_a_much_older_token_ends_the_family_at_once(rp, tokens):
    second = rp.refresh(tokens["refresh_token"]).get_json()
    third = rp.refresh(second["refresh_token"]).get_json()
    assert rp.refresh(tokens["refresh_token"]).status_code == 400
    assert not rp.is_active(third["access_token"])


def test_a_guess_cannot_end_a_family(rp, tokens):
    guess = tokens["refresh_token"][:-4] + "AAAA"
    assert rp.refresh(guess).get_json()["error"] == "invalid_grant"
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_another_application_cannot_refresh_nor_end_it(rp, other, public, tokens):
    for stranger in (other, public):
        response = stranger.refresh(tokens["refresh_token"])
        assert response.get_json()["error"] == "invalid_grant"
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_a_public_application_refreshes_without_a_secret(public, bob_signs_in):
    tokens = bob_signs_in(public)
    second = public.refresh(tokens["refresh_token"]).get_json()
    assert second["refresh_token"] != tokens["refresh_token"]


def test_a_refresh_may_narrow_but_never_widen(rp, tokens):
    narrow = rp.refresh(tokens["refresh_token"], scope="openid").get_json()
    assert narrow["scope"] == "openid"
    # The refresh token keeps what was granted (RFC 6749 §6).
    whole = rp.refresh(narrow["refresh_token"]).get_json()
    assert whole["scope"] == "openid profile email"
    wide = rp.refresh(whole["refresh_token"], scope="openid reports:read")
    assert wide.get_json()["error"] == "invalid_scope"


def test_an_unused_refresh_token_expires(rp, tokens):
    with time_machine.travel(time.time() + 30 * 86400 + 1, tick=False):
        assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_using_it_keeps_it_alive(rp, tokens):
    start = time.time()
    with time_machine.travel(start + 29 * 86400, tick=False):
        second = rp.refresh(tokens["refresh_token"]).get_json()
    with time_machine.travel(start + 58 * 86400, tick=False):
        assert rp.refresh(second["refresh_token"]).status_code == 200


@pytest.mark.parametrize("token", ["nonsense", "prt_1." + "s" * 43, "prt_.", "é"])
def test_a_refresh_token_that_was_never_issued(rp, token):
    assert rp.refresh(token).get_json()["error"] == "invalid_grant"


def test_other_tokens_do_not_refresh(rp, tokens):
    assert rp.refresh(tokens["access_token"]).get_json()["error"] == "invalid_grant"


def test_a_family_without_refreshing_cannot_be_refreshed(rp, bob_signs_in):
    rp.application.change(grants=["authorization_code"])
    tokens = bob_signs_in(rp)
    rp.application.change(grants=["authorization_code", "refresh_token"])
    family = TokenFamily.get()
    forged = f"prt_{family.id:x}." + "s" * 43
    assert "refresh_token" not in tokens
    assert rp.refresh(forged).get_json()["error"] == "invalid_grant"


def test_refreshing_costs_few_statements(rp, tokens, statements):
    second = rp.refresh(tokens["refresh_token"]).get_json()
    third = rp.refresh(second["refresh_token"]).get_json()
    with statements() as seen:
        assert rp.refresh(third["refresh_token"]).status_code == 200
    assert len(seen) == 3, seen


def test_only_hashes_are_stored(rp, tokens):
    secret = tokens["refresh_token"].partition(".")[2].encode()
    family, token = TokenFamily.get(), AccessToken.get()
    assert secret not in (bytes(family.refresh_hash), bytes(token.hash))
    assert len(family.refresh_hash) == len(token.hash) == 32
