"""Sixty-four callers at two worker processes: one code or token gives one line of tokens."""

from collections import Counter

from portal.models import AccessToken, TokenFamily
from tests import factories
from tests.engines import on_both_engines
from tests.faults.portal import get_code
from tests.flows import DEVICE_GRANT
from tests.races.crowd import together

CROWD = 64

pytestmark = on_both_engines


def test_one_code_one_refresh_token_and_one_device_code_over_http(rp, portal, browser_of, bob):
    browser, real = browser_of(bob), portal.serving(rp)
    portal.start()

    code = get_code(rp, browser)
    answers = together(CROWD, lambda number: real.redeem(code))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: CROWD - 1}
    assert {a.get_json().get("error") for a in answers} == {None, "invalid_grant"}
    assert TokenFamily.select().count() == AccessToken.select().count() == 1

    token = real.redeem(get_code(rp, browser)).get_json()["refresh_token"]
    answers = together(CROWD, lambda number: real.refresh(token))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.get_json()["refresh_token"] for answer in answers}) == 1
    assert sorted(family.rotations for family in TokenFamily.select()) == [0, 1]

    asked = real.post("/oauth/device_authorization", {"scope": "profile"}).get_json()
    page = factories.post(browser, "/device", {"user_code": asked["user_code"]})
    assert rp.decide(browser, page).status_code == 303
    device_code = asked["device_code"]
    answers = together(CROWD, lambda number: real.token(DEVICE_GRANT, device_code=device_code))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: CROWD - 1}
    assert {a.get_json().get("error") for a in answers} == {None, "invalid_grant"}
    assert TokenFamily.select().count() == 3
