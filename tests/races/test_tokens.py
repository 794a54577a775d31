"""One code, one refresh token, one device code, and many who present it at the same moment."""

from collections import Counter
from threading import Event
from time import perf_counter

import pytest

from portal.clock import now
from portal.models import (
    AccessToken,
    Application,
    AuditEvent,
    AuthorizationCode,
    Consent,
    DeviceCode,
    Refusal,
    TokenFamily,
    User,
)
from portal.oauth.server import make_server
from tests import factories
from tests.engines import on_both_engines
from tests.factories import make_application
from tests.flows import DEVICE_GRANT, RelyingApp, query
from tests.races.crowd import together

CROWD = 64
GRANTS = ["authorization_code", "client_credentials", DEVICE_GRANT, "refresh_token"]

pytestmark = on_both_engines


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    application, secret = make_application(alice, grants=GRANTS)
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def copies(app, rp):
    """The same application, as many processes of it would call."""
    return [RelyingApp(app.test_client(), rp.application, rp.secret) for _ in range(CROWD)]


def get_code(rp, browser) -> str:
    response = rp.authorize(browser)
    if response.status_code == 200:
        response = rp.decide(browser, response)
    return query(response)["code"]


def approved_device_code(rp, browser) -> str:
    asked = rp.post("/oauth/device_authorization", {"scope": "profile"}).get_json()
    page = factories.post(browser, "/device", {"user_code": asked["user_code"]})
    assert rp.decide(browser, page).status_code == 303
    return asked["device_code"]


def test_one_code_gives_one_line_of_tokens(rp, copies, browser_of, bob):
    browser = browser_of(bob)
    for round_number in range(1, 3):
        code = get_code(rp, browser)
        answers = together(CROWD, lambda n, code=code: copies[n].redeem(code))
        assert Counter(answer.status_code for answer in answers) == {200: 1, 400: CROWD - 1}
        assert {a.get_json().get("error") for a in answers} == {None, "invalid_grant"}
        assert TokenFamily.select().count() == round_number
        assert AccessToken.select().count() == round_number
        # Somebody else had the code, too: what it gave is dead (RFC 6749 §4.1.2).
        tokens = next(a.get_json() for a in answers if a.status_code == 200)
        assert not rp.is_active(tokens["access_token"])
        assert rp.refresh(tokens["refresh_token"]).status_code == 400


def test_one_refresh_token_gives_everybody_the_same_successor(rp, copies, browser_of, bob):
    token = rp.sign_in(browser_of(bob))["refresh_token"]
    for rotations in range(1, 3):
        answers = together(CROWD, lambda n, token=token: copies[n].refresh(token))
        assert {answer.status_code for answer in answers} == {200}
        token, *others = {answer.get_json()["refresh_token"] for answer in answers}
        assert not others
        family = TokenFamily.get()
        assert TokenFamily.select().count() == 1
        assert family.ended_at is None
        assert family.rotations == rotations
    assert rp.refresh(token).status_code == 200
    assert all(rp.is_active(answer.get_json()["access_token"]) for answer in answers[:4])


def test_one_device_code_gives_one_line_of_tokens(rp, copies, browser_of, bob):
    browser = browser_of(bob)
    for round_number in range(1, 3):
        code = approved_device_code(rp, browser)
        answers = together(
            CROWD, lambda n, code=code: copies[n].token(DEVICE_GRANT, device_code=code)
        )
        assert Counter(answer.status_code for answer in answers) == {200: 1, 400: CROWD - 1}
        assert {a.get_json().get("error") for a in answers} == {None, "invalid_grant"}
        assert TokenFamily.select().count() == round_number
        assert AccessToken.select().count() == round_number


def test_many_are_refused_at_once_by_a_server_that_has_just_started(
    app, rp, copies, browser_of, bob
):
    code = get_code(rp, browser_of(bob))
    assert rp.redeem(code).status_code == 200
    app.extensions["portal.oauth"] = make_server(app.extensions["portal.settings"])
    answers = together(CROWD, lambda n: copies[n].redeem(code))
    assert {answer.status_code for answer in answers} == {400}


def test_every_token_that_many_get_at_once_is_stored(rp, copies):
    answers = together(CROWD, lambda n: copies[n].token("client_credentials"))
    assert {answer.status_code for answer in answers} == {200}
    tokens = {answer.get_json()["access_token"] for answer in answers}
    assert len(tokens) == AccessToken.select().count() == CROWD
    assert all(rp.is_active(token) for token in tokens)


def test_refreshing_while_the_person_withdraws_leaves_nothing_alive(rp, copies, browser_of, bob):
    for _ in range(5):
        tokens = rp.sign_in(browser_of(bob))

        def act(number, token=tokens["refresh_token"]):
            if number == 0:
                return Consent.withdraw(bob.id, rp.application.id)
            return copies[number].refresh(token)

        _, *answers = together(8, act)
        for answer in answers:
            assert answer.status_code in (200, 400)
            if answer.status_code == 200:
                assert not rp.is_active(answer.get_json()["access_token"])
        assert not TokenFamily.select().where(TokenFamily.ended_at.is_null()).exists()


def test_redeeming_while_the_person_withdraws_leaves_nothing_alive(rp, copies, browser_of, bob):
    browser = browser_of(bob)
    for _ in range(5):
        code = get_code(rp, browser)

        def act(number, code=code):
            if number == 0:
                return Consent.withdraw(bob.id, rp.application.id)
            return copies[number].redeem(code)

        _, answer = together(2, act)
        assert answer.status_code in (200, 400)
        if answer.status_code == 200:
            assert not rp.is_active(answer.get_json()["access_token"])
        assert not TokenFamily.select().where(TokenFamily.ended_at.is_null()).exists()
        assert not AuthorizationCode.select().where(AuthorizationCode.used_at.is_null()).exists()


def test_redeeming_while_the_person_is_disabled_leaves_nothing_alive(rp, copies, browser_of, bob):
    for _ in range(5):
        code = get_code(rp, browser_of(bob))

        def act(number, code=code):
            return bob.disable() if number == 0 else copies[number].redeem(code)

        _, answer = together(2, act)
        assert answer.status_code in (200, 400)
        bob.enable()
        if answer.status_code == 200:
            assert not rp.is_active(answer.get_json()["access_token"])


@pytest.mark.parametrize("gone", ["disabled", "deleted"])
def test_what_a_request_in_flight_stored_for_somebody_gone_is_dead(rp, browser_of, bob, gone):
    """A request that began before the person was stopped may store its row after it."""
    browser = browser_of(bob)
    tokens = rp.sign_in(browser)
    device_code, code = approved_device_code(rp, browser), get_code(rp, browser)
    if gone == "disabled":  # only this: what the request stored was not there to be ended
        User.update(disabled_at=now()).where(User.id == bob.id).execute()
    else:
        User.delete().where(User.id == bob.id).execute()
    assert not rp.is_active(tokens["access_token"])
    assert not rp.is_active(tokens["refresh_token"])
    assert rp.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert rp.redeem(code).get_json()["error"] == "invalid_grant"
    assert rp.token(DEVICE_GRANT, device_code=device_code).get_json()["error"] == "expired_token"


def test_after_disabling_returned_nothing_is_issued(rp, copies):
    stop, disabled_at = Event(), []

    def act(number):
        if number == 0:
            stop.wait(0.3)
            Application.get_by_id(rp.application.id).disable()
            disabled_at.append(perf_counter())
            Event().wait(0.3)
            return stop.set()
        seen = []
        while not stop.is_set():
            begun = perf_counter()
            seen.append((begun, copies[number].token("client_credentials")))
        return seen

    _, *each = together(17, act)
    answers = [answer for seen in each for answer in seen]
    issued = [answer for _, answer in answers if answer.status_code == 200]
    assert issued
    late = [answer.status_code for begun, answer in answers if begun > disabled_at[0]]
    assert late
    assert set(late) == {401}
    assert AccessToken.select().count() == len(issued)
    # What was issued in the very last moment is of the epoch that disabling ended.
    epoch = Application.get_by_id(rp.application.id).epoch
    assert not AccessToken.select().where(AccessToken.epoch == epoch).exists()


def test_disabling_kills_what_was_issued_also_after_enabling(rp, copies):
    answers = together(8, lambda n: copies[n].token("client_credentials"))
    Application.get_by_id(rp.application.id).disable()
    Application.get_by_id(rp.application.id).enable()
    assert not any(rp.is_active(answer.get_json()["access_token"]) for answer in answers)


def test_consent_given_by_many_at_once_is_one_consent(rp, app, browser_of, bob):
    scopes = ["openid profile", "openid email", "openid", "openid profile email"] * 4
    browsers = [browser_of(bob) for _ in scopes]
    pages = [rp.authorize(b, scope=s) for b, s in zip(browsers, scopes, strict=True)]
    others = [RelyingApp(app.test_client(), rp.application, rp.secret) for _ in scopes]
    answers = together(len(scopes), lambda n: others[n].decide(browsers[n], pages[n]))
    assert {answer.status_code for answer in answers} == {303}
    assert all("code" in query(answer) for answer in answers)
    (consent,) = Consent.select()
    assert set(consent.scopes) == {"openid", "profile", "email"}


def test_a_device_is_decided_once(rp, app, browser_of, bob, charlie):
    asked = rp.post("/oauth/device_authorization", {"scope": "profile"}).get_json()
    browsers = [browser_of(who) for who in [bob, charlie] * 8]
    # The throttle counts; these sixteen people know the code.
    pages = [factories.post(b, "/device", {"user_code": asked["user_code"]}) for b in browsers]
    answers = together(
        16, lambda n: rp.decide(browsers[n], pages[n], ("allow", "deny")[n % 3 == 0])
    )
    # Who was first sees what they decided, however often they sent it; the other decided nothing.
    assert Counter(answer.status_code for answer in answers) == {303: 8, 400: 8}
    assert AuditEvent.select().where(AuditEvent.event.startswith("device.")).count() == 1
    code = DeviceCode.get()
    assert (code.approved_at is None) != (code.denied_at is None)


def test_many_wrong_secrets_are_one_refusal(copies):
    for copy in copies:
        copy.secret = "wrong"
    answers = together(CROWD, lambda n: copies[n].token("client_credentials"))
    assert {answer.status_code for answer in answers} == {401}
    assert Refusal.get(Refusal.reason == "secret_wrong").count == CROWD


def test_many_different_refusals_at_once_stay_bounded(app, rp, browser_of, bob):
    browsers = [browser_of(bob) for _ in range(16)]

    def act(number):
        return [
            rp.authorize(browsers[number], redirect_uri=f"https://evil.example.org/{number}/{n}")
            for n in range(5)
        ]

    answers = together(16, act)
    assert {answer.status_code for each in answers for answer in each} == {400}
    assert Refusal.select().count() <= 50
