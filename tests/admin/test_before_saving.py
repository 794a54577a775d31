"""Before an edit takes something away, its page says from whom; what it says then happens."""

import re
from html import unescape

import pytest

from portal.clock import now
from portal.models import Application, Consent, Refusal, Usage
from portal.models.application import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN
from portal.models.usage import FLOW, SCOPE, SINCE, SINCE_ID, today
from portal.models.usage import REDIRECT_URI as ADDRESS
from portal.oauth import effects, in_use
from portal.oauth.refusals import REDIRECT_URI_MISMATCH
from portal.text import date
from tests.engines import on_both_engines
from tests.factories import (
    REDIRECT_URI,
    csrf_token,
    hidden_fields,
    make_application,
    make_scope,
    make_user,
    save_anyway,
)
from tests.flows import RelyingApp

OTHER = "https://new.example.org/callback"


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    make_scope("reports:read")
    application, secret = make_application(
        alice,
        grants=[AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN],
        scopes=["openid", "profile", "reports:read"],
    )
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


def form_of(application: Application, **changes) -> dict:
    fields = {
        "seen": str(application.version),
        "name": application.name,
        "owner": "alice",
        "grants": [grant for grant in application.grants if grant != REFRESH_TOKEN],
        "refresh_tokens": "y",
        "redirect_uris": "\n".join(application.redirect_uris),
        "scopes": application.scopes,
        "confidential": "y",
        "require_pkce": ["", "y"],
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def send(browser, rp, **changes):
    path = f"/admin/applications/{rp.client_id}/edit"
    fresh = Application.with_client_id(rp.client_id)
    form = {"csrf_token": csrf_token(browser, path), **form_of(fresh, **changes)}
    return browser.post(path, data=form)


def words(response) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def saved(rp) -> Application:
    return Application.with_client_id(rp.client_id)


@on_both_engines
def test_removing_an_address_says_how_often_it_served(rp, browser, browser_of, bob, charlie):
    for person in (bob, charlie):
        rp.sign_in(browser_of(person))
    page = send(browser, rp, redirect_uris=OTHER)
    assert page.status_code == 200
    assert f"{REDIRECT_URI} served 2 sign-ins in the last 30 days." in words(page)
    assert saved(rp).redirect_uris == [REDIRECT_URI]
    assert save_anyway(browser, page).status_code == 303
    assert saved(rp).redirect_uris == [OTHER]


def test_what_takes_nothing_away_is_saved_at_once(rp, browser):
    assert send(browser, rp, name="Renamed").status_code == 303
    more = f"{REDIRECT_URI}\n{OTHER}"
    assert send(browser, rp, redirect_uris=more).status_code == 303
    assert saved(rp).redirect_uris == [REDIRECT_URI, OTHER]


def test_going_back_keeps_what_was_typed(rp, browser):
    page = send(browser, rp, name="My “new” name", redirect_uris=f"{OTHER}\r\n", scopes=["openid"])
    back = browser.post(page.request.path, data={**hidden_fields(page), "back": "y"})
    assert back.status_code == 200
    assert 'value="My “new” name"' in back.text
    assert OTHER in back.text
    assert (
        REDIRECT_URI
        not in re.search(r"<textarea[^>]*redirect_uris.*?</textarea>", back.text, re.S)[0]
    )
    assert re.search(r'value="openid"[^>]*checked', back.text)
    assert not re.search(r'value="profile"[^>]*checked', back.text)
    assert saved(rp).name == rp.application.name


@pytest.mark.parametrize(
    "changes",
    [
        {"confirmed": "y"},
        {"confirmed": ""},
        {"redirect_uris": "https://mallory.example.org/"},
        {"scopes": ["openid"]},
        {"owner": "bob"},
        {"trusted": "y", "trust_reason": "x", "trust_confirm": "Acme Reports"},
    ],
)
def test_only_what_was_shown_is_saved(rp, browser, bob, changes):
    page = send(browser, rp, redirect_uris=OTHER)
    again = browser.post(page.request.path, data={**hidden_fields(page), **changes})
    assert again.status_code == 200
    assert "Nothing is saved yet" in words(again)
    assert saved(rp).version == rp.application.version


def test_another_persons_confirmation_counts_for_nothing(rp, browser, browser_of):
    page = send(browser, rp, redirect_uris=OTHER)
    other = browser_of(make_user("erin", is_admin=True))
    fields = {**hidden_fields(page), "csrf_token": csrf_token(other, page.request.path)}
    assert "Nothing is saved yet" in words(other.post(page.request.path, data=fields))


def test_who_was_overtaken_while_reading_saves_nothing(rp, browser):
    page = send(browser, rp, redirect_uris=OTHER)
    saved(rp).change(name="By another")
    late = save_anyway(browser, page)
    assert late.status_code == 422
    assert "changed by somebody else" in words(late)
    assert saved(rp).redirect_uris == [REDIRECT_URI]


@on_both_engines
def test_a_scope_is_lost_by_those_who_have_it_and_as_the_page_says(
    rp, browser, browser_of, bob, charlie
):
    scopes = "openid reports:read"
    tokens = rp.sign_in(browser_of(bob), ticked=scopes.split(), scope=scopes)
    rp.sign_in(browser_of(charlie), scope="openid")
    page = send(browser, rp, scopes=["openid", "profile"])
    assert "reports:read was given at 1 sign-in in the last 30 days." in words(page)
    assert "1 person loses it." in words(page)
    assert save_anyway(browser, page).status_code == 303
    # The access token keeps it, a refresh leaves it out, and whoever asks for it is refused.
    assert "reports:read" in rp.introspect(tokens["access_token"])["scope"]
    assert rp.refresh(tokens["refresh_token"]).get_json()["scope"] == "openid"
    assert "invalid_scope" in rp.authorize(browser_of(bob), scope=scopes).location


def test_refresh_tokens_that_are_switched_off_are_refused(rp, browser, browser_of, bob):
    tokens = rp.sign_in(browser_of(bob))
    page = send(browser, rp, refresh_tokens=None)
    assert "1 person stays signed in by them now." in words(page)
    save_anyway(browser, page)
    assert rp.refresh(tokens["refresh_token"]).status_code == 400
    assert rp.is_active(tokens["access_token"])


def test_a_flow_that_is_unticked_leaves_refresh_tokens_alone(rp, browser, browser_of, bob):
    made = saved(rp)
    made.change(grants=[*made.grants, "urn:ietf:params:oauth:grant-type:device_code"])
    tokens = rp.sign_in(browser_of(bob))
    page = send(
        browser, rp, grants=["urn:ietf:params:oauth:grant-type:device_code"], redirect_uris=""
    )
    text = words(page)
    assert "Authorisation Code served 1 sign-in" in text
    assert "Client Credentials was not used in the last 30 days." in text
    save_anyway(browser, page)
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_becoming_public_says_how_many_secrets_die(rp, browser):
    page = send(
        browser, rp, confidential=None, grants=[AUTHORIZATION_CODE], scopes=["openid", "profile"]
    )
    assert "1 secret stops working at once" in words(page)


def test_a_pairwise_number_hangs_on_the_host(rp, browser, browser_of, bob):
    saved(rp).change(subject_type="pairwise")
    before = rp.introspect(rp.sign_in(browser_of(bob))["access_token"])["sub"]
    same_host = REDIRECT_URI.replace("/callback", "/other")
    page = send(browser, rp, redirect_uris=same_host, subject_type="pairwise")
    assert "Account numbers" not in words(page)
    page = send(browser, rp, redirect_uris=OTHER, subject_type="pairwise")
    assert "Account numbers change at once. They depend on the host" in words(page)
    assert "1 person is connected." in words(page)
    save_anyway(browser, page)
    rp.redirect_uri = OTHER
    assert rp.introspect(rp.sign_in(browser_of(bob))["access_token"])["sub"] != before


def test_every_other_loss_is_told(rp):
    made = saved(rp)
    made.change(
        trusted=True,
        trust_reason="Ours",
        require_pkce=False,
        resource_server=True,
        token_format="jwt",
        resources=["https://api.example.org"],
        post_logout_redirect_uris=["https://app.example.org/bye"],
        backchannel_logout_uri="https://app.example.org/out",
    )
    wanted = {
        "trusted": False,
        "require_pkce": True,
        "resource_server": False,
        "token_format": "opaque",
        "id_token_alg": "ES256",
        "resources": [],
        "post_logout_redirect_uris": [],
        "backchannel_logout_uri": "",
    }
    for name, value in wanted.items():
        assert len(effects.of_change(made, {name: value}, 900)) == 1, name
    backwards = Application.with_client_id(rp.client_id)
    backwards.change(**wanted)
    harmless = {"require_pkce": False, "resource_server": True, "resources": ["https://api.x"]}
    assert effects.of_change(backwards, harmless, 900) == []


def test_less_than_thirty_days_are_named(rp, browser):
    row = {"application_id": SINCE_ID, "day": today(), "kind": SINCE, "count": 0}
    Usage.create(**row, value=str(now() - 86400))
    assert f"served no sign-in since {date(now() - 86400)}." in words(
        send(browser, rp, redirect_uris=OTHER)
    )


def test_many_people_are_not_counted_to_the_end(rp, browser, monkeypatch):
    monkeypatch.setattr(in_use, "MOST_PEOPLE", 3)
    for user_id in range(5):
        Consent.give(user_id, rp.application.id, ["profile"], ["profile"])
    assert "3+ people lose it." in words(send(browser, rp, scopes=["openid", "reports:read"]))


def test_disabling_and_deleting_say_whom_they_hit(rp, browser, browser_of, bob):
    rp.sign_in(browser_of(bob))
    rp.token("client_credentials", scope="reports:read")
    rp.http.application.extensions["portal.oauth"].usage.write()
    rp.http.application.extensions["portal.oauth"].uses.write()
    for page in ("", "/delete"):
        text = words(browser.get(f"/admin/applications/{rp.client_id}{page}"))
        assert "1 person is connected and loses access at once." in text
        assert "It served 1 sign-in in the last 30 days." in text
        assert f"It last got a token for itself on {date(now())}." in text


def test_hostile_text_is_escaped(rp, browser):
    evil = '"><script>alert(1)</script>'
    page = send(browser, rp, name=evil, redirect_uris=OTHER)
    assert page.status_code == 200
    assert "<script>alert" not in page.text


def test_a_scope_of_another_case_is_another(rp):
    Consent.give(1, rp.application.id, ["Profile", "profiles"], [])
    (effect,) = effects.of_change(rp.application, {"scopes": ["openid", "reports:read"]}, 900)
    assert "Nobody loses it." in str(effect)


def test_kinds_are_told_apart(rp):
    for kind, value in ((SCOPE, "profile"), (FLOW, "profile")):
        Usage.create(application_id=rp.application.id, day=today(), kind=kind, value=value, count=2)
    rp.application.machine_days = {"profile": 20_000}
    (effect,) = effects.of_change(rp.application, {"scopes": ["openid", "reports:read"]}, 900)
    assert "given at 2 sign-ins" in str(effect)
    assert "The application last took it for itself on 4 October 2024." in str(effect)
    assert ADDRESS not in str(effect)


def test_deleting_a_scope_says_who_uses_it(rp, browser, browser_of, bob, alice):
    make_application(alice, name="Idle", scopes=["reports:read"])
    scopes = "openid reports:read"
    rp.sign_in(browser_of(bob), ticked=scopes.split(), scope=scopes)
    rp.token("client_credentials", scope="reports:read")
    rp.http.application.extensions["portal.oauth"].usage.write()
    rp.http.application.extensions["portal.oauth"].uses.write()
    text = words(browser.get("/admin/scopes/reports:read/delete"))
    both = f"given at 1 sign-in in the last 30 days and last taken for itself on {date(now())}"
    assert f"{rp.application.name} : {both}" in text
    assert "Idle : not used in the last 30 days" in text


def test_replacing_an_address_from_the_doctor_says_how_often_it_served(
    rp, browser, browser_of, bob
):
    rp.sign_in(browser_of(bob))
    rp.http.application.extensions["portal.oauth"].usage.write()
    reference = Refusal.note(rp.application.id, REDIRECT_URI_MISMATCH.code, OTHER)
    text = words(browser.get(f"/admin/doctor/{reference}/replace"))
    assert "It served 1 sign-in in the last 30 days." in text


def test_disabling_a_person_says_what_it_cuts_off(rp, browser, browser_of, bob):
    rp.sign_in(browser_of(bob))
    text = words(browser.get("/admin/users/bob"))
    assert "It ends 1 session and cuts off 1 connected app." in text
    assert "cuts off 1 connected app." in words(browser.get("/admin/users/bob/delete"))
