"""Pages and metadata under attack: odd hosts, odd addresses, odd text that somebody stored."""

from urllib.parse import quote

import pytest

from portal.models import Application, Refusal, User
from tests.conftest import ISSUER
from tests.factories import PASSWORD, csrf_token, make_application, make_scope, post
from tests.flows import RelyingApp
from tests.hostile.attack import SCRIPT, assert_harmless, cookie_of, send

NEXT = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "/\t/evil.example/",
    "\t//evil.example/",
    " //evil.example/",
    "/\n/evil.example/",
    "/\r\nLocation: https://evil.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "http:evil.example",
    "https:///evil.example",
    "evil.example",
    "@evil.example",
    "/%2f/evil.example/..",
    "//[",
    "/\x00//evil.example",
    "\u2044\u2044evil.example",
]
FORGED = {
    "HTTP_HOST": "evil.example",
    "HTTP_X_FORWARDED_HOST": "evil.example",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_PORT": "444",
    "HTTP_X_FORWARDED_PREFIX": "/evil.example",
    "HTTP_X_FORWARDED_SERVER": "evil.example",
    "HTTP_X_ORIGINAL_URL": "//evil.example/",
    "HTTP_FORWARDED": "host=evil.example;proto=https",
}


@pytest.mark.parametrize("target", NEXT)
def test_sessions_next_never_leaves_the_portal(app, bob, target):
    browser = app.test_client()
    query = {"next": target}
    token = csrf_token(browser, "/login?next=" + quote(target))
    fields = {"csrf_token": token, "username": "bob", "password": PASSWORD}
    response = browser.post("/login", query_string=query, data={**fields, "next": target})
    assert response.status_code == 303
    assert_harmless(response)
    assert_harmless(browser.get("/login", query_string=query))
    token = csrf_token(browser, "/logout")
    response = browser.post("/logout", data={"csrf_token": token, "next": target})
    assert response.status_code == 303
    assert_harmless(response)


def test_metadata_is_built_from_the_issuer_alone(app):
    path = "/.well-known/oauth-authorization-server"
    response = send(app, "GET", path, **FORGED)
    assert response.get_json()["issuer"] == ISSUER
    assert "evil.example" not in response.get_data(as_text=True)
    assert response.data == send(app, "GET", path).data


def test_forged_hosts_appear_in_no_page_and_no_redirect(app, rp, browser_of, alice):
    cookie = cookie_of(browser_of(alice))
    for path in ("/", "/login", "/admin/applications", "/device", "/account/sessions", "/nowhere"):
        for who in ("", cookie):
            response = send(app, "GET", path, cookie=who, **FORGED)
            assert_harmless(response, "evil.example")
    # Frameworks tidy up doubled slashes with a redirect to whatever the Host header says.
    for path in ("/admin//users", "//evil.example/..", "/oauth//token", "/static//portal.css"):
        assert send(app, "GET", path, cookie=cookie, **FORGED).status_code == 404
    asked = rp.http.post(
        "/oauth/device_authorization",
        data={"client_id": rp.client_id, "client_secret": rp.secret},
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    ).get_json()
    assert asked["verification_uri"].startswith(ISSUER)


ODD_IDS = [
    "0",
    "-1",
    "%00",
    "%ff",
    "..%2f",
    "a%0d%0ab",
    quote(SCRIPT),
    "9" * 5000,
    "new%20",
    "%u0041",
]


@pytest.mark.parametrize("odd", ODD_IDS, ids=range(len(ODD_IDS)))
def test_administration_odd_ids_are_not_found(app, rp, browser_of, alice, odd):
    browser = browser_of(alice)
    token = csrf_token(browser, "/admin/applications/new")
    paths = {
        rule.rule: "GET" in rule.methods
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/admin/") and rule.arguments
    }
    for rule, gets in paths.items():
        path = "/".join(odd if part.startswith("<") else part for part in rule.split("/"))
        responses = [browser.post(path, data={"csrf_token": token})]
        if gets:
            responses.append(browser.get(path))
        for response in responses:
            assert_harmless(response)
            assert response.status_code in (404, 405), path
    assert Application.select().count() == 1


def test_administration_a_stranger_and_an_ordinary_person_change_nothing(
    app, rp, browser_of, bob, client
):
    before = list(Application.select().dicts()), list(User.select(User.username).dicts())
    ordinary = browser_of(bob)
    token = csrf_token(ordinary, "/account/password")
    strange = csrf_token(client, "/login")
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/admin/"):
            continue
        path = "/".join(
            rp.client_id if part.startswith("<") else part for part in rule.rule.split("/")
        )
        for method in rule.methods - {"OPTIONS"}:
            data = {"csrf_token": token, "owner": "bob", "trusted": "y"}
            response = ordinary.open(path, method=method, data=data if method == "POST" else None)
            assert response.status_code in (403, 404), path
            data = {"csrf_token": strange}
            response = client.open(path, method=method, data=data if method == "POST" else None)
            assert response.status_code in (303, 404), path
            response = client.get(path, headers={"HX-Request-Type": "partial"})
            assert response.status_code in (401, 404, 405), path
    assert before == (list(Application.select().dicts()), list(User.select(User.username).dicts()))


def test_text_scripts_in_names_are_shown_as_text(app, alice, browser_of, bob):
    make_scope("evil:scope", title=SCRIPT, description=SCRIPT)
    application, secret = make_application(
        alice, name=f"N{SCRIPT}", scopes=["openid", "evil:scope"], trust_reason=SCRIPT
    )
    User.update(name=SCRIPT).execute()
    rp = RelyingApp(app.test_client(), application, secret)
    person, admin = browser_of(bob), browser_of(alice)
    shown = [
        rp.authorize(person, scope="openid evil:scope", state=SCRIPT),
        rp.authorize(person, redirect_uri=f"https://x.example/{SCRIPT}"),
        rp.authorize(admin, redirect_uri=f"https://x.example/{SCRIPT}"),
        rp.authorize(person, client_id=SCRIPT),
        admin.get("/admin/applications"),
        admin.get("/admin/applications", query_string={"q": SCRIPT}),
        admin.get(f"/admin/applications/{rp.client_id}"),
        admin.get(f"/admin/applications/{rp.client_id}/edit"),
        admin.get("/admin/users"),
        admin.get("/admin/users/bob"),
        admin.get("/account/applications"),
        person.get("/device", query_string={"user_code": SCRIPT}),
        person.get("/login", query_string={"reauth": "1", "next": f"/{SCRIPT}"}),
        app.test_client().get(
            "/login", query_string={"next": f"/oauth/authorize?client_id={SCRIPT}"}
        ),
        person.get(f"/{quote(SCRIPT)}"),
        post(app.test_client(), "/login", {"username": SCRIPT, "password": "x"}),
    ]
    rp.sign_in(person, scope="openid evil:scope", ticked=["openid", "evil:scope"])
    shown.append(person.get("/account/connections"))
    for response in shown:
        assert_harmless(response, SCRIPT)
        assert "Content-Security-Policy" in response.headers
        assert "'unsafe" not in response.headers["Content-Security-Policy"]


def test_client_authentication_percent_encoded_characters_work(app, alice):
    """RFC 6749 §2.3.1: both parts are form-encoded before base64."""
    application, secret = make_application(
        alice, client_id="a client:with %&+é", grants=["client_credentials"]
    )
    rp = RelyingApp(app.test_client(), application, secret)
    assert rp.token("client_credentials").status_code == 200
    assert rp.post("/oauth/token", {"grant_type": "client_credentials"}, "post").status_code == 200
    assert app.test_client().get("/").status_code == 302


def test_sessions_a_cookie_after_logout_is_dead_everywhere(app, browser_of, bob):
    browser = browser_of(bob)
    cookie = cookie_of(browser)
    assert send(app, "GET", "/account/sessions", cookie=cookie).status_code == 200
    post(browser, "/logout")
    assert send(app, "GET", "/account/sessions", cookie=cookie).status_code == 303


def test_sessions_a_page_cannot_be_framed_and_cookies_are_guarded(app, bob):
    browser = app.test_client()
    response = post(browser, "/login", {"username": "bob", "password": PASSWORD})
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    page = browser.get("/account/sessions")
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_fetches_no_client_names_an_address_that_the_portal_fetches(rp, browser_of, bob):
    """pytest-socket stops every connection but to loopback; the parameters are refused anyway."""
    for name in ("request_uri", "request"):
        response = rp.authorize(browser_of(bob), **{name: "http://169.254.169.254/latest"})
        assert "not_supported" in response.location
    assert rp.authorize(browser_of(bob), client_id="https://127.0.0.1/id").status_code == 400


@pytest.mark.parametrize("turn", ["\u202e", "\u2066", "\u200b", "\x1b"])
def test_text_what_turns_or_hides_letters_is_shown_as_a_mark(rp, browser_of, alice, turn):
    """An address may not read as another one to whoever decides whether to save it."""
    sent = f"https://wiki.example.org/{turn}callback"
    admin = browser_of(alice)
    refused = [rp.authorize(admin, redirect_uri=sent), rp.authorize(admin, client_id=f"a{turn}b")]
    cases = admin.get("/admin/doctor")
    shown = [*refused, cases, admin.get(f"/admin/applications/{rp.client_id}")]
    references = {row.reference for row in Refusal.select()}
    shown += [admin.get(f"/admin/doctor/{reference}") for reference in references]
    assert len(references) >= 2
    for response in shown:
        assert response.status_code in (200, 400)
        assert turn not in response.text
    assert "�" in refused[0].text
    assert "�" in cases.text
