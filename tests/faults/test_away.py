"""The database goes away and comes back: a clear answer meanwhile, and no restart afterwards."""

import time

import pytest

from portal.database import database
from tests.faults.portal import Load, cookie_of
from tests.races.crowd import together

#: No request may hang longer than this while the database is away.
PATIENCE_SECONDS = 6
PAGES = ("/account/connections", "/nowhere", "/oauth/authorize")


pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("database_url", ["postgres"], indirect=True),
]


def test_postgresql_restarts_under_load(rp, portal, postgres, browser_of, bob):
    browser, real = browser_of(bob), portal.serving(rp)
    refresh_token = rp.sign_in(browser)["refresh_token"]
    portal.start()

    def act():
        return time.monotonic(), real.token("client_credentials")

    with Load(4, act) as load:
        time.sleep(0.5)
        database.close()
        postgres.halt()
        try:
            time.sleep(0.3)
            token = real.refresh(refresh_token)
            page = portal.get("/login", headers={"Accept": "text/html"})
            mine = [portal.get(path, headers=cookie_of(browser)) for path in PAGES]
            ready, alive = portal.get("/readyz"), portal.get("/healthz")
        finally:
            postgres.resume()
        back = time.monotonic()
        time.sleep(1)
    assert token.status_code == 503
    assert token.get_json()["error"] == "temporarily_unavailable"
    assert token.headers["Retry-After"]
    assert page.status_code == ready.status_code == 503
    assert {answer.status_code for answer in mine} == {503}
    assert all("cannot reach its database" in it.get_data(as_text=True) for it in mine)
    assert alive.status_code == 200
    assert "cannot reach its database" in page.get_data(as_text=True)
    assert page.headers["Retry-After"]
    assert not load.failed
    assert {answer.status_code for _, answer in load.done} == {200, 503}
    assert max(answer.seconds for _, answer in load.done) < PATIENCE_SECONDS
    after = [answer.status_code for began, answer in load.done if began > back]
    assert after.count(200) > 20
    tokens = [a.get_json()["access_token"] for _, a in load.done if a.status_code == 200]
    assert all(rp.is_active(token) for token in tokens)
    assert real.refresh(refresh_token).status_code == 200


def test_postgresql_restarts_while_nobody_calls(rp, portal, postgres):
    real = portal.serving(rp)
    portal.start()
    warm = together(24, lambda number: real.token("client_credentials"))
    assert {answer.status_code for answer in warm} == {200}
    database.close()
    postgres.halt()
    postgres.resume()
    answers = [real.token("client_credentials") for _ in range(100)]
    failed = [answer.status_code for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in answers} <= {200, 503}
    # A connection learns it by one request at most, and is opened anew for the next.
    assert len(failed) <= len(warm)
    assert {answer.status_code for answer in answers[-50:]} == {200}
