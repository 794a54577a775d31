"""Somebody else holds the database's lock for three seconds: requests wait, and then succeed."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.engines import on_both_engines
from tests.faults.portal import Load, get_code

HELD_SECONDS = 3

pytestmark = on_both_engines


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


def test_a_foreign_lock_of_three_seconds_makes_requests_wait(
    rp, portal, browser_of, bob, database_url
):
    real, code = portal.serving(rp), get_code(rp, browser_of(bob))
    portal.start()
    assert real.token("client_credentials").status_code == 200
    codes = [code]

    def act():
        return real.redeem(codes.pop()) if codes else real.token("client_credentials")

    with Load(6, act, most=1) as load, locked(database_url):
        time.sleep(HELD_SECONDS)
    assert not load.failed
    assert [answer.status_code for answer in load.done] == [200] * 6
    assert all(rp.is_active(answer.get_json()["access_token"]) for answer in load.done)
    assert max(answer.seconds for answer in load.done) > HELD_SECONDS - 1
