"""Which callback a card has, and what it says when a registration does not fit."""

import tomllib

import pytest

from portal import cards
from tests.cards.test_formats import ISSUER, application


def problems(name: str, issuer: str = ISSUER, **fields) -> list[str]:
    filled = cards.fill(cards.card_named(name), application(**fields), issuer)
    return [problem.sentence for problem in filled.problems]


@pytest.mark.parametrize(
    ("name", "typed", "callback"),
    [
        ("grafana", "https://g.example.org", "https://g.example.org/login/generic_oauth"),
        ("grafana", " g.example.org/ ", "https://g.example.org/login/generic_oauth"),
        ("grafana", "https://x.org/grafana?a=b", "https://x.org/grafana/login/generic_oauth"),
        ("grafana", "https://x.org/login/generic_oauth", "https://x.org/login/generic_oauth"),
        ("gitlab", "https://x.org", "https://x.org/users/auth/openid_connect/callback"),
        ("nextcloud", "https://x.org", "https://x.org/apps/user_oidc/code"),
        (
            "nextcloud",
            "https://x.org/index.php/apps/user_oidc/code",
            "https://x.org/index.php/apps/user_oidc/code",
        ),
        ("django", "https://x.org", "https://x.org/oidc/callback/"),
        ("allauth", "https://x.org", "https://x.org/accounts/oidc/sso/login/callback/"),
        ("spring", "http://localhost:8080", "http://localhost:8080/login/oauth2/code/sso"),
        ("aspnet", "https://x.org", "https://x.org/signin-oidc"),
        ("oauth2-proxy", "https://x.org", "https://x.org/oauth2/callback"),
        ("apache", "https://x.org", "https://x.org/protected/redirect_uri"),
    ],
)
def test_the_callback_follows_from_the_address(name, typed, callback):
    assert cards.callback_at(cards.card_named(name), typed) == (callback, "")


@pytest.mark.parametrize(
    "typed", ["", "javascript:alert(1)", "http://g.example.org", "https://", "https://[", "x y"]
)
def test_an_address_that_cannot_be_used_says_what_to_change(typed):
    callback, wrong = cards.callback_at(cards.card_named("grafana"), typed)
    assert callback == ""
    assert wrong.endswith((".", "]."))


def test_a_callback_that_is_not_registered_is_offered():
    filled = cards.fill(cards.card_named("grafana"), application(), ISSUER)
    offered = "https://app.example.org/login/generic_oauth"
    assert [problem.redirect_uri for problem in filled.problems] == [offered]
    assert "but only https://app.example.org/callback is registered" in filled.problems[0].sentence


def test_only_registered_hosts_are_offered():
    hosts = {uri.split("/")[2] for uri in cards.offered_uris(application())}
    assert hosts == {"app.example.org"}
    assert cards.offered_uris(application(redirect_uris=["com.example.app:/cb"])) == set()


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("nextcloud", "https://x.org/index.php/apps/user_oidc/code"),
        ("spring", "https://x.org/login/oauth2/code/sso"),
        ("allauth", "https://x.org/accounts/oidc/sso/login/callback/"),
        ("grafana", "https://x.org/grafana/login/generic_oauth"),
        ("flask", "https://x.org/whatever"),
    ],
)
def test_what_fits_has_no_warning_and_stands_on_the_card(name, uri):
    made = application(redirect_uris=["https://other.org/else", uri])
    filled = cards.fill(cards.card_named(name), made, ISSUER)
    assert filled.problems == [] or name == "flask"
    if name == "spring":
        assert '"sso":' in filled.texts[0].content
    if name == "grafana":
        assert "root_url = https://x.org/grafana/\n" in filled.texts[0].content


def test_a_registration_that_does_not_fit_is_told_why():
    (grants,) = problems("grafana", grants=["client_credentials"])
    assert grants == "Grafana needs Authorisation Code, which is not ticked."
    fits = {"redirect_uris": ["https://x.org/login/generic_oauth"]}
    (secret,) = problems("grafana", confidential=False, **fits)
    assert secret.endswith("needs a secret, but the application is public: tick Confidential.")
    (scope,) = problems("grafana", scopes=["email"], **fits)
    assert scope == "Grafana asks for the scope openid, which is not ticked."
    spring = {"redirect_uris": ["https://x.org/login/oauth2/code/sso"]}
    (algorithm,) = problems("spring", id_token_alg="ES256", **spring)
    assert "expects ID tokens signed with RS256, but" in algorithm
    gitlab = {"redirect_uris": ["https://x.org/users/auth/openid_connect/callback"]}
    (https,) = problems("gitlab", "http://localhost:8000", **gitlab)
    assert "only talks to a portal on https" in https
    assert problems("curl", grants=["authorization_code"]) == [
        "curl needs Client Credentials or Device Code, which is not ticked."
    ]
    assert problems("generic", redirect_uris=[])[0].startswith("No redirect URI is registered")


def test_spring_uses_pkce_and_signs_out_where_the_registration_says():
    uri, bye = "https://x.org/login/oauth2/code/sso", "https://x.org/bye"
    card = cards.card_named("spring")
    made = application(redirect_uris=[uri], post_logout_redirect_uris=[bye])
    java = cards.fill(card, made, ISSUER).texts[1].content
    assert "OAuth2AuthorizationRequestCustomizers.withPkce()" in java
    assert f'bye.setPostLogoutRedirectUri("{bye}");' in java
    without = cards.fill(card, application(redirect_uris=[uri]), ISSUER).texts[1].content
    assert "setPostLogoutRedirectUri" not in without


def test_oauth2_proxy_listens_where_it_is_called_back_and_refreshes():
    card = cards.card_named("oauth2-proxy")
    local = application(redirect_uris=["http://localhost:4180/oauth2/callback"])
    config = tomllib.loads(cards.fill(card, local, ISSUER).texts[0].content)
    assert (config["http_address"], config["cookie_secure"]) == ("127.0.0.1:4180", False)
    assert config["cookie_refresh"] == "5m"
    public = application(
        redirect_uris=["https://x.org/oauth2/callback"], grants=["authorization_code"]
    )
    config = tomllib.loads(cards.fill(card, public, ISSUER).texts[0].content)
    assert not {"http_address", "cookie_secure", "cookie_refresh"} & set(config)
