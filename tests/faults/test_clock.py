"""The clock is set back an hour, or forward: no id twice, nobody locked out, nothing for ever."""

from datetime import UTC, datetime

import pytest
import time_machine

from portal import credentials
from portal.cleanup import delete_expired
from portal.clock import now
from portal.credentials import derive_key
from portal.models import AccessToken, DeviceCode, SigningKey, Throttle
from portal.models.throttle import TRIES
from portal.oauth import current_server
from tests.conftest import SECRET_KEY
from tests.engines import on_both_engines
from tests.faults.portal import get_code
from tests.flows import DEVICE_GRANT, query

HOUR = 3600
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch):
    # Ids never go back, and another test may have been further ahead.
    monkeypatch.setattr(credentials, "_ids", credentials._Ids())
    with time_machine.travel(NOON, tick=False) as made:
        yield made


@pytest.fixture
def back(clock):
    """Set the clock back an hour."""
    return lambda: clock.shift(-HOUR)


def ids_of_a_process(count: int) -> list[int]:
    made = credentials._Ids()
    return [made.make() for _ in range(count)]


def test_no_process_gives_an_id_twice_when_the_clock_goes_back(clock, back):
    ids = credentials._Ids()
    before = [ids.make() for _ in range(1000)]
    back()
    after = [ids.make() for _ in range(1000)]
    assert len({*before, *after}) == 2000
    assert sorted(before + after) == before + after


def test_two_processes_that_go_on_from_the_same_moment_hardly_meet(clock, back):
    first, second = credentials._Ids(), credentials._Ids()
    first.make(), second.make()
    second._last = first._last
    back()
    one, other = ({ids.make() for _ in range(2000)} for ids in (first, second))
    # Three tries are enough for any token then.
    assert len(one & other) < 40


@on_both_engines
def test_an_id_that_another_process_took_is_replaced(rp, clock, monkeypatch, browser_of, bob):
    code = get_code(rp, browser_of(bob))
    taken = credentials.parse_token(rp.token("client_credentials").get_json()["access_token"])
    # As if this process had not made it, and chance gave the same id once more.
    monkeypatch.setattr(credentials.secrets, "randbits", lambda bits: 0)
    for act in (lambda: rp.token("client_credentials"), lambda: rp.redeem(code)):
        credentials._ids._last = taken.id - 1
        answer = act()
        assert answer.status_code == 200
        assert rp.is_active(answer.get_json()["access_token"])
        assert credentials._ids._last > taken.id


@on_both_engines
def test_tokens_made_before_and_after_expire(rp, clock, back, browser_of, bob):
    before = rp.sign_in(browser_of(bob))
    back()
    after = rp.sign_in(browser_of(bob))
    assert rp.is_active(before["access_token"])
    assert rp.is_active(after["access_token"])
    assert rp.introspect(after["access_token"])["exp"] == now() + 900
    clock.shift(900)
    assert not rp.is_active(after["access_token"])
    clock.shift(HOUR)
    assert not rp.is_active(before["access_token"])
    clock.shift(HOUR)
    assert delete_expired(900)["access_tokens"] == 2
    assert AccessToken.select().count() == 0


def test_codes_and_refresh_tokens_go_on(rp, back, browser_of, bob):
    tokens, code = rp.sign_in(browser_of(bob)), get_code(rp, browser_of(bob))
    back()
    assert rp.redeem(code).status_code == 200
    refreshed = rp.refresh(tokens["refresh_token"])
    assert refreshed.status_code == 200
    assert rp.refresh(refreshed.get_json()["refresh_token"]).status_code == 200


def test_a_used_refresh_token_is_not_good_for_another_hour(rp, clock, back, browser_of, bob):
    used = rp.sign_in(browser_of(bob))["refresh_token"]
    live = rp.refresh(used).get_json()["refresh_token"]
    back()
    clock.shift(60)
    answer = rp.refresh(used)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_grant")
    assert rp.refresh(live).status_code == 400


def test_a_retry_after_a_second_back_gets_the_same_answer(rp, clock, browser_of, bob):
    used = rp.sign_in(browser_of(bob))["refresh_token"]
    first = rp.refresh(used).get_json()
    clock.shift(-1)
    assert rp.refresh(used).get_json()["refresh_token"] == first["refresh_token"]


def test_nobody_is_locked_out_for_an_hour(app, clock, back):
    for _ in range(TRIES):
        assert Throttle.spend("password", "bob") == 0
    assert Throttle.spend("password", "bob") > 0
    back()
    assert Throttle.spend("password", "bob") == 0
    # And still one try a minute.
    assert 0 < Throttle.spend("password", "bob") <= 60
    clock.shift(61)
    assert Throttle.spend("password", "bob") == 0


def test_a_node_whose_clock_is_behind_gives_no_further_tries(app, clock):
    for _ in range(TRIES):
        assert Throttle.spend("password", "bob") == 0
    clock.shift(-5)
    assert 0 < Throttle.spend("password", "bob") <= 60


def test_a_device_is_not_slowed_down(rp, clock, back, browser_of, bob):
    asked = rp.post("/oauth/device_authorization", {"scope": "profile"}).get_json()

    def poll():
        return rp.token(DEVICE_GRANT, device_code=asked["device_code"]).get_json()["error"]

    assert poll() == "authorization_pending"
    back()
    assert poll() == "authorization_pending"
    assert poll() == "slow_down"
    clock.shift(10)
    assert poll() == "authorization_pending"
    assert DeviceCode.get().interval == 10


def test_people_stay_signed_in_and_pages_stay_open(rp, clock, browser_of, bob):
    browser = browser_of(bob)
    page = rp.authorize(browser)
    clock.shift(-5)
    assert rp.decide(browser, page).status_code == 303
    clock.shift(-HOUR)
    assert browser.get("/account/connections").status_code == 200


def test_a_consent_page_from_an_hour_ahead_is_stale(rp, back, browser_of, bob):
    browser = browser_of(bob)
    page = rp.authorize(browser)
    back()
    assert rp.decide(browser, page).status_code == 400
    assert "code" in query(rp.decide(browser, rp.authorize(browser)))


def test_a_sign_in_from_an_hour_ahead_is_not_fresh(rp, back, browser_of, bob):
    browser = browser_of(bob)
    back()
    answer = rp.authorize(browser, max_age="600")
    assert answer.status_code == 303
    assert answer.location.startswith("/login?")


def test_a_session_is_seen_again_at_once(rp, back, browser_of, bob):
    browser = browser_of(bob)
    back()
    assert browser.get("/account/connections").status_code == 200
    row = bob.session.get_by_id(bob.session.id)
    assert row.last_seen_at == now()


def test_the_keys_go_on_signing(app, rp, clock, back, browser_of, bob):
    with app.app_context():
        keys = current_server().keys
        SigningKey.delete().execute()
        keys.prepare()
        count = SigningKey.select().count()
        back()
        keys.forget()
        assert "id_token" in rp.sign_in(browser_of(bob))
        assert SigningKey.select().count() == count


def test_a_key_that_was_replaced_at_once_stops_signing(app, clock, back):
    key = derive_key(SECRET_KEY, "signing keys")
    SigningKey.delete().execute()
    old = SigningKey.make("EC", key, now())
    back()
    clock.shift(-1)
    new = SigningKey.rotate("EC", key, announce_seconds=0)
    SigningKey.update(id=old.id - 1).where(SigningKey.id == new.id).execute()
    clock.shift(2 * HOUR)
    assert SigningKey.signer(SigningKey.published(), "EC").kid == new.kid


@on_both_engines
def test_an_hour_forward_ends_what_is_short_and_keeps_the_rest(rp, clock, browser_of, bob):
    browser = browser_of(bob)
    tokens = rp.sign_in(browser)
    clock.shift(HOUR)
    delete_expired(900)
    assert not rp.is_active(tokens["access_token"])
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    assert browser.get("/account/connections").status_code == 200
