"""Every account page: strangers are sent to sign in, and posting needs the form's token."""

import pytest

PAGES = (
    "/account/profile",
    "/account/connections",
    "/account/sessions",
    "/account/password",
    "/account/verify-email/x",
    "/account/applications",
    "/account/applications/c_x",
    "/account/offers",
    "/account/applications/c_x/setup",
    "/account/applications/c_x/setup/grafana",
    "/account/applications/c_x/refusals/BCDFGHJK",
    "/account/",
)
ACTIONS = (
    "/account/connections/c_x/remove",
    "/account/connections/c_x/ask-again",
    "/account/sessions/1/end",
    "/account/sessions/end-others",
    "/account/sessions/end-all",
    "/account/password",
    "/account/profile",
    "/account/verify-email",
    "/account/verify-email/x",
    "/account/offers/accept",
    "/account/offers/decline",
)


def test_the_lists_above_are_complete(app):
    def addresses(method):
        rules = app.url_map.iter_rules()
        return {r.rule for r in rules if r.rule.startswith("/account/") and method in r.methods}

    assert len(addresses("GET")) == len(PAGES)
    assert len(addresses("POST")) == len(ACTIONS)


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_sent_to_sign_in_and_back(client, path):
    response = client.get(path)

    assert response.status_code == 303
    assert response.location == "/login?next=" + path.replace("/", "%2F")


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_with_htmx_leaves_the_page(client, path):
    response = client.get(path, headers={"HX-Request-Type": "partial"})

    assert response.status_code == 401
    assert response.headers["HX-Redirect"].startswith("/login?next=")


@pytest.mark.parametrize("path", ACTIONS)
def test_a_stranger_may_not_post(client, path):
    assert client.post(path).status_code == 400
    client.get("/login")
    with client.session_transaction() as session:
        session["csrf_token"] = "x"
    assert client.post(path, headers={"X-CSRFToken": "x"}).status_code == 400


@pytest.mark.parametrize("path", ACTIONS)
def test_posting_needs_the_token(browser_of, bob, path):
    response = browser_of(bob).post(path)

    assert response.status_code == 400
    assert "reload the" in response.text


@pytest.mark.parametrize("path", [*ACTIONS[:3], "/account/verify-email"])
def test_looking_at_an_action_does_nothing(browser_of, bob, path):
    assert browser_of(bob).get(path).status_code == 405


@pytest.mark.parametrize("path", PAGES[:4])
def test_pages_are_kept_out_of_caches_and_frames(browser_of, bob, path):
    response = browser_of(bob).get(path)

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "form-action 'self'" in response.headers["Content-Security-Policy"]
    assert "HX-Request-Type" in response.headers["Vary"]
