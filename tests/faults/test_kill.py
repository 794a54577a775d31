"""kill -9 in the middle of work: what was acknowledged stays, and nothing is redeemed twice."""

import os
import signal
import time
from collections import Counter

from peewee import SqliteDatabase

from portal.database import database
from tests.engines import POSTGRES, SQLITE, on_both_engines
from tests.faults.portal import Load, get_code, wait_until

#: On PostgreSQL the portal's death cannot hurt the data, so fewer will do.
KILLS = {SQLITE: 10, POSTGRES: 4}
ANSWERS = 50

pytestmark = on_both_engines


def test_kills_under_load_lose_no_token_and_redeem_no_code_twice(rp, portal, browser_of, bob):
    browser, real = browser_of(bob), portal.serving(rp)
    redeemed, count = Counter(), 0
    kills = KILLS[SQLITE if isinstance(database.obj, SqliteDatabase) else POSTGRES]
    portal.start()
    for _ in range(kills):
        codes = [get_code(rp, browser) for _ in range(20)]
        waiting = list(codes)

        def act(waiting=waiting):
            code = waiting.pop() if waiting else None
            return code, real.redeem(code) if code else real.token("client_credentials")

        with Load(4, act) as load:
            wait_until(lambda load=load: len(load.done) >= ANSWERS)
            portal.kill()
        portal.start()
        assert {answer.status_code for _, answer in load.done} == {200}
        tokens = [answer.get_json()["access_token"] for _, answer in load.done]
        assert all(rp.is_active(token) for token in tokens)
        assert all(real.is_active(token) for token in tokens[-8:])
        # A code whose answer was lost was used or was not, but nobody gets a second line of it.
        redeemed.update(code for code, _ in load.done if code)
        redeemed.update(code for code in codes if real.redeem(code).status_code == 200)
        count += len(tokens)
    assert max(redeemed.values()) == 1
    assert count >= ANSWERS * kills
    if isinstance(database.obj, SqliteDatabase):
        assert database.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_killed_worker_is_replaced_and_loses_nothing(rp, portal):
    real = portal.serving(rp)
    portal.start()
    before = set(portal.workers())
    assert len(before) == 2
    with Load(4, lambda: real.token("client_credentials")) as load:
        time.sleep(0.3)
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(set(portal.workers()) - before) == 1)
        time.sleep(0.5)
        calm = len(load.failed)
        time.sleep(0.3)
        assert len(load.failed) == calm
    assert {answer.status_code for answer in load.done} == {200}
    # Only those cut off at that moment: each thread's request and those that waited to be taken.
    assert len(load.failed) <= 2 * 4
    assert all(rp.is_active(answer.get_json()["access_token"]) for answer in load.done)
    assert portal.process.poll() is None
    assert portal.stop()[0] == 0
