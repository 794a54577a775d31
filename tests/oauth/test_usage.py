"""What applications are used for is counted, day by day, and forgotten after ninety."""

import sqlite3
from contextlib import closing
from threading import Thread

import pytest
import time_machine

from portal import credentials, sweep
from portal.database import database, lose_patience, transaction
from portal.models import Application, Usage
from portal.models.client_cache import ClientCache
from portal.models.last_use import LastUse
from portal.models.usage import DAY, SINCE, SINCE_ID
from tests.engines import on_both_engines, only_on_sqlite
from tests.factories import REDIRECT_URI, make_application, post
from tests.flows import DEVICE_GRANT, RelyingApp

NOON = 1_800_000_000 // DAY * DAY + DAY // 2
LOOPBACK = "http://127.0.0.1/callback"


@pytest.fixture
def clock(monkeypatch):
    # Ids that other tests made later would make these look younger.
    monkeypatch.setattr(credentials, "_ids", credentials._Ids())
    with time_machine.travel(NOON, tick=False) as made:
        yield made


@pytest.fixture
def notes(app):
    return app.extensions["portal.oauth"].usage


@on_both_engines
def test_a_sign_in_counts_for_its_address_its_scopes_and_its_flow(rp, browser_of, bob, notes):
    bobs = browser_of(bob)
    for _ in range(2):
        rp.sign_in(bobs, scope="openid profile", ticked=["openid"])
    notes.write()
    used = Usage.of(rp.application.id)
    assert used["redirect_uri"] == {REDIRECT_URI: 2}
    assert used["flow"] == {"authorization_code": 2}
    assert used["scope"]["openid"] == 2
    assert "profile" not in used["scope"]  # it was asked for, and not given


def test_a_denied_sign_in_is_none(rp, browser_of, bob, notes):
    bobs = browser_of(bob)
    rp.decide(bobs, rp.authorize(bobs), "deny")
    notes.write()
    assert Usage.of(rp.application.id) == {}


def test_a_native_app_has_one_address_whatever_its_port(app, alice, browser_of, bob, notes):
    made, secret = make_application(alice, redirect_uris=[LOOPBACK], trusted=True)
    for port in (4711, 4712):
        rp = RelyingApp(app.test_client(), made, secret, f"http://127.0.0.1:{port}/callback")
        rp.sign_in(browser_of(bob))
    notes.write()
    assert Usage.of(made.id)["redirect_uri"] == {LOOPBACK: 2}


def test_a_device_counts_when_a_person_allows_it(rp, browser_of, bob, notes):
    started = rp.post("/oauth/device_authorization", {"scope": "openid profile"}).get_json()
    bobs = browser_of(bob)
    rp.decide(bobs, post(bobs, "/device", {"user_code": started["user_code"]}))
    notes.write()
    used = Usage.of(rp.application.id)
    assert used["flow"] == {DEVICE_GRANT: 1}
    assert used["scope"] == {"openid": 1, "profile": 1}


@on_both_engines
def test_a_machine_is_noted_once_a_day(app, rp, clock, statements):
    made = rp.application
    for _ in range(3):
        assert rp.token("client_credentials", scope="public").status_code == 200
    app.extensions["portal.oauth"].uses.write()
    assert Application.get_by_id(made.id).machine_days == {"public": NOON // DAY}
    assert Usage.of(made.id) == {}
    clock.shift(DAY)
    with statements() as seen:
        for _ in range(3):
            rp.token("client_credentials", scope="public")
        app.extensions["portal.oauth"].uses.write()
    assert sum("machine_days" in sql and sql.startswith("UPDATE") for sql in seen) == 1
    assert Application.get_by_id(made.id).machine_days == {"public": NOON // DAY + 1}


@on_both_engines
def test_two_processes_that_note_one_machine_lose_nothing(rp, clock):
    here, there = (LastUse() for _ in range(2))
    clients = [ClientCache().load(rp.client_id) for _ in range(2)]
    here.note_machine(clients[0], "public")
    there.note_machine(clients[1], "reports:read")
    here.write()
    there.write()
    day = NOON // DAY
    assert Application.get_by_id(rp.application.id).machine_days == {
        "public": day,
        "reports:read": day,
    }


@only_on_sqlite
def test_a_locked_database_delays_the_note_of_a_machine_and_refuses_nobody(rp):
    uses, path = LastUse(), database.obj.database

    def write() -> None:
        lose_patience()
        uses.write()
        database.close()

    uses.note_machine(ClientCache().load(rp.client_id), "public")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        thread = Thread(target=write)
        thread.start()
        thread.join()
    assert Application.get_by_id(rp.application.id).machine_days == {}
    uses.write()
    assert list(Application.get_by_id(rp.application.id).machine_days) == ["public"]


@on_both_engines
def test_only_the_asked_days_count_and_old_ones_are_swept(app, clock, notes):
    for days in (0, 60, 29):
        clock.shift(days * DAY)
        notes.sign_in(7, "authorization_code", ["email"], REDIRECT_URI)
        notes.write()
    assert Usage.of(7)["redirect_uri"] == {REDIRECT_URI: 2}
    assert Usage.scopes_last_used(7) == {"email": NOON // DAY + 89}
    assert sweep.once(app)["days_of_use"] == 0
    clock.shift(DAY + 1)
    assert sweep.once(app)["days_of_use"] == 3
    assert Usage.of(7, days=365)["redirect_uri"] == {REDIRECT_URI: 2}


def test_nothing_waits_for_a_database_that_refuses(notes, app):
    database.execute_sql("ALTER TABLE usage RENAME TO gone")
    notes.sign_in(7, "authorization_code", ["email"], REDIRECT_URI)
    notes.write()
    database.execute_sql("ALTER TABLE gone RENAME TO usage")
    notes.write()
    assert Usage.of(7) == {}


def test_notes_do_not_join_a_transaction_that_may_fail(notes, app):
    with transaction():
        notes.sign_in(7, "authorization_code", [], REDIRECT_URI)
        assert Usage.of(7) == {}
    notes.write()
    assert Usage.of(7)["redirect_uri"] == {REDIRECT_URI: 1}


def test_the_counts_go_with_the_application(rp, browser_of, bob, notes):
    rp.sign_in(browser_of(bob))
    notes.write()
    assert Usage.of(rp.application.id)
    rp.application.remove()
    assert not Usage.select().exists()


def test_since_when_is_told_until_everything_that_is_kept_was_counted(app, clock):
    assert Usage.since() is None
    Usage.create(application_id=SINCE_ID, day=NOON // DAY, kind=SINCE, value=str(NOON), count=0)
    assert Usage.since() == NOON
    clock.shift(90 * DAY)
    assert Usage.since() is None
