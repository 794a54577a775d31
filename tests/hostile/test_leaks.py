"""Ways to get more than was allowed, to be told who somebody is, or to keep the server busy."""

import base64
import json
import re
from dataclasses import replace

import pytest

from portal import create_app, fetch
from portal.database import database
from portal.models import (
    Application,
    AuditEvent,
    Consent,
    OneTimeLink,
    Scope,
    Session,
    TokenFamily,
    User,
)
from portal.oauth.grants import refresh_token
from tests.factories import PASSWORD, csrf_token, make_application, make_scope, post, sign_in
from tests.flows import RelyingApp, query
from tests.hostile.conftest import ALL_GRANTS
from tests.hostile.test_at_rest import walk_every_flow


def claims_of(token: str) -> dict:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def an_app(app, owner, name: str, redirect_uri: str, **fields) -> RelyingApp:
    application, secret = make_application(owner, name=name, redirect_uris=[redirect_uri], **fields)
    return RelyingApp(app.test_client(), application, secret, redirect_uri)


# Scopes: what the person or the administrator took away


def test_scopes_a_page_left_open_does_not_revive_what_was_withdrawn(rp, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser, scope="openid profile")
    page = rp.authorize(browser, scope="openid profile email")
    Consent.withdraw(bob.id, rp.application.id)
    code = query(rp.decide(browser, page))["code"]
    assert rp.redeem(code).get_json()["scope"] == "email"
    assert Consent.of(bob.id, rp.application.id).scopes == ["email"]


def test_scopes_what_the_page_did_not_show_is_not_granted(rp, browser_of, bob):
    """The application gets a scope after the page was shown; a claim by name would need it."""
    browser = browser_of(bob)
    User.update(profile='{"phone_number": "+442079460000"}').where(User.id == bob.id).execute()
    page = rp.authorize(browser, scope="openid", claims='{"userinfo":{"phone_number":null}}')
    rp.application.change(scopes=[*rp.application.scopes, "phone"])
    tokens = rp.redeem(query(rp.decide(browser, page))["code"]).get_json()
    answer = rp.http.get("/oauth/userinfo", headers=bearer(tokens["access_token"])).get_json()
    assert set(answer) == {"sub"}


def test_scopes_a_claim_by_name_alone_is_no_grant(rp, browser_of, bob):
    browser = browser_of(bob)
    page = rp.authorize(browser, scope="profile", claims='{"userinfo":{"email":null}}')
    assert query(rp.decide(browser, page, ticked=["email"]))["error"] == "access_denied"


def test_scopes_a_deleted_one_is_not_refreshed(rp, browser_of, bob):
    make_scope("files:read")
    rp.application.change(scopes=[*rp.application.scopes, "files:read"])
    browser = browser_of(bob)
    both = rp.sign_in(browser, scope="openid files:read")
    alone = rp.sign_in(browser, scope="files:read")
    Scope.get_by_id("files:read").remove()
    assert rp.refresh(both["refresh_token"]).get_json()["scope"] == "openid"
    assert rp.refresh(alone["refresh_token"]).get_json()["error"] == "invalid_scope"


def test_scopes_the_token_endpoint_widens_nothing(rp, browser_of, bob):
    browser = browser_of(bob)
    page = rp.authorize(browser, scope="openid")
    code = query(rp.decide(browser, page))["code"]
    assert rp.redeem(code, scope="openid email").get_json()["scope"] == "openid"


def test_resources_one_that_left_the_list_is_not_refreshed(rp, browser_of, bob):
    one, two = "https://one.example", "https://two.example"
    rp.application.change(resources=[one, two], token_format="jwt")
    browser = browser_of(bob)
    both = rp.sign_in(browser, resource=f"{one} {two}")
    alone = rp.sign_in(browser, resource=one)
    Application.get_by_id(rp.application.id).change(resources=[two])
    refreshed = rp.refresh(both["refresh_token"]).get_json()
    assert claims_of(refreshed["access_token"])["aud"] == two
    assert rp.refresh(alone["refresh_token"]).get_json()["error"] == "invalid_target"


# Codes, client authentication, refresh


def test_codes_another_redirect_uri_than_the_default_is_refused(rp, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser)
    for sent, status in (("https://evil.example/cb", 400), (rp.redirect_uri, 200), (None, 200)):
        code = query(rp.authorize(browser, redirect_uri=None))["code"]
        assert rp.redeem(code, redirect_uri=sent).status_code == status


def test_client_authentication_a_retired_secret_starts_no_device_in_a_warm_process(rp):
    assert rp.post("/oauth/device_authorization", {"scope": "openid"}).status_code == 200
    Application.get_by_id(rp.application.id).rotate_secret()
    assert rp.post("/oauth/device_authorization", {"scope": "openid"}).status_code == 401


@pytest.mark.parametrize("client_id", ["%00", "a%00b", "%ed%a0%80"])
def test_client_authentication_a_nul_behind_percent_encoding_is_a_401(rp, client_id):
    value = base64.b64encode(f"{client_id}:x".encode()).decode()
    answer = rp.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": f"Basic {value}"},
    )
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_refresh_a_confidential_application_must_prove_itself(rp, browser_of, bob):
    tokens = rp.sign_in(browser_of(bob))
    answer = rp.http.post(
        "/oauth/token",
        data={
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "client_id": rp.client_id,
        },
    )
    assert answer.status_code == 401
    assert rp.is_active(tokens["refresh_token"])


def test_refresh_a_guess_about_a_long_line_costs_little(rp, browser_of, bob, monkeypatch):
    tokens = rp.sign_in(browser_of(bob))
    TokenFamily.update(rotations=10**6).execute()
    steps = []

    def counted(secret, key):
        steps.append(secret)
        return "x"

    monkeypatch.setattr(refresh_token, "successor", counted)
    guess = tokens["refresh_token"][:-43] + "A" * 43
    assert rp.refresh(guess).get_json()["error"] == "invalid_grant"
    assert len(steps) <= refresh_token.KNOWN_ROTATIONS


# Tokens of one kind in the place of another


def test_kinds_of_token_are_never_swapped(rp, browser_of, bob):
    rp.application.change(token_format="jwt")
    browser = browser_of(bob)
    tokens = rp.sign_in(browser)
    id_token, access_token = tokens["id_token"], tokens["access_token"]
    for wrong in (id_token, tokens["refresh_token"]):
        assert rp.http.get("/oauth/userinfo", headers=bearer(wrong)).status_code == 401
    assert rp.introspect(id_token) == {"active": False}
    for wrong in (id_token, access_token):
        assert rp.refresh(wrong).get_json()["error"] == "invalid_grant"
        assert rp.redeem(wrong).get_json()["error"] == "invalid_grant"
    assert query(rp.authorize(browser, id_token_hint=access_token))["error"] == "invalid_request"


# Who somebody is


def test_introspection_names_people_only_with_their_profile(app, alice, rp, browser_of, bob):
    browser = browser_of(bob)
    bare = rp.sign_in(browser, scope="openid")["access_token"]
    full = rp.sign_in(browser, scope="openid profile")["access_token"]
    assert "username" not in rp.introspect(bare)
    assert rp.introspect(full)["username"] == "bob"
    application, secret = make_application(alice, name="API", resource_server=True)
    server = RelyingApp(app.test_client(), application, secret)
    assert server.introspect(bare)["username"] == "bob"
    Application.get_by_id(rp.application.id).change(subject_type="pairwise")
    answer = server.introspect(bare)
    assert "username" not in answer
    assert answer["sub"] != bob.sub


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("https://one.example/cb", "https://two.example/cb"),
        ("http://localhost/cb", "http://localhost/cb"),
        ("com.one.app://callback", "com.two.app://callback"),
    ],
)
def test_pairwise_applications_share_neither_sub_nor_sid(app, alice, browser_of, bob, one, two):
    browser, public = browser_of(bob), one.startswith("com.")
    found = []
    for name, uri in (("One", one), ("Two", two)):
        rp = an_app(app, alice, name, uri, subject_type="pairwise", confidential=not public)
        claims = claims_of(rp.sign_in(browser, scope="openid")["id_token"])
        again = claims_of(rp.sign_in(browser, scope="openid")["id_token"])
        assert (claims["sub"], claims["sid"]) == (again["sub"], again["sid"])
        found += [claims["sub"], claims["sid"]]
    assert len(set(found)) == 4


# Fetches, text, logs


@pytest.mark.parametrize(
    "address",
    ["64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "::7f00:1", "fec0::1", "::ffff:a00:1"],
)
def test_fetches_an_address_that_hides_a_private_one_is_refused(monkeypatch, address):
    found = [(0, 0, 0, "", (address, 443))]
    monkeypatch.setattr(fetch.socket, "getaddrinfo", lambda *_args, **_more: found)
    with pytest.raises(fetch.FetchError, match="private address"):
        fetch.post_form("https://app.example/logout", {})


def test_text_half_a_character_in_json_is_no_failure(rp, browser_of, bob):
    claims = '{"id_token":{"acr":{"essential":true,"values":["\\ud800"]}}}'
    answer = query(rp.authorize(browser_of(bob), claims=claims))
    assert answer["error"] == "unmet_authentication_requirements"


def test_logs_a_failure_does_not_show_the_secret_of_a_link(client, caplog, monkeypatch):
    def fail(secret):
        raise RuntimeError

    monkeypatch.setattr(OneTimeLink, "find", fail)
    assert client.get("/reset/a-secret-of-somebody").status_code == 500
    assert "/reset/<secret>" in caplog.text
    assert "a-secret-of-somebody" not in caplog.text


def test_sessions_an_old_hash_does_not_come_back_over_a_new_password(bob, monkeypatch):
    """Somebody signs in with the old password while it is changed."""

    def slow(stored):
        User.get_by_id(bob.id).set_password("a quite different password")
        return True

    monkeypatch.setattr("portal.models.user.password_needs_rehash", slow)
    assert bob.password_fits(PASSWORD)
    monkeypatch.undo()
    assert not User.get_by_id(bob.id).password_fits(PASSWORD)


def test_sessions_a_redirect_after_a_post_is_a_303(rp, client, browser_of, bob):
    signed_in = post(client, "/login", {"username": "bob", "password": PASSWORD})
    decided = rp.decide(client, rp.authorize(client))
    posted = client.post("/oauth/authorize", data=rp.authorize_params())
    left = post(client, "/logout")
    for response in (signed_in, decided, posted, left):
        assert response.status_code == 303


@pytest.mark.parametrize(
    ("hops", "address"), [(0, "127.0.0.1"), (1, "198.51.100.9"), (2, "203.0.113.5")]
)
def test_sessions_only_the_proxies_in_front_are_believed(settings, bob, hops, address):
    database.close()  # the app that follows opens its own
    browser = create_app(replace(settings, proxy_hops=hops)).test_client()
    forwarded = {"X-Forwarded-For": "10.6.6.6, 203.0.113.5, 198.51.100.9"}
    who = {"username": "bob", "password": PASSWORD}
    assert post(browser, "/login", who, headers=forwarded).status_code == 303
    assert Session.get().address == address


def try_in_the_tester(app, rp, alice) -> dict[str, str]:
    browser, secret = sign_in(app.test_client(), alice), rp.application.add_secret()
    page = f"/admin/tester/{rp.client_id}"
    fields = {"secret": secret, "method": "client_secret_basic"}
    answer = post(browser, f"{page}/client-credentials", fields, f"{page}?flow=client-credentials")
    assert answer.status_code in (200, 303)
    return {"tester's secret": secret}


def make_and_retire_a_secret(app, rp, alice) -> dict[str, str]:
    browser, page = sign_in(app.test_client(), alice), f"/admin/secrets/{rp.client_id}"
    secret = re.search(r"pcs_[A-Za-z0-9_-]{43}", post(browser, page, {"name": "CI"}).text)[0]
    row = next(row for row in rp.application.live_secrets if secret.startswith(row.prefix))
    assert post(browser, f"{page}/{row.id}/retire", page=page).status_code == 303
    return {"added secret": secret}


@pytest.mark.parametrize("form", ["text", "json"])
def test_logs_nothing_that_was_issued_is_in_them_at_any_level(
    settings, configured, capsys, alice, bob, charlie, monkeypatch, form
):
    """Everything is switched on, and every flow is walked, right and wrong."""
    loud = {"log": form, "log_level": "debug", "access_log": 1, "metrics_token": "m" * 40}
    database.close()
    app = create_app(replace(settings, **loud))
    configured(**loud)
    rp = an_app(app, alice, "Wiki", "https://app.example.org/callback", grants=ALL_GRANTS)
    secrets = walk_every_flow(app, rp, lambda user: sign_in(app.test_client(), user), alice, bob)
    browser = sign_in(app.test_client(), charlie)
    secrets["changed password"] = "another new password 2"
    for current in ("not the current password", PASSWORD):
        fields = {"current_password": current, "new_password": secrets["changed password"]}
        post(browser, "/account/password", fields)
    secrets["wrong current password"] = "not the current password"
    secrets["csrf token"] = csrf_token(browser, "/account/password")
    secrets["cookie"] = browser.get_cookie("portal_session").value
    rp.http.get("/oauth/userinfo", headers=bearer(secrets["access token"]))
    rp.http.get("/metrics", headers=bearer(loud["metrics_token"]))
    secrets["metrics token"], secrets["secret key"] = loud["metrics_token"], settings.secret_key
    monkeypatch.setattr(OneTimeLink, "find", lambda secret: 1 / 0)
    secrets["dead link"] = "a-secret-of-somebody"
    assert browser.get(f"/reset/{secrets['dead link']}").status_code == 500
    secrets |= try_in_the_tester(app, rp, alice)
    secrets |= make_and_retire_a_secret(app, rp, alice)
    everything = "".join(capsys.readouterr())
    assert "/oauth/token" in everything
    assert "ZeroDivisionError" in everything
    rows = repr(list(AuditEvent.select().tuples()))
    for name in ("secret.retired", "person.signed_in", "application.tested", "device.approved"):
        assert name in rows
    admin = sign_in(app.test_client(), alice)
    told = {
        "the log": everything,
        "the audit log": rows,
        **{end: admin.get(f"/admin/audit/events.{end}").text for end in ("csv", "jsonl")},
        "audit list": app.test_cli_runner().invoke(args=["audit", "list", "--json"]).output,
        "the export": app.test_cli_runner().invoke(args=["application", "export"]).output,
    }
    for what, value in secrets.items():
        for part in {value, value.partition(".")[2] or value}:
            for where, text in told.items():
                assert part not in text, f"the {what} is in {where}"
