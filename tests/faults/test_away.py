"""The database goes away and comes back: a clear answer meanwhile, and no restart afterwards."""

import shutil
import time

import pytest

from portal.database import database
from tests.engines import POSTGRES
from tests.faults.portal import Load, cookie_of, wait_until
from tests.races.crowd import together

#: No request may hang longer than this while the database is away.
PATIENCE_SECONDS = 6
on_postgresql = pytest.mark.parametrize(
    "database_url", [pytest.param(POSTGRES, marks=pytest.mark.postgres)], indirect=True
)
PAGES = ("/account/connections", "/nowhere", "/oauth/authorize")


@on_postgresql
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
        wait_until(lambda: [a.status_code for b, a in load.done if b > back].count(200) > 20)
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
    tokens = [a.get_json()["access_token"] for _, a in load.done if a.status_code == 200]
    assert all(rp.is_active(token) for token in tokens)
    assert real.refresh(refresh_token).status_code == 200


@on_postgresql
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
    # The pool looks at a connection before it lends it.
    assert len(failed) == 0
    assert {answer.status_code for answer in answers[-50:]} == {200}


@on_postgresql
def test_postgresql_hangs_under_load(rp, portal, postgres, database_url):
    """Its processes stand still, so that nothing is refused and nothing is answered."""
    real = portal.serving(rp)
    portal.environ["DATABASE_URL"] = f"{database_url}&wait=1"
    portal.start()
    database.close()

    def act():
        return time.monotonic(), real.token("client_credentials")

    # More than there are threads: nobody may wait for all who came before.
    with Load(24, act) as load:
        time.sleep(0.5)
        frozen = time.monotonic()
        with postgres.frozen():
            page = portal.get("/login")
            ready, alive = portal.get("/readyz"), portal.get("/healthz")
            wait_until(lambda: [a.status_code for b, a in load.done if b > frozen].count(503) > 48)
        back = time.monotonic()
        wait_until(lambda: [a.status_code for b, a in load.done if b > back].count(200) > 20)
    refused = [answer for _, answer in load.done if answer.status_code == 503]
    assert {answer.get_json()["error"] for answer in refused} == {"temporarily_unavailable"}
    assert all(answer.headers["Retry-After"] for answer in refused)
    assert not load.failed
    assert {answer.status_code for _, answer in load.done} == {200, 503}
    # One turn of silence, and one of connecting anew.
    assert max(answer.seconds for _, answer in load.done) < 2 * PATIENCE_SECONDS + 1
    assert page.status_code == ready.status_code == 503
    assert "cannot reach its database" in page.get_data(as_text=True)
    assert alive.status_code == 200
    assert alive.seconds < 1
    tokens = [a.get_json()["access_token"] for _, a in load.done if a.status_code == 200]
    assert all(rp.is_active(token) for token in tokens[-50:])


def test_the_folder_of_sqlite_is_moved_away_and_back(rp, portal, tmp_path):
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    folder.mkdir()
    database.close()
    for path in tmp_path.glob("portal.db*"):  # this process keeps its own
        shutil.copy(path, folder)
    portal.environ["DATABASE_URL"] = f"sqlite:///{folder}/portal.db"
    real = portal.serving(rp)
    portal.start()
    with Load(4, lambda: real.token("client_credentials")) as load:
        time.sleep(0.3)
        folder.rename(elsewhere)
        # New threads, which have no connection yet.
        crowd = together(24, lambda number: real.token("client_credentials"))
        page = portal.get("/nowhere")
        elsewhere.rename(folder)
    assert page.status_code == 404
    # Whoever has the file open goes on with it, wherever it is.
    assert not load.failed
    answers = [*load.done, *crowd]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert [real.token("client_credentials").status_code for _ in range(50)] == [200] * 50
    tokens = [a.get_json()["access_token"] for a in answers if a.status_code == 200]
    assert all(real.is_active(token) for token in tokens)
