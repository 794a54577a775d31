"""The sweep: one process at a time, in small bites, and nobody who asks for a token notices."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import time_machine

from portal import rotation, sweep
from portal.cleanup import CHUNK, Interrupted
from portal.clock import now, now_ms
from portal.credentials import ID_BITS, hash_secret
from portal.database import database
from portal.models import AccessToken, ApplicationSecret, Lease, Throttle
from portal.models.lease import LEASE_SECONDS
from portal.models.search import find_applications
from tests.engines import on_both_engines, only_on_sqlite
from tests.factories import make_application
from tests.flows import RelyingApp
from tests.mail_server import running_mail_server
from tests.races.crowd import together
from tests.test_serve import Server, environ, free_port, run, start  # noqa: F401 - fixtures

ROOT = Path(__file__).parent.parent
HOUR = 60 * 60
DAY = 24 * HOUR


def add_tokens(count: int, expired_for: int) -> None:
    """Access tokens as they were stored, each with a life of 15 minutes."""
    made_at = now() - expired_for - 900
    first = (now_ms() - (expired_for + 900) * 1000) << ID_BITS
    rows = [
        {
            "id": first + number,
            "hash": hash_secret("x"),
            "application_id": 1,
            "epoch": 1,
            "scopes": ["public"],
            "resources": [],
            "created_at": made_at,
            "expires_at": made_at + 900,
        }
        for number in range(count)
    ]
    with database.atomic():
        for start_at in range(0, count, 1000):
            AccessToken.insert_many(rows[start_at : start_at + 1000]).execute()


@on_both_engines
def test_of_two_sweepers_one_works_and_the_other_leaves(app):
    add_tokens(5 * CHUNK, HOUR)
    done = together(2, lambda number: sweep.once(app))
    assert [result for result in done if result is not None] == [
        pytest.approx({**done[done[0] is None], "access_tokens": 5 * CHUNK})
    ]
    assert AccessToken.select().count() == 0


@on_both_engines
def test_what_a_dead_sweeper_left_is_taken_up_after_a_minute(app):
    add_tokens(1, HOUR)
    assert Lease.take(sweep.LEASE, "a process that was killed")
    assert sweep.once(app) is None
    with time_machine.travel(now() + LEASE_SECONDS + 1, tick=False):
        assert sweep.once(app)["access_tokens"] == 1


@on_both_engines
def test_a_clock_that_was_set_back_does_not_stop_the_sweep(app):
    with time_machine.travel(now() + DAY, tick=False):
        assert sweep.once(app, every=60)
        assert Lease.take(sweep.LEASE, "a process that was killed")
    assert sweep.once(app, every=60) is not None


@on_both_engines
def test_one_turn_is_enough_for_all_processes(app):
    assert sweep.once(app, every=60)
    assert sweep.once(app, every=60) is None
    with time_machine.travel(now() + 55, tick=False):
        assert sweep.once(app, every=60)


def test_whole_tables_are_looked_at_every_ten_minutes(app):
    assert "throttles" in sweep.once(app, every=60)
    Throttle.create(key="old", tries=3, last_at=now() - HOUR)
    with time_machine.travel(now() + 61, tick=False):
        assert "throttles" not in sweep.once(app, every=60)
    with time_machine.travel(now() + 601, tick=False):
        assert sweep.once(app, every=60)["throttles"] == 1


@on_both_engines
def test_a_sweeper_that_lost_its_lease_stops(app, monkeypatch):
    monkeypatch.setattr(sweep, "LEASE_SECONDS", 0)  # it looks after each chunk
    add_tokens(3 * CHUNK, HOUR)

    def rob(kind: str, gone: int) -> None:
        Lease.update(holder="somebody else").execute()

    with pytest.raises(Interrupted):
        sweep.once(app, show=rob)
    assert AccessToken.select().count() == 2 * CHUNK
    assert Lease.of(sweep.LEASE).holder == "somebody else"


@on_both_engines
def test_tokens_are_issued_and_live_while_twenty_thousand_are_deleted(app, alice):
    application, secret = make_application(alice, grants=["client_credentials"], scopes=["public"])
    add_tokens(20_000, HOUR)
    swept = threading.Event()
    statuses: list[int] = []

    def act(number: int) -> list[str]:
        if number == 0:
            assert sweep.once(app)["access_tokens"] == 20_000
            swept.set()
            return []
        rp = RelyingApp(app.test_client(), application, secret)
        issued = []
        while not swept.is_set() or not issued:
            answer = rp.token("client_credentials")
            statuses.append(answer.status_code)
            issued.append(answer.get_json()["access_token"])
        return issued

    issued = [token for tokens in together(3, act) for token in tokens]
    assert set(statuses) == {200}
    assert len(issued) > 20  # the sweep did not keep them out
    assert AccessToken.select().count() == len(issued)
    rp = RelyingApp(app.test_client(), application, secret)
    assert all(rp.introspect(token)["active"] for token in issued[:: len(issued) // 10])


def test_client_secrets_are_known_for_a_year_after_their_end(app, alice):
    application, _ = make_application(alice)
    for age in (364, 366):
        ApplicationSecret.create(
            application=application, hash=b"x", prefix="x", retired_at=now() - age * DAY
        )
    assert sweep.once(app)["client_secrets"] == 1
    assert {secret.retired_at is None for secret in application.secrets} == {True, False}


def test_a_failure_is_logged_and_the_next_turn_works(settings, app, caplog):
    """The thread itself: its table is away for a while."""
    app.extensions["portal.settings"] = replace(settings, sweep_seconds=1)
    database.execute_sql("ALTER TABLE lease RENAME TO gone")
    with caplog.at_level(logging.ERROR):
        stop = sweep.start(app)
        wait_for(lambda: "the sweep failed and is tried again" in caplog.text)
    add_tokens(1, HOUR)
    database.execute_sql("ALTER TABLE gone RENAME TO lease")
    wait_for(lambda: AccessToken.select().count() == 0)
    stop.set()
    wait_for(lambda: "sweep" not in {thread.name for thread in threading.enumerate()})


def wait_for(what, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


# The indexes of the searches


@only_on_sqlite
def test_the_parts_of_a_search_index_are_merged_for_each_costs_every_search(app):
    def parts() -> int:
        asked = "SELECT COUNT(DISTINCT segid) FROM application_search_idx"
        return database.execute_sql(asked).fetchone()[0]

    for number in range(50):
        make_application(name=f"Report {number}")
    before = parts()
    sweep.once(app)
    after = parts()
    assert after < before
    check = "INSERT INTO application_search (application_search, rank) VALUES (?, 1)"
    database.execute_sql(check, ("integrity-check",))
    assert len(find_applications("report 4").ids) == 11
    sweep.once(app)
    assert parts() == after


@only_on_sqlite
def test_a_broken_search_index_is_logged_and_keeps_the_sweep_from_nothing(app, caplog, monkeypatch):
    looked_at = []
    monkeypatch.setattr(rotation, "sweep", looked_at.append)
    database.execute_sql("UPDATE application_search_data SET block = x'00000001ff' WHERE id = 10")
    database.close()
    assert sweep.once(app) is not None
    assert len(looked_at) == 1
    assert sweep.once(app, every=60) is None  # this one counts as done
    assert "a search index cannot be merged: Application" in caplog.text


# The command


def test_cleanup_says_that_another_process_is_at_it(app):
    assert Lease.take(sweep.LEASE, "other-node:1:1")
    result = app.test_cli_runner().invoke(args=["cleanup"])
    assert result.exit_code == 0
    assert "Another process is at it already (other-node:1:1)" in result.stdout
    assert json.loads(app.test_cli_runner().invoke(args=["cleanup", "--json"]).stdout) == {
        "busy": "other-node:1:1"
    }


@only_on_sqlite
def test_an_interrupted_cleanup_leaves_the_rest_to_the_next(environ, app, settings, tmp_path):  # noqa: F811
    add_tokens(100_000, HOUR)
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", "cleanup"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background ignore it, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: AccessToken.select().count() < 100_000)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    left = AccessToken.select().count()
    assert 0 < left < 100_000
    assert sweep.once(app)["access_tokens"] == left


# The server


@only_on_sqlite
def test_the_server_sweeps_by_itself_and_ends_on_sigterm(environ, app, settings, start):  # noqa: F811
    environ["PORTAL_SWEEP_SECONDS"] = "1"
    add_tokens(2_000, HOUR)
    server: Server = start()
    server.ready()
    wait_for(lambda: AccessToken.select().count() == 0)
    add_tokens(500, HOUR)
    wait_for(lambda: AccessToken.select().count() == 0)
    code, seconds = server.stop()
    assert code == 0
    assert seconds < 5
    assert server.process.stderr.read().count("sweep") == 0


@only_on_sqlite
def test_zero_seconds_switch_the_sweep_off(environ, app, settings, start):  # noqa: F811
    environ["PORTAL_SWEEP_SECONDS"] = "0"
    server = start()
    server.ready()
    time.sleep(0.5)
    assert Lease.of(sweep.LEASE) is None


def test_no_other_server_sweeps(app, client):
    assert client.get("/healthz").status_code == 200
    assert "sweep" not in {thread.name for thread in threading.enumerate()}
    assert Lease.of(sweep.LEASE) is None


# Secrets that end


@pytest.fixture
def letters(app, settings):
    """What the mail server of this portal received."""
    with running_mail_server() as server:
        app.extensions["portal.settings"] = replace(
            settings, smtp_url=server.url, mail_from="Portal <portal@example.org>"
        )
        yield server.letters
    app.extensions["portal.settings"] = settings


@on_both_engines
def test_the_owner_is_told_14_and_3_days_before_a_needed_secret_ends(app, alice, letters):
    application, secret = make_application(alice, name="Robot")
    row = application.live_secrets[0]
    with app.app_context():
        assert rotation.change(application, row, expires_at=now() + 30 * DAY)
    told = []
    for day in range(30):
        with time_machine.travel(now() + day * DAY + 60, tick=False):
            sweep.once(app)
            sweep.once(app)
        if len(letters) > len(told):
            told = [*told, day]
    assert told == [16, 27]
    first = letters[0]
    assert first.recipients == ["alice@example.org"]
    assert first.message["Subject"] == "A client secret of Robot ends in 14 days"
    text = first.message.get_content()
    assert f"begins with {row.prefix}" in text
    assert f"/account/applications/{application.client_id}" in text
    assert secret not in text


def test_nobody_is_told_of_an_end_that_harms_nobody(app, alice, letters):
    application, _ = make_application(alice, name="Robot")
    with app.app_context():
        application.rotate_secret(keep_seconds=7 * DAY)  # whoever does this knows
        other, _ = make_application(alice, name="Other")
        other.disable()
        rotation.change(other, other.live_secrets[0], expires_at=now() + 20 * DAY)
    for day in (0, 5, 18):
        with time_machine.travel(now() + day * DAY, tick=False):
            sweep.once(app)
    assert letters == []


def test_a_letter_that_was_not_taken_is_sent_by_a_later_turn(app, alice, letters):
    application, _ = make_application(alice, name="Robot")
    with app.app_context():
        rotation.change(application, application.live_secrets[0], expires_at=now() + 20 * DAY)
    right = app.extensions["portal.settings"]
    with time_machine.travel(now() + 10 * DAY, tick=False):
        app.extensions["portal.settings"] = replace(right, smtp_url="smtp://127.0.0.1:9")
        assert sweep.once(app) is not None
        assert letters == []
        app.extensions["portal.settings"] = right
        sweep.once(app)
        sweep.once(app)
    assert len(letters) == 1
