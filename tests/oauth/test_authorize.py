"""The authorization endpoint and the consent page, as a person and an application meet them."""

import json
import re

import pytest

from portal.models import Application, Consent, Refusal, Scope
from portal.oauth.claims import PROFILE
from portal.oauth.decision import PROFILE_WORDS
from tests.factories import make_application, make_scope, make_user, post
from tests.flows import RelyingApp, query

ISSUER = "http://localhost:8000"


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    make_scope("reports:write", sensitive=True)
    application, secret = make_application(
        alice, scopes=["openid", "profile", "email", "reports:write"]
    )
    return RelyingApp(app.test_client(), application, secret)


def test_the_whole_journey(rp, browser_of, bob):
    tokens = rp.sign_in(browser_of(bob), scope="openid profile email", ticked=["openid", "profile"])
    assert tokens["scope"] == "openid profile"
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 900
    answer = rp.introspect(tokens["access_token"])
    assert answer["active"] is True
    assert answer["username"] == "bob"
    assert answer["scope"] == "openid profile"
    refreshed = rp.refresh(tokens["refresh_token"]).get_json()
    assert refreshed["scope"] == "openid profile"
    assert refreshed["refresh_token"] != tokens["refresh_token"]
    assert rp.is_active(refreshed["access_token"])
    Consent.withdraw(bob.id, rp.application.id)
    assert not rp.is_active(refreshed["access_token"])
    assert rp.refresh(refreshed["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_a_stranger_signs_in_first_and_comes_back(rp, client):
    response = rp.authorize(client)
    assert response.status_code == 303
    assert response.location.startswith("/login?next=%2Foauth%2Fauthorize%3F")


def test_state_and_issuer_come_back_with_the_code(rp, browser_of, bob):
    browser = browser_of(bob)
    answer = query(rp.decide(browser, rp.authorize(browser, state="a b&c=é")))
    assert answer["state"] == "a b&c=é"
    assert answer["iss"] == ISSUER


def test_a_denied_request_tells_the_application(rp, browser_of, bob):
    browser = browser_of(bob)
    answer = query(rp.decide(browser, rp.authorize(browser), decision="deny"))
    assert answer["error"] == "access_denied"
    assert answer["state"] == "st4te"
    assert answer["iss"] == ISSUER
    assert "code" not in answer
    assert Consent.select().count() == 0


def test_nothing_ticked_is_a_denial(rp, browser_of, bob):
    browser = browser_of(bob)
    page = rp.authorize(browser, scope="profile email")
    assert query(rp.decide(browser, page, ticked=[]))["error"] == "access_denied"


def test_leaving_a_further_scope_unticked_keeps_what_was_allowed_before(rp, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser, scope="openid profile")
    page = rp.authorize(browser, scope="openid profile email")
    assert query(rp.decide(browser, page, decision="deny"))["error"] == "access_denied"
    page = rp.authorize(browser, scope="openid profile email")
    tokens = rp.redeem(query(rp.decide(browser, page, ticked=[]))["code"]).get_json()
    assert tokens["scope"] == "openid profile"


def test_what_was_left_out_is_not_asked_for_at_each_sign_in(rp, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser, scope="openid profile email", ticked=["openid", "profile"])
    for changes in ({}, {"prompt": "none"}, {"scope": "email profile openid"}):
        answer = rp.authorize(browser, **{"scope": "openid profile email", **changes})
        tokens = rp.redeem(query(answer)["code"]).get_json()
        assert set(tokens["scope"].split()) == {"openid", "profile"}


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "openid email"},
        {"scope": "openid profile email reports:write"},
        {"scope": "email"},
        {"prompt": "consent"},
    ],
)
def test_another_request_asks_about_it(rp, browser_of, bob, changes):
    browser = browser_of(bob)
    rp.sign_in(browser, scope="openid profile email", ticked=["openid", "profile"])
    page = rp.authorize(browser, **{"scope": "openid profile email", **changes})
    assert 'value="email"' in page.text


def test_a_person_can_be_asked_again_about_what_they_left_out(rp, browser_of, bob):
    browser = browser_of(bob)
    asked = {"scope": "openid profile email"}
    rp.sign_in(browser, **asked, ticked=["openid", "profile"])
    text = browser.get("/account/connections").text
    assert "Not allowed (1)" in text
    assert "See your e-mail address. <button" in text
    client_id = rp.application.client_id
    post(browser, f"/account/connections/{client_id}/ask-again", page="/account/connections")
    assert "Not allowed" not in browser.get("/account/connections").text
    assert rp.sign_in(browser, **asked, ticked=["email"])["scope"] == "openid profile email"


def test_a_scope_that_was_deleted_and_made_anew_is_asked_for(rp, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser, scope="openid reports:write", ticked=["openid"])
    Scope.get_by_id("reports:write").remove()
    make_scope("reports:write")
    Application.get_by_id(rp.application.id).change(scopes=["openid", "reports:write"])
    assert 'value="reports:write"' in rp.authorize(browser, scope="openid reports:write").text


def test_the_page_says_how_long_access_lasts(app, alice, rp, browser_of, bob):
    text = rp.authorize(browser_of(bob)).get_data(as_text=True)
    assert "Until you remove it, or do not use it for 30 days" in text
    once, secret = make_application(alice, grants=["authorization_code"])
    page = RelyingApp(app.test_client(), once, secret).authorize(browser_of(bob))
    assert "<dd>15 minutes</dd>" in page.get_data(as_text=True)


def test_only_the_decision_is_a_button_called_decision(rp, browser_of, bob):
    """Scripts press the first `decision` that says `allow`; it must not sign people out."""
    text = rp.authorize(browser_of(bob)).get_data(as_text=True)
    assert text.count('name="decision"') == 2
    assert text.count('name="decision" value="allow"') == 1


def test_sensitive_scopes_are_not_ticked_at_first(rp, browser_of, bob):
    browser = browser_of(bob)
    response = rp.decide(browser, rp.authorize(browser, scope="openid reports:write"))
    assert rp.redeem(query(response)["code"]).get_json()["scope"] == "openid"


def test_hidden_fields_cannot_widen_the_grant(rp, browser_of, bob):
    browser = browser_of(bob)
    page = rp.authorize(browser, scope="openid profile")
    response = rp.decide(browser, page, ticked=["openid", "profile", "email", "reports:write"])
    assert rp.redeem(query(response)["code"]).get_json()["scope"] == "openid profile"


def test_consent_is_remembered_and_a_new_scope_asks_for_that_scope(rp, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser, scope="openid profile")
    again = rp.authorize(browser, scope="openid profile")
    assert "code" in query(again)
    page = rp.authorize(browser, scope="openid profile email")
    text = page.get_data(as_text=True)
    assert 'value="email"' in text
    assert 'value="profile"' not in text
    tokens = rp.redeem(query(rp.decide(browser, page))["code"]).get_json()
    assert tokens["scope"] == "openid profile email"


def test_prompt_none_answers_without_a_page(rp, browser_of, bob, client):
    assert query(rp.authorize(client, prompt="none"))["error"] == "login_required"
    browser = browser_of(bob)
    assert query(rp.authorize(browser, prompt="none"))["error"] == "consent_required"
    rp.sign_in(browser)
    assert "code" in query(rp.authorize(browser, prompt="none"))
    assert query(rp.authorize(browser, prompt="none login"))["error"] == "invalid_request"


def test_prompt_consent_asks_again(rp, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser)
    assert rp.authorize(browser, prompt="consent").status_code == 200


def test_a_trusted_application_shows_no_consent_page_but_signs_in(app, alice, bob, browser_of):
    application, secret = make_application(alice, trusted=True)
    rp = RelyingApp(app.test_client(), application, secret)
    assert rp.authorize(app.test_client()).location.startswith("/login")
    assert "code" in query(rp.authorize(browser_of(bob)))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9999/cb", "com.example.app:/cb"])
def test_a_public_application_on_the_device_is_asked_every_time(app, alice, bob, browser_of, uri):
    application, _ = make_application(
        alice, confidential=False, redirect_uris=["http://127.0.0.1/cb", "com.example.app:/cb"]
    )
    rp = RelyingApp(app.test_client(), application, None, uri)
    browser = browser_of(bob)
    rp.sign_in(browser)
    assert rp.authorize(browser).status_code == 200


def test_a_consent_page_left_open_across_people_shares_nothing(rp, app, browser_of, bob, charlie):
    browser = browser_of(bob)
    page = rp.authorize(browser)
    other = browser_of(charlie)
    response = rp.decide(other, page)
    assert response.status_code == 400
    assert Consent.select().count() == 0


def test_a_consent_page_needs_its_csrf_token(rp, browser_of, bob):
    from tests.flows import form_fields

    browser = browser_of(bob)
    fields = form_fields(rp.authorize(browser).get_data(as_text=True))
    del fields["csrf_token"]
    assert browser.post("/oauth/consent", data={**fields, "decision": "allow"}).status_code == 400
    assert Consent.select().count() == 0


def test_a_consent_page_that_was_changed_is_refused(rp, browser_of, bob):
    from tests.flows import form_fields

    browser = browser_of(bob)
    fields = form_fields(rp.authorize(browser).get_data(as_text=True))
    fields["request"] = [fields["request"][0][:-2] + "xx"]
    response = browser.post("/oauth/consent", data={**fields, "decision": "allow"})
    assert response.status_code == 400
    assert "no longer valid" in response.get_data(as_text=True)


def test_a_posted_request_goes_on_as_a_get(rp, browser_of, bob):
    browser = browser_of(bob)
    response = browser.post("/oauth/authorize", data=rp.authorize_params(state="x y"))
    assert response.status_code == 303
    page = browser.get(response.location)
    assert page.status_code == 200
    assert query(rp.decide(browser, page))["state"] == "x y"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'co"de\u00e9'}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "openid admin:all"}, "invalid_scope"),
        ({"scope": 'a"b\u00e9'}, "invalid_scope"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "c" * 43 + "\n"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
        ({"request_uri": "https://app.example.org/r"}, "request_uri_not_supported"),
    ],
)
def test_a_bad_request_goes_back_with_the_error(rp, browser_of, bob, changes, error):
    response = rp.authorize(browser_of(bob), **changes)
    assert response.location.startswith("https://app.example.org/callback?")
    answer = query(response)
    assert answer["error"] == error
    assert answer["state"] == "st4te"
    assert answer["iss"] == ISSUER
    assert answer["error_description"].isascii()


@pytest.mark.parametrize("sent", ["http://localhost:9137/callback", None, ""])
def test_without_the_flow_the_page_says_so_and_leads_nowhere(app, alice, client, sent):
    service, _ = make_application(
        alice, grants=["client_credentials"], redirect_uris=[], scopes=[], name="Night job"
    )
    page = RelyingApp(client, service).authorize(client, redirect_uri=sent)
    assert page.status_code == 400
    assert "Location" not in page.headers
    assert "Nobody can sign in to this application here" in page.text
    assert "Authorisation Code is off" in page.text
    assert "redirect URI" not in page.text
    refusal = Refusal.get()
    assert (refusal.reason, refusal.detail) == ("grant_code_off", sent or "")


def test_without_the_flow_only_a_registered_address_hears_of_it(rp, client):
    rp.application.change(grants=["client_credentials"])
    assert query(rp.authorize(client))["error"] == "unauthorized_client"
    assert rp.authorize(client, redirect_uri="https://evil.example.org/").status_code == 400


def test_a_repeated_parameter_is_refused(rp, browser_of, bob):
    params = [*rp.authorize_params().items(), ("scope", "email")]
    response = browser_of(bob).get("/oauth/authorize", query_string=params)
    assert query(response)["error"] == "invalid_request"
    for name in ("client_id", "redirect_uri"):
        params = [*rp.authorize_params().items(), (name, "https://evil.example.org/")]
        response = browser_of(bob).get("/oauth/authorize", query_string=params)
        assert response.status_code == 400
        assert "Location" not in response.headers


BAD_ADDRESSES = [
    "https://evil.example.org/callback",
    "http://app.example.org/callback",
    "https://app.example.org/callback/",
    "https://app.example.org/Callback",
    "https://app.example.org:8443/callback",
    "https://app.example.org/callback?x=1",
    "https://app.example.org/callback#x",
    "https://user@app.example.org/callback",
    "https://app.example.org@evil.example.org/callback",
    "https://app.example.org/callback/../evil",
    "https://app.example.org/%63allback",
    "https://app.example.org\\@evil.example.org/callback",
    "https://app.example.org/callback\t",
    "https://app.example.org/call\r\nback",
    "//app.example.org/callback",
    "/callback",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "https://@@@@/",
    "http://[",
    "\u00e9",
    '"',
]


@pytest.mark.parametrize("uri", BAD_ADDRESSES)
def test_nothing_goes_to_an_address_that_is_not_registered(rp, browser_of, bob, uri):
    response = rp.authorize(browser_of(bob), redirect_uri=uri)
    assert response.status_code == 400
    assert "Location" not in response.headers
    text = response.get_data(as_text=True)
    assert "is set up wrongly" in text
    assert "the redirect URI does not match" in text
    assert "<script>alert" not in text
    refusal = Refusal.get()
    assert refusal.reference in text
    assert refusal.application_id == rp.application.id
    # People never see the registered addresses.
    assert "app.example.org" not in text


def test_an_administrator_sees_sent_and_saved_side_by_side(rp, browser_of, alice):
    response = rp.authorize(browser_of(alice), redirect_uri="https://app.example.org/callback/")
    text = response.get_data(as_text=True)
    assert "Saved" in text
    assert "A trailing slash was added." in text
    assert f"/admin/applications/{rp.client_id}" in text


@pytest.mark.parametrize("client_id", ["nobody", "\x00", "\u00e9\u00e9", '"><script>', "x" * 5000])
def test_an_unknown_application_is_a_page(app, rp, browser_of, bob, client_id):
    response = rp.authorize(browser_of(bob), client_id=client_id)
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert "<script>" not in response.get_data(as_text=True).split("</head>")[1]


def test_a_disabled_application_is_a_page(rp, browser_of, bob):
    rp.application.disable()
    response = rp.authorize(browser_of(bob))
    assert response.status_code == 400
    assert "switched off" in response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("registered", "sent"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51234/cb"),
        ("http://localhost/cb", "http://localhost:51234/cb"),
        ("http://[::1]/cb", "http://[::1]:51234/cb"),
    ],
)
def test_on_loopback_only_the_port_may_differ(app, alice, bob, browser_of, registered, sent):
    application, _ = make_application(alice, confidential=False, redirect_uris=[registered])
    rp = RelyingApp(app.test_client(), application, None, sent)
    assert rp.sign_in(browser_of(bob))["access_token"]
    for other in (
        sent.replace("/cb", "/other"),
        sent.replace("http:", "https:"),
        "http://127.0.0.1.evil.com/cb",
        "http://localhost.evil.com/cb",
        "http://0x7f.1/cb",
    ):
        assert rp.authorize(browser_of(bob), redirect_uri=other).status_code == 400


def test_the_only_saved_address_may_be_left_out(rp, browser_of, bob):
    browser = browser_of(bob)
    response = rp.decide(browser, rp.authorize(browser, redirect_uri=None))
    assert response.location.startswith("https://app.example.org/callback?code=")
    assert rp.redeem(query(response)["code"], redirect_uri=None).status_code == 200


def test_which_of_two_addresses_must_be_said(app, alice, bob, browser_of):
    application, secret = make_application(
        alice, redirect_uris=["https://a.example.org/cb", "https://b.example.org/cb"]
    )
    rp = RelyingApp(app.test_client(), application, secret)
    assert rp.authorize(browser_of(bob), redirect_uri=None).status_code == 400


def test_the_registered_query_is_kept(app, alice, bob, browser_of):
    uri = "https://app.example.org/cb?dummy1=lorem&dummy2=ipsum%20x"
    application, secret = make_application(alice, redirect_uris=[uri])
    rp = RelyingApp(app.test_client(), application, secret, uri)
    browser = browser_of(bob)
    response = rp.decide(browser, rp.authorize(browser))
    assert response.location.startswith(uri + "&code=")


def test_a_very_long_state_comes_back(rp, browser_of, bob):
    browser = browser_of(bob)
    state = "s" * 10_000
    assert query(rp.decide(browser, rp.authorize(browser, state=state)))["state"] == state


def test_pages_that_go_back_to_the_application_send_no_form_action(rp, browser_of, bob):
    policy = rp.authorize(browser_of(bob)).headers["Content-Security-Policy"]
    assert "form-action" not in policy
    assert "frame-ancestors 'none'" in policy


def test_a_disabled_person_is_signed_out(rp, browser_of, bob):
    browser = browser_of(bob)
    bob.disable()
    assert rp.authorize(browser).location.startswith("/login")


def test_remembered_consent_costs_few_statements(rp, browser_of, bob, statements):
    browser = browser_of(bob)
    rp.sign_in(browser)
    with statements() as seen:
        assert "code" in query(rp.authorize(browser))
    assert len(seen) <= 6, seen


def test_two_people_do_not_share_a_consent(rp, app, browser_of, bob):
    rp.sign_in(browser_of(bob))
    eve = make_user("eve")
    assert rp.authorize(browser_of(eve)).status_code == 200


def ticks(page) -> dict[str, bool]:
    """The scopes that a consent page asks for, and whether each is ticked."""
    boxes = re.findall(
        r'<input type="checkbox"[^>]*name="scope"[^>]*>', page.get_data(as_text=True)
    )
    return {re.search('value="([^"]+)"', box)[1]: " checked" in box for box in boxes}


def test_who_is_asked_again_finds_the_last_decision(rp, browser_of, bob):
    browser, scope = browser_of(bob), "openid profile email reports:write"
    page = rp.authorize(browser, scope=scope)
    assert ticks(page) == {"profile": True, "email": True, "reports:write": False}
    rp.decide(browser, page, ticked=["openid", "email", "reports:write"])
    decided = {"profile": False, "email": True, "reports:write": True}
    assert ticks(rp.authorize(browser, scope=scope, prompt="consent")) == decided
    Consent.ask_again(bob.id, rp.application.id)
    assert ticks(rp.authorize(browser, scope=scope)) == {"profile": False}


def test_the_consent_page_names_all_that_the_profile_tells(rp, browser_of, bob):
    told = "your name, username, gender and date of birth."
    page = rp.authorize(browser_of(bob)).get_data(as_text=True)
    assert "your name and username." in page
    bob.profile = json.dumps({"gender": "x", "birthdate": "1999-12-31"})
    bob.save()
    assert told in rp.authorize(browser_of(bob)).get_data(as_text=True)


def test_a_method_without_its_challenge_is_called_missing(rp, browser_of, bob):
    told = query(rp.authorize(browser_of(bob), code_challenge=None))["error_description"]
    assert told.startswith("PKCE is required: send code_challenge")


def test_no_claim_of_the_profile_is_without_a_word():
    assert set(PROFILE) - set(PROFILE_WORDS) == {"name", "updated_at"}


def test_a_program_that_may_be_another_finds_nothing_sensitive_ticked(app, rp, browser_of, bob):
    public, _ = make_application(
        rp.application.owner,
        name="Desktop",
        confidential=False,
        redirect_uris=["http://127.0.0.1/cb"],
        scopes=["openid", "profile", "reports:write"],
    )
    desktop = RelyingApp(app.test_client(), public, "")
    wish = {"scope": "openid profile reports:write", "redirect_uri": "http://127.0.0.1:5000/cb"}
    browser = browser_of(bob)
    desktop.decide(browser, desktop.authorize(browser, **wish), ticked=["openid", "reports:write"])
    again = {"profile": False, "reports:write": False}
    assert ticks(desktop.authorize(browser, **wish)) == again
