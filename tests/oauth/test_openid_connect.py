"""OpenID Connect: ID tokens, UserInfo, keys, and what applications wish about the sign-in."""

import json
import time

import pytest
import time_machine
from joserfc import jwt
from joserfc.jwk import KeySet

from portal.models import User
from portal.oauth.claims import ACR
from tests.factories import make_application, make_full_person
from tests.flows import RelyingApp, query

ISSUER = "http://localhost:8000"


@pytest.fixture
def bob(app) -> User:
    return make_full_person("bob")


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    application, secret = make_application(
        alice, scopes=["openid", "profile", "email", "address", "phone", "offline_access"]
    )
    return RelyingApp(app.test_client(), application, secret)


def read(rp: RelyingApp, token: str) -> tuple[dict, dict]:
    """Header and claims, the signature checked with the published keys."""
    keys = KeySet.import_key_set(rp.http.get("/oauth/jwks").get_json())
    checked = jwt.decode(token, keys, algorithms=["RS256", "ES256", "PS256"])
    return checked.header, checked.claims


def userinfo(rp: RelyingApp, token: str, **kwargs):
    return rp.http.get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"}, **kwargs)


# ID tokens


def test_an_id_token_says_who_signed_in_when_and_how(rp, bob, bob_signs_in):
    tokens = bob_signs_in(rp, scope="openid profile email", nonce="n0nce")
    header, claims = read(rp, tokens["id_token"])
    assert header["alg"] == "RS256"
    assert header["kid"]
    assert abs(claims.pop("iat") - time.time()) < 5
    assert abs(claims.pop("auth_time") - time.time()) < 5
    assert claims.pop("exp") > time.time()
    assert claims.pop("at_hash")
    assert claims.pop("sid")
    assert claims == {
        "iss": ISSUER,
        "sub": bob.sub,
        "aud": rp.client_id,
        "nonce": "n0nce",
        "acr": ACR,
        "amr": ["pwd"],
    }


def test_no_id_token_without_openid(rp, bob_signs_in):
    assert "id_token" not in bob_signs_in(rp, scope="profile")


@pytest.mark.parametrize("alg", ["RS256", "ES256", "PS256"])
def test_each_application_chooses_the_algorithm(rp, bob_signs_in, alg):
    rp.application.change(id_token_alg=alg)
    header, _ = read(rp, bob_signs_in(rp)["id_token"])
    assert header["alg"] == alg


def test_a_refreshed_id_token_keeps_what_was(rp, bob_signs_in):
    with time_machine.travel(time.time(), tick=False) as clock:
        tokens = bob_signs_in(rp, nonce="n")
        clock.shift(100)
        again = rp.refresh(tokens["refresh_token"]).get_json()
        _, first = read(rp, tokens["id_token"])
        _, second = read(rp, again["id_token"])
    for name in ("iss", "sub", "aud", "auth_time", "sid"):
        assert first[name] == second[name], name
    assert second["iat"] == first["iat"] + 100
    assert "nonce" not in second


def test_pairwise_subjects_differ_between_applications_and_stay(app, alice, rp, bob, bob_signs_in):
    rp.application.change(subject_type="pairwise")
    application, secret = make_application(
        alice, subject_type="pairwise", redirect_uris=["https://other.example.org/cb"]
    )
    other = RelyingApp(app.test_client(), application, secret, "https://other.example.org/cb")
    one, again, two = bob_signs_in(rp), bob_signs_in(rp), bob_signs_in(other)
    subs = [read(rp, tokens["id_token"])[1]["sub"] for tokens in (one, again, two)]
    assert subs[0] == subs[1] != subs[2]
    assert bob.sub not in subs
    assert userinfo(rp, one["access_token"]).get_json()["sub"] == subs[0]
    assert rp.introspect(one["access_token"])["sub"] == subs[0]


def test_keys_are_public_distinct_and_cacheable(client):
    response = client.get("/oauth/jwks")
    keys = response.get_json()["keys"]
    assert {key["kty"] for key in keys} == {"EC", "RSA"}
    assert len({key["kid"] for key in keys}) == 2
    assert not any(set(key) & {"d", "p", "q", "dp", "dq", "qi"} for key in keys)
    assert "max-age" in response.headers["Cache-Control"]


# UserInfo


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("openid", set()),
        ("openid email", {"email", "email_verified"}),
        ("openid phone", {"phone_number", "phone_number_verified"}),
        ("openid address", {"address"}),
        (
            "openid profile",
            {
                "name", "family_name", "given_name", "middle_name", "nickname",
                "preferred_username", "profile", "picture", "website", "gender", "birthdate",
                "zoneinfo", "locale", "updated_at",
            },
        ),
    ],
)  # fmt: skip
def test_userinfo_has_the_claims_of_each_scope(rp, bob, bob_signs_in, scope, names):
    tokens = bob_signs_in(rp, scope=scope, ticked=scope.split())
    response = userinfo(rp, tokens["access_token"])
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    body = response.get_json()
    assert body.pop("sub") == bob.sub
    assert set(body) == names


def test_userinfo_takes_the_token_in_three_ways(rp, bob_signs_in):
    token = bob_signs_in(rp)["access_token"]
    header = {"Authorization": f"Bearer {token}"}
    for response in (
        rp.http.get("/oauth/userinfo", headers=header),
        rp.http.post("/oauth/userinfo", headers=header),
        rp.http.post("/oauth/userinfo", data={"access_token": token}),
    ):
        assert response.status_code == 200
        assert response.get_json()["sub"]


def test_userinfo_refuses_other_ways(rp, bob_signs_in):
    token = bob_signs_in(rp)["access_token"]
    in_url = rp.http.get("/oauth/userinfo", query_string={"access_token": token})
    assert in_url.status_code == 400
    twice = rp.http.post(
        "/oauth/userinfo",
        data={"access_token": token},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert twice.status_code == 400


@pytest.mark.parametrize("header", [None, "Basic x", "Bearer", "Bearer ", "", "é"])
def test_userinfo_without_a_token_says_only_how(rp, header):
    headers = {} if header is None else {"Authorization": header}
    response = rp.http.get("/oauth/userinfo", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="Portal"'


@pytest.mark.parametrize("token", ["x", "pat_1." + "s" * 43, "a.b.c", "a.e30.c", "..", "é.é.é"])
def test_userinfo_refuses_tokens_that_do_not_work(rp, token):
    response = userinfo(rp, token)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_userinfo_is_not_for_machines(rp):
    rp.application.change(grants=["client_credentials"])
    token = rp.token("client_credentials").get_json()["access_token"]
    response = userinfo(rp, token)
    assert response.status_code == 403
    assert "insufficient_scope" in response.headers["WWW-Authenticate"]


def test_a_public_token_opens_the_public_profile(rp, bob_signs_in):
    tokens = bob_signs_in(rp, scope=None)
    assert tokens["scope"] == "public"
    assert userinfo(rp, tokens["access_token"]).get_json() == {"name": "Bob"}


def test_userinfo_costs_two_statements(rp, bob_signs_in, statements):
    token = bob_signs_in(rp)["access_token"]
    userinfo(rp, token)
    with statements() as seen:
        userinfo(rp, token)
    assert len(seen) <= 2, seen


# The claims parameter


def test_claims_asked_by_name_come_with_consent(rp, browser_of, bob):
    browser = browser_of(bob)
    wish = json.dumps({"userinfo": {"name": {"essential": True}}, "id_token": {"email": None}})
    page = rp.authorize(browser, scope="openid", claims=wish)
    text = page.get_data(as_text=True)
    assert 'value="profile"' in text
    assert 'value="email"' in text
    tokens = rp.redeem(query(rp.decide(browser, page))["code"]).get_json()
    assert tokens["scope"] == "openid"
    assert userinfo(rp, tokens["access_token"]).get_json() == {"sub": bob.sub, "name": "Bob"}
    _, claims = read(rp, tokens["id_token"])
    assert claims["email"] == "bob@example.org"
    assert "name" not in claims


def test_claims_that_the_person_unticked_stay_out(rp, browser_of, bob):
    browser = browser_of(bob)
    wish = json.dumps({"userinfo": {"name": None, "email": None}})
    page = rp.authorize(browser, scope="openid", claims=wish)
    response = rp.decide(browser, page, ticked=["openid", "email"])
    tokens = rp.redeem(query(response)["code"]).get_json()
    body = userinfo(rp, tokens["access_token"]).get_json()
    assert set(body) == {"sub", "email"}


@pytest.mark.parametrize(
    "claims", ["nonsense", "[]", '"x"', '{"userinfo": []}', '{"userinfo": {"name": 1}}',
               '{"id_token": {"acr": {"essential": true, "values": 1}}}', "[" * 5000,
               '{"id_token": {"sub": {"value": 1}}}'],
)  # fmt: skip
def test_malformed_claims_are_refused(rp, browser_of, bob, claims):
    answer = query(rp.authorize(browser_of(bob), claims=claims))
    assert answer["error"] == "invalid_request"


def test_an_essential_acr_that_cannot_be_met_is_an_error(rp, browser_of, bob):
    def wish(value, essential=True):
        return json.dumps({"id_token": {"acr": {"essential": essential, "values": [value]}}})

    answer = query(rp.authorize(browser_of(bob), claims=wish("urn:other")))
    assert answer["error"] == "unmet_authentication_requirements"
    browser = browser_of(bob)
    rp.sign_in(browser, scope="openid")
    for ok in (wish(ACR), wish("urn:other", False)):
        assert "code" in query(rp.authorize(browser, scope="openid", claims=ok))


# Wishes about the sign-in


def sign_in_again(browser, response, username="bob"):
    """Follow the way to the sign-in page, sign in, and come back to the request."""
    from tests.factories import PASSWORD, post

    assert response.status_code == 303
    assert response.location.startswith("/login?")
    page = browser.get(response.location)
    assert page.status_code == 200, "the form is shown, although somebody is signed in"
    target = query(response)["next"]
    done = post(
        browser,
        "/login",
        {"username": username, "password": PASSWORD, "next": target},
        page=response.location,
    )
    assert done.status_code == 303, done.get_data(as_text=True)
    return browser.get(done.location)


def auth_time(rp, response) -> int:
    tokens = rp.redeem(query(response)["code"]).get_json()
    return read(rp, tokens["id_token"])[1]["auth_time"]


@pytest.mark.parametrize("wish", [{"prompt": "login"}, {"prompt": "select_account"},
                                  {"max_age": "0"}, {"max_age": "5"}])  # fmt: skip
def test_a_person_signs_in_again_when_the_application_wishes(rp, browser_of, bob, wish):
    with time_machine.travel(time.time(), tick=False) as clock:
        browser = browser_of(bob)
        tokens = rp.sign_in(browser)
        first = read(rp, tokens["id_token"])[1]
        clock.shift(10)
        response = sign_in_again(browser, rp.authorize(browser, **wish))
        tokens = rp.redeem(query(response)["code"]).get_json()
        second = read(rp, tokens["id_token"])[1]
    assert second["auth_time"] == first["auth_time"] + 10
    assert second["sid"] == first["sid"]


def test_a_young_sign_in_is_silent(rp, browser_of, bob):
    with time_machine.travel(time.time(), tick=False) as clock:
        browser = browser_of(bob)
        first = read(rp, rp.sign_in(browser, max_age="15000")["id_token"])[1]
        clock.shift(2)
        second = auth_time(rp, rp.authorize(browser, max_age="10000"))
    assert second == first["auth_time"]


@pytest.mark.parametrize("max_age", ["-1", "x", "1.5", "9" * 30, "٣"])
def test_a_malformed_max_age_is_refused(rp, browser_of, bob, max_age):
    assert query(rp.authorize(browser_of(bob), max_age=max_age))["error"] == "invalid_request"


def test_silent_with_a_sign_in_that_is_too_old_is_login_required(rp, browser_of, bob):
    with time_machine.travel(time.time(), tick=False) as clock:
        browser = browser_of(bob)
        rp.sign_in(browser)
        clock.shift(100)
        answer = query(rp.authorize(browser, prompt="none", max_age="50"))
    assert answer["error"] == "login_required"


def test_a_hint_names_the_person(rp, browser_of, bob, charlie):
    browser = browser_of(bob)
    hint = rp.sign_in(browser)["id_token"]
    assert "code" in query(rp.authorize(browser, prompt="none", id_token_hint=hint))
    other = browser_of(charlie)
    rp.sign_in(other)
    answer = query(rp.authorize(other, prompt="none", id_token_hint=hint))
    assert answer["error"] == "login_required"
    assert rp.authorize(other, id_token_hint=hint).location.startswith("/login?")


def test_an_expired_hint_is_accepted(rp, browser_of, bob):
    browser = browser_of(bob)
    hint = rp.sign_in(browser)["id_token"]
    with time_machine.travel(time.time() + 3600, tick=False):
        assert "code" in query(rp.authorize(browser, prompt="none", id_token_hint=hint))


def forged(rp, token: str) -> dict[str, str]:
    import base64

    def part(data: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    header, payload, signature = token.split(".")
    claims = read(rp, token)[1]
    kid = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    return {
        "alg none": f"{part({'alg': 'none'})}.{payload}.",
        "alg none, signature kept": f"{part({'alg': 'none', 'kid': kid})}.{payload}.{signature}",
        "unknown kid": f"{part({'alg': 'RS256', 'kid': 'other'})}.{payload}.{signature}",
        "swapped alg": f"{part({'alg': 'ES256', 'kid': kid})}.{payload}.{signature}",
        "HS256": f"{part({'alg': 'HS256', 'kid': kid})}.{payload}.{signature}",
        "other claims": f"{header}.{part({**claims, 'sub': 'mallory'})}.{signature}",
        "no token": "nonsense",
        "empty parts": "..",
    }


def test_forged_and_foreign_hints_are_refused(rp, other, browser_of, bob):
    browser = browser_of(bob)
    token = rp.sign_in(browser)["id_token"]
    hints = {**forged(rp, token), "another application's": other.sign_in(browser)["id_token"]}
    for name, hint in hints.items():
        answer = query(rp.authorize(browser, id_token_hint=hint))
        assert answer["error"] == "invalid_request", name


def test_login_hint_fills_in_the_name(rp, client):
    response = rp.authorize(client, login_hint="bob@example.org")
    assert 'value="bob@example.org"' in client.get(response.location).get_data(as_text=True)


@pytest.mark.parametrize(
    "extra",
    [{"display": "popup"}, {"ui_locales": "se"}, {"claims_locales": "se"}, {"acr_values": "1 2"},
     {"unknown": "x"}, {"nonce": "n" * 10_000}, {"display": "nonsense"}, {"prompt": "create"}],
)  # fmt: skip
def test_what_is_not_understood_does_no_harm(rp, browser_of, bob, extra):
    browser = browser_of(bob)
    rp.sign_in(browser)
    tokens = rp.redeem(query(rp.authorize(browser, **extra))["code"]).get_json()
    claims = read(rp, tokens["id_token"])[1]
    assert claims.get("nonce") == extra.get("nonce")
    assert claims["acr"] == ACR


def test_form_post_answers_with_a_form(rp, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser)
    response = rp.authorize(browser, response_mode="form_post", state='a"<b>&é')
    assert response.status_code == 200
    text = response.get_data(as_text=True)
    assert 'action="https://app.example.org/callback"' in text
    assert 'name="code"' in text
    assert 'value="a&#34;&lt;b&gt;&amp;é"' in text
    assert f'name="iss" value="{ISSUER}"' in text
    assert "form-action" not in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store"
    error = rp.authorize(browser, response_mode="form_post", scope="admin:all")
    assert 'name="error" value="invalid_scope"' in error.get_data(as_text=True)


def test_discovery_tells_one_truth_at_both_addresses(client):
    one = client.get("/.well-known/openid-configuration").get_json()
    assert one == client.get("/.well-known/oauth-authorization-server").get_json()
    assert one["issuer"] == ISSUER
    assert "RS256" in one["id_token_signing_alg_values_supported"]
    assert one["claims_parameter_supported"] is True
    assert one["request_parameter_supported"] is False
    assert all(value != [] for value in one.values())


# JWT access tokens and resource servers


def test_access_tokens_may_be_jwts_that_anybody_checks(rp, bob, bob_signs_in):
    rp.application.change(token_format="jwt", resources=["https://api.example.org"])
    tokens = bob_signs_in(rp, resource="https://api.example.org")
    header, claims = read(rp, tokens["access_token"])
    assert header["typ"] == "at+jwt"
    assert header["alg"] == "ES256"
    assert claims["aud"] == "https://api.example.org"
    assert claims["sub"] == bob.sub
    assert claims["client_id"] == rp.client_id
    assert claims["scope"] == "openid profile"
    assert {"iss", "exp", "iat", "jti", "auth_time"} <= set(claims)
    assert rp.is_active(tokens["access_token"])
    assert userinfo(rp, tokens["access_token"]).status_code == 200
    rp.post("/oauth/revoke", {"token": tokens["access_token"]})
    assert not rp.is_active(tokens["access_token"])
    assert userinfo(rp, tokens["access_token"]).status_code == 401


def test_a_jwt_with_another_signature_is_not_ours(rp, bob_signs_in):
    rp.application.change(token_format="jwt")
    token = bob_signs_in(rp)["access_token"]
    assert not rp.is_active(token[:-6] + "AAAAAA")
    assert userinfo(rp, token[:-6] + "AAAAAA").status_code == 401


@pytest.mark.parametrize(
    "resource", ["https://evil.example.org", "api", "https://api.example.org#x", "//x", "é"]
)
def test_a_resource_that_is_not_listed_is_refused(rp, browser_of, bob, resource):
    rp.application.change(
        resources=["https://api.example.org"], grants=["authorization_code", "client_credentials"]
    )
    assert query(rp.authorize(browser_of(bob), resource=resource))["error"] == "invalid_target"
    response = rp.token("client_credentials", resource=resource)
    assert response.get_json()["error"] == "invalid_target"


def test_a_code_for_one_resource_does_not_open_another(rp, browser_of, bob):
    both = ["https://a.example.org", "https://b.example.org"]
    rp.application.change(resources=both)
    browser = browser_of(bob)
    rp.sign_in(browser)
    code = query(rp.authorize(browser, resource=both[0]))["code"]
    assert rp.redeem(code, resource=both[1]).get_json()["error"] == "invalid_target"
    tokens = rp.redeem(code, resource=both[0]).get_json()
    assert rp.introspect(tokens["access_token"])["aud"] == [both[0]]
    response = rp.refresh(tokens["refresh_token"], resource=both[1])
    assert response.get_json()["error"] == "invalid_target"


def test_a_silent_sign_in_with_every_wish_costs_six_statements(rp, bob, bob_signs_in, statements):
    hint = bob_signs_in(rp, scope="openid email")["id_token"]
    wishes = {
        "scope": "openid email",
        "prompt": "none",
        "max_age": "900",
        "id_token_hint": hint,
        "claims": json.dumps({"userinfo": {"email": {"essential": True}}}),
        "acr_values": ACR,
    }
    with statements() as seen:
        assert "code" in query(rp.authorize(bob_signs_in.browser, **wishes))
    assert len(seen) <= 6, seen
