"""Trying an application: what the administrator sees, and what nobody else may do with it."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from portal.models import (
    AccessToken,
    ApplicationSecret,
    AuditEvent,
    AuthorizationCode,
    DeviceCode,
    Refusal,
    TokenFamily,
)
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from tests.conftest import ISSUER
from tests.factories import csrf_token, make_application, post
from tests.flows import RelyingApp, form_action, form_fields, query

CALLBACK = f"{ISSUER}/admin/tester/callback"
ALL = [AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN]


@pytest.fixture
def acme(alice):
    return make_application(alice, grants=ALL)


def text_of(response) -> str:
    return html.unescape(response.get_data(as_text=True))


def begin(browser, application, flow, **data):
    address = f"/admin/tester/{application.client_id}"
    return post(browser, f"{address}/{flow}", data, page=f"{address}?flow={flow}")


def go_on(browser, page, step, **data):
    text = page.get_data(as_text=True)
    run = re.search(r'name="run"[^>]*value="([^"]+)"', text)[1]
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', text)[1]
    client_id = re.search(r"/admin/tester/([^/?\"]+)", text)[1]
    fields = {"csrf_token": token, "run": run, "method": "client_secret_basic", **data}
    return browser.post(f"/admin/tester/{client_id}/{step}", data=fields)


def come_back(browser, started):
    """From the start over the real consent page to the callback's answer."""
    assert started.status_code == 303, text_of(started)
    consent = browser.get(started.location)
    assert "This is a test that you have just begun" in text_of(consent)
    fields = form_fields(consent.get_data(as_text=True))
    return browser.post(form_action(consent), data={**fields, "decision": "allow"})


def test_a_person_signs_in_and_every_token_is_explained(acme, alice, browser_of):
    application, secret = acme
    browser = browser_of(alice)
    back = come_back(
        browser, begin(browser, application, "authorization-code", scope="openid email")
    )
    assert back.location.startswith(CALLBACK + "?")
    waiting = browser.get(browser.get(back.location).location)
    assert "state is the one that was sent" in text_of(waiting)
    tokens = go_on(browser, waiting, "redeem", secret=secret)
    shown = text_of(tokens)
    for text in ("It works.", "at_hash fits", "nonce is the one", "The token works now."):
        assert text in shown, text
    again = go_on(browser, tokens, "refresh", secret=secret)
    assert "New tokens for old" in text_of(again)
    assert "It works." in text_of(again)
    code = query(back)["code"]
    for page in (waiting, tokens, again):
        assert secret not in text_of(page)
        assert code not in text_of(page)
        assert not re.search(r"p[ar]t_[0-9a-f]+\.[\w-]{43}", text_of(page))
        assert page.headers["Cache-Control"] == "no-store"
    assert go_on(browser, again, "revoke").status_code == 303
    assert TokenFamily.get().ended_at is not None
    assert AuthorizationCode.select().count() == 1


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_wrong_secret_gets_the_words_of_the_doctor_and_leaves_no_trace(
    acme, alice, browser_of, method
):
    application, secret = acme
    browser = browser_of(alice)
    flow = "client-credentials"
    wrong = begin(browser, application, flow, scope="", secret="hunter2hunter2", method=method)
    assert "The client secret is wrong" in text_of(wrong)
    assert "hunt" not in text_of(wrong)
    assert f"/admin/secrets/{application.client_id}" in text_of(wrong)
    assert Refusal.select().count() == 0
    right = begin(browser, application, flow, scope="", secret=secret, method=method)
    assert "The application itself" in text_of(right) or "It works." in text_of(right)
    assert ApplicationSecret.get().last_used_at is None
    events = [e for e in AuditEvent.select() if e.event == "application.tested"]
    assert len(events) == 2
    assert all(secret not in e.after and "hunter2" not in e.after for e in events)
    assert go_on(browser, right, "revoke").status_code == 303
    assert AccessToken.select().count() == 0


def test_a_flow_that_is_off_says_so_before_the_browser_leaves(alice, browser_of):
    application, _ = make_application(alice, grants=[CLIENT_CREDENTIALS])
    page = begin(browser_of(alice), application, "authorization-code", scope="openid")
    assert page.status_code == 200
    assert "Authorisation Code is off" in text_of(page)
    assert f"/admin/applications/{application.client_id}/edit" in text_of(page)


def test_a_scope_that_no_tick_helps_says_what_does(alice, browser_of):
    application, secret = make_application(alice, grants=[CLIENT_CREDENTIALS])
    browser, flow = browser_of(alice), "client-credentials"
    personal = text_of(begin(browser, application, flow, scope="openid", secret=secret))
    assert "Needs a person who signs in: openid." in personal
    assert "Change its settings" not in personal
    unknown = text_of(begin(browser, application, flow, scope="nope", secret=secret))
    assert "Not in the catalogue: nope." in unknown
    assert 'href="/admin/scopes">Open the scopes' in unknown


def test_a_device_is_played_until_the_person_decides(alice, browser_of):
    application, _ = make_application(alice, grants=[DEVICE_CODE], confidential=False)
    browser = browser_of(alice)
    page = begin(browser, application, "device-code", scope="profile")
    code = re.search(r"[A-Z]{4}-[A-Z]{4}", text_of(page))[0]
    waits = go_on(browser, page, "poll")
    assert "Waiting for the person" in text_of(waits)
    consent = post(browser, "/device", {"user_code": code})
    fields = form_fields(consent.get_data(as_text=True))
    browser.post(form_action(consent), data={**fields, "decision": "allow"})
    assert "It works." in text_of(go_on(browser, waits, "poll"))


def test_a_jwt_is_explained_with_its_header_and_is_for_the_resource_chosen(alice, browser_of):
    api, files = "https://api.example.org", "https://files.example.org/v1"
    application, secret = make_application(
        alice, grants=ALL, token_format="jwt", resources=[api, files]
    )
    browser = browser_of(alice)
    form = text_of(browser.get(f"/admin/tester/{application.client_id}?flow=client-credentials"))
    assert f'<option value="{files}">' in form
    flow = "client-credentials"
    page = text_of(begin(browser, application, flow, scope="", secret=secret, resource=files))
    for text in ("at+jwt", "ES256", "typ is at+jwt: it is an access", f"aud is {files}: nobody"):
        assert text in page, text
    assert "resource=https%3A%2F%2Ffiles.example.org%2Fv1" in page
    assert "note-danger" not in page
    plain = text_of(begin(browser, application, flow, scope="", secret=secret))
    assert f"aud is {ISSUER}: nobody" in plain
    strange = "https://elsewhere.example.org"
    refused = begin(browser, application, flow, scope="", secret=secret, resource=strange)
    assert "A resource server that is not on the list" in text_of(refused)


def test_the_resource_goes_along_with_the_person_and_stays_with_the_refresh(alice, browser_of):
    resource = "https://api.example.org"
    application, secret = make_application(alice, grants=ALL, resources=[resource])
    browser = browser_of(alice)
    started = begin(browser, application, "authorization-code", scope="openid", resource=resource)
    assert query(started)["resource"] == resource
    waiting = browser.get(browser.get(come_back(browser, started).location).location)
    page = go_on(browser, waiting, "redeem", secret=secret)
    assert f"aud is {resource}, which was asked for." in text_of(page)
    page = go_on(browser, page, "refresh", secret=secret)
    assert f"aud is {resource}, which was asked for." in text_of(page).split("New tokens")[1]


def test_the_access_token_is_tried_at_userinfo_and_at_introspection(acme, alice, browser_of):
    application, secret = acme
    browser = browser_of(alice)
    back = come_back(
        browser, begin(browser, application, "authorization-code", scope="openid email")
    )
    waiting = browser.get(browser.get(back.location).location)
    page = go_on(browser, waiting, "redeem", secret=secret)
    person = go_on(browser, page, "userinfo")
    assert "GET /oauth/userinfo HTTP/1.1" in text_of(person)
    assert f'"email": "{alice.email}"' in text_of(person)
    told = go_on(browser, person, "introspect", secret=secret)
    assert "active is true: the token works now." in text_of(told)
    wrong = go_on(browser, told, "introspect", secret="pcs_wrong")
    assert "The client secret is wrong" in text_of(wrong)
    assert "It works." not in text_of(wrong)
    assert '<a href="#step-5">Step 5</a> did not work.' in text_of(wrong)
    AccessToken.update(expires_at=1).execute()
    late = go_on(browser, told, "userinfo")
    assert "The access token is not valid." in text_of(late)
    assert "401 Unauthorized" in text_of(late)
    assert "The token does not work." in text_of(go_on(browser, told, "introspect", secret=secret))
    for shown in (person, told, wrong, late):
        assert not re.search(r"p[ar]t_[0-9a-f]+\.[\w-]{43}", text_of(shown))
        assert secret not in text_of(shown)


def test_an_application_disabled_meanwhile_is_told_so_at_the_next_step(acme, alice, browser_of):
    application, secret = acme
    browser = browser_of(alice)
    page = begin(browser, application, "client-credentials", scope="", secret=secret)
    application.disable()
    told = text_of(go_on(browser, page, "introspect", secret=secret))
    assert "application is disabled" in told.lower()
    assert "Enable it on its page" in told


def test_a_device_code_that_has_expired_says_so_and_begins_again(alice, browser_of):
    application, _ = make_application(alice, grants=[DEVICE_CODE], confidential=False)
    browser = browser_of(alice)
    page = begin(browser, application, "device-code", scope="openid")
    DeviceCode.update(expires_at=1).execute()
    late = text_of(go_on(browser, page, "poll"))
    assert "Nobody entered the code in time." in late
    assert "Try again" in late


def test_trying_again_asks_for_the_same(acme, alice, browser_of):
    application, _ = acme
    application.change(resources=["https://files.example.org", "https://mail.example.org"])
    browser = browser_of(alice)
    asked = {"scope": "email openid", "resource": "https://mail.example.org"}
    page = begin(browser, application, "client-credentials", secret="wrong", **asked)
    again = browser.get(html.unescape(re.search(r'href="([^"]+)">Try again', page.text)[1])).text
    assert re.search(r'name="scope"[^>]*value="email openid"', again)
    assert re.search(r'<option selected value="https://mail.example.org"', again)


def test_an_application_disabled_before_the_code_is_swapped_gets_nothing(acme, alice, browser_of):
    application, secret = acme
    browser = browser_of(alice)
    back = come_back(browser, begin(browser, application, "authorization-code", scope="openid"))
    waiting = browser.get(browser.get(back.location).location)
    application.disable()
    told = text_of(go_on(browser, waiting, "redeem", secret=secret))
    assert "Enable it on its page" in told
    assert AccessToken.select().count() == 0


# Abuse


def test_the_callback_is_no_address_for_anybody_else(acme, alice, bob, browser_of, client):
    """A link crafted from a test that an administrator has begun."""
    application, _ = acme
    mine = browser_of(alice)
    link = begin(mine, application, "authorization-code", scope="openid").location
    for other in (browser_of(bob), browser_of(alice), client):
        answer = other.get(link)
        assert answer.status_code == 400
        assert "Location" not in answer.headers
    assert mine.get(link).status_code == 200


def test_the_ticket_is_good_for_one_request_of_one_application(acme, alice, browser_of):
    application, _ = acme
    other, _ = make_application(alice, name="Other")
    browser = browser_of(alice)
    started = begin(browser, application, "authorization-code", scope="openid")
    link = started.location
    asked = {k: v[0] for k, v in parse_qs(urlsplit(link).query).items()}
    changes = {"client_id": other.client_id, "scope": "openid email", "state": "x" * 22}
    for name, value in changes.items():
        answer = browser.get("/oauth/authorize", query_string={**asked, name: value})
        assert answer.status_code == 400, name
    back = come_back(browser, started)
    assert browser.get(back.location).status_code == 303
    assert browser.get(link).status_code == 400  # answered


def test_the_ticket_ends_with_its_time(acme, alice, browser_of, monkeypatch):
    application, _ = acme
    browser = browser_of(alice)
    link = begin(browser, application, "authorization-code", scope="openid").location
    from portal.oauth import rehearsal

    late = rehearsal.now() + rehearsal.KEEP_SECONDS + 1
    monkeypatch.setattr(rehearsal, "now", lambda: late)
    assert browser.get(link).status_code == 400


def test_a_code_stolen_from_a_test_is_worth_nothing(acme, app, alice, browser_of):
    application, secret = acme
    browser = browser_of(alice)
    back = come_back(browser, begin(browser, application, "authorization-code", scope="openid"))
    thief = RelyingApp(app.test_client(), application, secret)
    for changes in ({}, {"redirect_uri": CALLBACK}, {"redirect_uri": None, "code_verifier": None}):
        answer = thief.redeem(query(back)["code"], **changes)
        assert answer.get_json()["error"] == "invalid_grant"


def test_a_strange_answer_is_not_taken(acme, alice, browser_of):
    application, _ = acme
    browser = browser_of(alice)
    begin(browser, application, "authorization-code", scope="openid")
    for answer in ({}, {"state": "guess", "code": "pac_1.x"}, {"state": "ü"}):
        assert browser.get("/admin/tester/callback", query_string=answer).status_code == 400


def test_a_page_of_a_test_is_of_no_use_in_another_session(acme, alice, browser_of):
    application, secret = acme
    page = begin(browser_of(alice), application, "client-credentials", secret=secret)
    thief = browser_of(alice)
    run = re.search(r'name="run"[^>]*value="([^"]+)"', page.get_data(as_text=True))[1]
    token = csrf_token(thief, "/account/password")
    address = f"/admin/tester/{application.client_id}/revoke"
    thief.post(address, data={"csrf_token": token, "run": run})
    assert AccessToken.select().count() == 1


def test_an_old_sign_in_does_not_play_a_confidential_application(acme, alice, browser_of):
    from portal.models import Session

    application, secret = acme
    browser = browser_of(alice)
    address = f"/admin/tester/{application.client_id}"
    token = csrf_token(browser, address)
    Session.update(auth_time=Session.auth_time - 3600).execute()
    assert "Enter my password" in text_of(browser.get(address))
    answer = browser.post(
        f"{address}/client-credentials", data={"csrf_token": token, "secret": secret}
    )
    assert answer.location.startswith("/login?")
    assert AccessToken.select().count() == 0
