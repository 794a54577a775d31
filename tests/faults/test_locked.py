"""Somebody else holds the database's lock for three seconds: requests wait, and then succeed."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.engines import POSTGRES, on_both_engines
from tests.faults.portal import Load, get_code

HELD_SECONDS = 3


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Nobody else can write inside the block."""
    if url.startswith("sqlite:"):
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        other = psycopg.connect(url.partition("?")[0])
        other.execute("LOCK TABLE access_token, token_family, authorization_code IN SHARE MODE")
    try:
        yield
    finally:
        other.close()


@on_both_engines
def test_a_foreign_lock_of_three_seconds_makes_requests_wait(
    rp, portal, browser_of, bob, database_url
):
    real, code = portal.serving(rp), get_code(rp, browser_of(bob))
    portal.start()
    assert real.token("client_credentials").status_code == 200
    codes = [code]

    def act():
        return real.redeem(codes.pop()) if codes else real.token("client_credentials")

    with ExitStack() as lock:
        lock.enter_context(locked(database_url))
        with Load(6, act, most=1) as load:
            time.sleep(HELD_SECONDS)
            lock.close()
    assert not load.failed
    assert [answer.status_code for answer in load.done] == [200] * 6
    assert all(rp.is_active(answer.get_json()["access_token"]) for answer in load.done)
    assert max(answer.seconds for answer in load.done) > HELD_SECONDS - 1


@pytest.mark.parametrize(
    "database_url", [pytest.param(POSTGRES, marks=pytest.mark.postgres)], indirect=True
)
def test_whoever_holds_a_lock_of_postgresql_for_ever_keeps_nobody_waiting_for_ever(
    rp, portal, database_url
):
    """SQLite gives up after ten seconds, and so does PostgreSQL unless the address says sooner."""
    real = portal.serving(rp)
    portal.environ["DATABASE_URL"] = f"{database_url}&wait=1"
    portal.start()
    with locked(database_url), Load(4, lambda: real.token("client_credentials"), most=1) as load:
        time.sleep(2)
        page = portal.get("/login")
    assert not load.failed
    assert {answer.status_code for answer in load.done} == {503}
    assert {answer.get_json()["error"] for answer in load.done} == {"temporarily_unavailable"}
    assert all(answer.headers["Retry-After"] for answer in load.done)
    # Four wait, two at a time in each worker.
    assert max(answer.seconds for answer in load.done) < 5
    assert page.status_code == 200
    assert real.token("client_credentials").status_code == 200
