"""Sign-out at an application's wish (OpenID Connect RP-Initiated Logout 1.0)."""

import time
from urllib.parse import urlencode

import pytest
import time_machine

from portal.models import Session
from tests.factories import csrf_token, make_application
from tests.flows import RelyingApp, query
from tests.oauth.test_openid_connect import forged

AFTER = "https://app.example.org/bye"


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    """An application with an address after sign-out, and one with a query."""
    application, secret = make_application(
        alice, post_logout_redirect_uris=[AFTER, f"{AFTER}?from=portal"]
    )
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def browser(browser_of, bob):
    return browser_of(bob)


@pytest.fixture
def hint(rp, browser) -> str:
    return rp.sign_in(browser)["id_token"]


def log_out(browser, **params):
    return browser.get("/oauth/logout", query_string=params)


def signed_in(browser) -> bool:
    return browser.get("/account/sessions").status_code == 200


def assert_asks(response, browser) -> None:
    """Nothing has happened: the page asks, and leads nowhere else."""
    assert response.status_code in (200, 400)
    assert "Sign out?" in response.get_data(as_text=True)
    assert "Location" not in response.headers
    assert signed_in(browser)


# With a proof


def test_a_proof_and_a_registered_address_lead_there_with_the_state(browser, hint):
    response = log_out(browser, id_token_hint=hint, post_logout_redirect_uri=AFTER, state='a"&<b>é')
    assert response.status_code == 303
    assert response.location.startswith(f"{AFTER}?state=")
    assert query(response) == {"state": 'a"&<b>é'}
    assert not signed_in(browser)
    assert Session.select().count() == 0


def test_without_a_state_nothing_is_added(browser, hint):
    response = log_out(browser, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    assert response.location == AFTER


def test_a_registered_query_is_kept(browser, hint):
    uri = f"{AFTER}?from=portal"
    response = log_out(browser, id_token_hint=hint, post_logout_redirect_uri=uri, state="s")
    assert response.location == f"{uri}&state=s"


def test_a_proof_alone_signs_out_and_says_so(browser, hint):
    response = log_out(browser, id_token_hint=hint)
    assert "You are signed out" in response.get_data(as_text=True)
    assert not signed_in(browser)


def test_afterwards_a_silent_request_is_login_required(rp, browser, hint):
    log_out(browser, id_token_hint=hint, post_logout_redirect_uri=AFTER)
    assert query(rp.authorize(browser, prompt="none"))["error"] == "login_required"


def test_an_expired_proof_will_do(browser, hint):
    with time_machine.travel(time.time() + 6 * 3600, tick=False):
        response = log_out(browser, id_token_hint=hint, post_logout_redirect_uri=AFTER)
        assert response.location == AFTER


def test_the_matching_client_id_will_do(rp, browser, hint):
    response = log_out(
        browser, id_token_hint=hint, client_id=rp.client_id, post_logout_redirect_uri=AFTER
    )
    assert response.location == AFTER


def test_a_pairwise_proof_will_do(rp, browser):
    rp.application.change(subject_type="pairwise")
    hint = rp.sign_in(browser)["id_token"]
    assert log_out(browser, id_token_hint=hint, post_logout_redirect_uri=AFTER).location == AFTER


def test_a_form_post_works_like_a_link(browser, hint):
    """It goes on as a GET, since a browser sends no cookie along with a foreign form."""
    fields = {"id_token_hint": hint, "post_logout_redirect_uri": AFTER, "state": "s t&u"}
    response = browser.post("/oauth/logout", data=fields)
    assert response.status_code == 303
    assert response.location.startswith("/oauth/logout")
    assert signed_in(browser)
    assert query(browser.get(response.location)) == {"state": "s t&u"}
    assert not signed_in(browser)


def test_somebody_who_is_not_signed_in_is_led_back(client, hint):
    response = log_out(client, id_token_hint=hint, post_logout_redirect_uri=AFTER, state="s")
    assert response.location == f"{AFTER}?state=s"


def test_other_browsers_stay_signed_in(browser, hint, browser_of, bob):
    other = browser_of(bob)
    log_out(browser, id_token_hint=hint)
    assert signed_in(other)


# Without one


def test_a_proof_about_somebody_else_asks(rp, browser, browser_of, charlie):
    theirs = rp.sign_in(browser_of(charlie))["id_token"]
    assert_asks(
        log_out(browser, id_token_hint=theirs, post_logout_redirect_uri=AFTER, state="s"), browser
    )


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example.org/bye",
        f"{AFTER}?foo=bar",
        f"{AFTER}/",
        "https://app.example.org/BYE",
        "https://app.example.org/callback",
        "javascript:alert(1)",
        "//evil.example.org",
        "/login",
        AFTER + "\r\nX: y",
    ],
)
def test_an_address_that_is_not_registered_is_refused(browser, hint, uri):
    response = log_out(browser, id_token_hint=hint, post_logout_redirect_uri=uri, state="s")
    assert response.status_code == 400
    assert "not registered" in response.get_data(as_text=True)
    assert_asks(response, browser)


def test_an_address_of_another_application_is_refused(app, alice, browser, hint):
    make_application(alice, name="Other", post_logout_redirect_uris=["https://other.example.org/"])
    response = log_out(
        browser, id_token_hint=hint, post_logout_redirect_uri="https://other.example.org/"
    )
    assert_asks(response, browser)


def test_forged_proofs_ask(rp, browser, hint):
    for name, forgery in forged(rp, hint).items():
        response = log_out(browser, id_token_hint=forgery, post_logout_redirect_uri=AFTER)
        assert response.status_code == 200, name
        assert_asks(response, browser)


def test_a_proof_of_another_application_asks(rp, other, browser, hint):
    foreign = other.sign_in(browser)["id_token"]
    for params in (
        {"id_token_hint": foreign},
        {"id_token_hint": foreign, "client_id": rp.client_id},
        {"id_token_hint": hint, "client_id": other.client_id},
        {"id_token_hint": hint, "client_id": "c_nobody"},
    ):
        assert_asks(log_out(browser, post_logout_redirect_uri=AFTER, **params), browser)


def test_other_jwts_of_ours_are_no_proof(rp, browser):
    rp.application.change(token_format="jwt")
    token = rp.sign_in(browser)["access_token"]
    assert_asks(log_out(browser, id_token_hint=token), browser)


def test_a_client_id_alone_is_no_proof(rp, browser, hint):
    response = log_out(browser, client_id=rp.client_id, post_logout_redirect_uri=AFTER)
    assert_asks(response, browser)


def test_an_application_that_was_disabled_or_deleted_leads_nobody_anywhere(rp, browser, hint):
    rp.application.disable()
    params = {"id_token_hint": hint, "post_logout_redirect_uri": AFTER}
    assert_asks(log_out(browser, **params), browser)
    rp.application.remove()
    assert_asks(log_out(browser, **params), browser)


@pytest.mark.parametrize("params", [{}, {"state": "s"}, {"post_logout_redirect_uri": AFTER}])
def test_without_a_proof_the_person_is_asked(browser, params):
    response = log_out(browser, **params)
    assert response.status_code == 200
    assert_asks(response, browser)


def test_nobody_signed_in_is_told_so(client):
    response = log_out(client)
    assert response.status_code == 200
    assert "You are signed out" in response.get_data(as_text=True)


@pytest.mark.parametrize(
    "query_string",
    [
        "id_token_hint=a&id_token_hint=b",
        "state=a&state=b",
        "id_token_hint=%00",
        "id_token_hint=%ff",
        "&".join(f"p{n}=1" for n in range(200)),
    ],
)
def test_malformed_requests_ask(browser, query_string):
    assert_asks(browser.get(f"/oauth/logout?{query_string}"), browser)


def test_a_repeated_parameter_spoils_the_proof(browser, hint):
    params = [("id_token_hint", hint), ("state", "a"), ("state", "b")]
    assert_asks(browser.get("/oauth/logout?" + urlencode(params)), browser)


@pytest.mark.parametrize(
    "post",
    [
        {"data": "id_token_hint=x\r\nSet-Cookie: a=b"},
        {"data": b"\xff"},
        {"data": "{}", "content_type": "application/json"},
        {"data": {"id_token_hint": "x"}, "query_string": {"state": "s"}},
        {"data": {}},
    ],
)
def test_odd_posts_do_no_harm(browser, post):
    post.setdefault("content_type", "application/x-www-form-urlencoded")
    response = browser.post("/oauth/logout", **post)
    assert response.status_code in (200, 303, 400)
    assert "Set-Cookie: a" not in str(response.headers)
    if response.status_code == 303:
        assert response.location.startswith("/oauth/logout")
        response = browser.get(response.location)
    assert_asks(response, browser)


# The button


def test_the_button_signs_out(browser):
    assert 'action="/oauth/logout/confirm"' in log_out(browser).get_data(as_text=True)
    token = csrf_token(browser, "/oauth/logout")
    done = browser.post("/oauth/logout/confirm", data={"csrf_token": token, "decision": "allow"})
    assert "You are signed out" in done.get_data(as_text=True)
    assert not signed_in(browser)


@pytest.mark.parametrize("token", [None, "", "x"])
def test_nobody_else_presses_it(browser, token):
    log_out(browser)
    data = {"decision": "allow"} | ({} if token is None else {"csrf_token": token})
    assert browser.post("/oauth/logout/confirm", data=data).status_code == 400
    assert browser.get("/oauth/logout/confirm").status_code == 405
    assert signed_in(browser)


def test_the_old_cookie_is_dead_after_it(browser, hint, app):
    stolen = browser.get_cookie("portal_session").value
    log_out(browser, id_token_hint=hint)
    thief = app.test_client()
    thief.set_cookie("portal_session", stolen)
    assert not signed_in(thief)


def test_the_pages_cannot_be_framed_and_lead_anywhere(browser):
    headers = log_out(browser).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "form-action" not in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
