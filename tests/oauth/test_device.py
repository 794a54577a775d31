"""Devices: the code on their screen, the page for people, and polling."""

import re
import time

import pytest
import time_machine

from portal.models import Consent, DeviceCode
from tests.doors import through_both_doors
from tests.factories import approve_trust, post, sign_in
from tests.flows import DEVICE_GRANT

pytestmark = through_both_doors


def start(rp, **data) -> dict:
    response = rp.post("/oauth/device_authorization", {"scope": "openid profile", **data})
    assert response.status_code == 200, response.get_json()
    return response.get_json()


def poll(rp, device: dict):
    return rp.token(DEVICE_GRANT, device_code=device["device_code"])


def decide(rp, browser, device: dict, decision: str = "allow", **more):
    page = post(browser, "/device", {"user_code": device["user_code"]})
    assert page.status_code == 200
    return rp.decide(browser, page, decision, **more)


def test_a_person_connects_a_device(public, browser_of, bob):
    device = start(public)
    assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", device["user_code"])
    assert device["verification_uri"] == "http://localhost:8000/device"
    assert device["verification_uri_complete"].endswith("?user_code=" + device["user_code"])
    assert device["expires_in"] == 600
    assert device["interval"] == 5
    assert poll(public, device).get_json()["error"] == "authorization_pending"
    browser = browser_of(bob)
    done = decide(public, browser, device)
    assert (done.status_code, done.location) == (303, "/device/decision")
    assert "Device connected" in browser.get(done.location).text
    tokens = poll(public, device).get_json()
    assert tokens["scope"] == "openid profile"
    assert public.refresh(tokens["refresh_token"]).status_code == 200
    assert poll(public, device).get_json()["error"] == "invalid_grant"


@pytest.mark.parametrize("typed", ["{0}", "{1}", " {1} ", "{2}", "{0} "])
def test_the_code_may_be_typed_in_any_way(rp, browser_of, bob, typed):
    code = start(rp)["user_code"]
    text = typed.format(code, code.lower().replace("-", ""), code.replace("-", " ").lower())
    page = post(browser_of(bob), "/device", {"user_code": text})
    assert code in page.get_data(as_text=True)


def test_only_ticked_scopes_are_given(rp, browser_of, bob):
    device = start(rp, scope="openid profile email")
    decide(rp, browser_of(bob), device, ticked=["openid"])
    assert poll(rp, device).get_json()["scope"] == "openid"
    assert Consent.of(bob.id, rp.application.id).scopes == ["openid"]


def test_a_denial_is_final(rp, browser_of, bob, charlie):
    device = start(rp)
    browser = browser_of(bob)
    assert "got no access" in browser.get(decide(rp, browser, device, "deny").location).text
    assert poll(rp, device).get_json()["error"] == "access_denied"
    assert (
        post(browser_of(charlie), "/device", {"user_code": device["user_code"]}).status_code == 422
    )


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ("allow", "Acme Reports now has the access you allowed."),
        ("deny", "got no access"),
    ],
)
def test_the_answer_can_be_reloaded_and_sent_again(rp, browser_of, bob, decision, words):
    device, browser = start(rp), browser_of(bob)
    page = post(browser, "/device", {"user_code": device["user_code"]})
    first = rp.decide(browser, page, decision)
    for _ in range(2):
        assert words in browser.get(first.location).text
    again = rp.decide(browser, page, "deny" if decision == "allow" else "allow")
    assert (again.status_code, again.location) == (303, first.location)
    assert words in browser.get(again.location).text
    assert DeviceCode.get().denied_at is None if decision == "allow" else DeviceCode.get().denied_at


def test_the_answer_is_told_to_nobody_else(rp, browser_of, bob, charlie):
    device, browser = start(rp), browser_of(bob)
    decided = decide(rp, browser, device).location
    # Nothing in the address tells of a decision, and nobody else's browser knows one.
    assert decided == "/device/decision"
    assert browser_of(charlie).get(decided).location == "/device"
    post(browser, "/logout", page="/account/sessions")
    assert browser.get(decided).location.startswith("/login")
    sign_in(browser, bob)
    assert browser.get(decided).location == "/device"


def test_the_answer_is_gone_when_it_is_true_no_more(rp, browser_of, bob):
    browser = browser_of(bob)
    decided = decide(rp, browser, start(rp)).location
    Consent.withdraw(bob.id, rp.application.id)
    assert browser.get(decided).location == "/device"
    decided = decide(rp, browser, start(rp)).location
    rp.application.disable()
    assert browser.get(decided).location == "/device"


def test_another_person_cannot_take_over_an_approved_code(rp, browser_of, bob, charlie):
    device = start(rp)
    theirs = post(browser_of(charlie), "/device", {"user_code": device["user_code"]})
    decide(rp, browser_of(bob), device)
    late = browser_of(charlie)
    assert rp.decide(late, theirs).status_code == 400
    tokens = poll(rp, device).get_json()
    assert rp.introspect(tokens["access_token"])["username"] == "bob"


def test_polling_too_fast_slows_down_for_good(rp):
    device = start(rp)
    with time_machine.travel(time.time(), tick=False) as clock:
        assert poll(rp, device).get_json()["error"] == "authorization_pending"
        clock.shift(4)
        assert poll(rp, device).get_json()["error"] == "slow_down"
        clock.shift(9)
        assert poll(rp, device).get_json()["error"] == "slow_down"
        clock.shift(15)
        assert poll(rp, device).get_json()["error"] == "authorization_pending"


def test_a_code_expires(rp, browser_of, bob):
    device = start(rp)
    with time_machine.travel(time.time() + 600, tick=False):
        assert poll(rp, device).get_json()["error"] == "expired_token"
    DeviceCode.update(expires_at=1).execute()
    response = post(browser_of(bob), "/device", {"user_code": device["user_code"]})
    assert response.status_code == 422
    assert "Error: Connect a device" in response.get_data(as_text=True)


def test_a_link_with_the_code_only_fills_it_in(rp, browser_of, bob):
    device = start(rp)
    page = browser_of(bob).get("/device", query_string={"user_code": device["user_code"]})
    text = page.get_data(as_text=True)
    assert f'value="{device["user_code"]}"' in text
    assert rp.application.name not in text
    assert poll(rp, device).get_json()["error"] == "authorization_pending"


def test_guessing_is_slow(rp, browser_of, bob):
    browser = browser_of(bob)
    answers = [post(browser, "/device", {"user_code": "BBBB-BBBB"}) for _ in range(12)]
    assert [a.status_code for a in answers] == [422] * 10 + [429] * 2
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    right = post(browser, "/device", {"user_code": start(rp)["user_code"]})
    assert right.status_code == 429


def test_a_trusted_application_still_asks_on_a_device(rp, browser_of, bob):
    approve_trust(rp.application)
    device = start(rp)
    assert poll(rp, device).get_json()["error"] == "authorization_pending"
    decide(rp, browser_of(bob), device)
    assert poll(rp, device).get_json()["scope"] == "openid profile"
    assert Consent.select().count() == 0


def test_device_codes_are_bound_to_their_application(rp, other):
    assert poll(other, start(rp)).get_json()["error"] == "invalid_grant"


def test_the_flow_must_be_switched_on(rp):
    rp.application.change(grants=["authorization_code"])
    response = rp.post("/oauth/device_authorization", {})
    assert response.get_json()["error"] == "unauthorized_client"


def test_scopes_are_checked(rp):
    response = rp.post("/oauth/device_authorization", {"scope": "admin:all"})
    assert response.get_json()["error"] == "invalid_scope"
    assert start(rp, scope=None)
    assert DeviceCode.get().scopes == ["public"]


def test_the_client_must_authenticate(rp):
    rp.secret = "pcs_wrong"
    response = rp.post("/oauth/device_authorization", {})
    assert response.status_code == 401
    assert response.get_json()["error"] == "invalid_client"


@pytest.mark.parametrize("code", ["nonsense", "pdc_1." + "s" * 43, "é"])
def test_a_device_code_that_was_never_issued(rp, code):
    response = rp.token(DEVICE_GRANT, device_code=code)
    assert response.get_json()["error"] == "invalid_grant"


def test_a_code_dies_with_its_application(rp, browser_of, bob):
    device, approved = start(rp), start(rp)
    browser = browser_of(bob)
    decide(rp, browser, approved)
    rp.application.disable()
    rp.application.enable()
    assert poll(rp, device).get_json()["error"] == "expired_token"
    assert poll(rp, approved).get_json()["error"] == "expired_token"
    assert post(browser, "/device", {"user_code": device["user_code"]}).status_code == 422


def test_an_approval_dies_with_the_consent(rp, browser_of, bob):
    device = start(rp)
    decide(rp, browser_of(bob), device)
    Consent.withdraw(bob.id, rp.application.id)
    assert poll(rp, device).status_code == 400


def test_strangers_sign_in_first(client):
    assert client.get("/device?user_code=BBBB-BBBB").location.startswith("/login?next=%2Fdevice")


def test_a_poll_costs_two_statements(rp, statements):
    device = start(rp)
    poll(rp, device)
    with statements() as seen:
        poll(rp, device)
    assert len(seen) == 2, seen


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "Enter the code that your device shows."),
        (" - ", "Enter the code that your device shows."),
        ("BCD", "The code has eight letters"),
        ("BCDFGHJKL", "The code has eight letters"),
        ("BCDF-GHJK", "there is no device waiting with it"),
    ],
)
def test_the_page_says_what_is_wrong_with_a_code(rp, browser_of, bob, typed, words):
    page = post(browser_of(bob), "/device", {"user_code": typed})
    assert page.status_code == 422
    assert words in page.text


def test_a_code_that_expires_while_somebody_decides_leads_to_the_next_one(rp, browser_of, bob):
    device, browser = start(rp), browser_of(bob)
    page = post(browser, "/device", {"user_code": device["user_code"]})
    DeviceCode.update(expires_at=1).execute()
    answer = rp.decide(browser, page)
    assert answer.status_code == 400
    assert "The code has expired" in answer.text
    assert 'name="user_code"' in answer.text
    assert device["user_code"] not in answer.text
