"""PostgreSQL's connections: few, shared, replaced when they die, and never waited for in vain."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from threading import Barrier

import psycopg
import pytest
from flask import Flask, Response

from portal import create_app
from portal import postgres as pooling
from portal.database import close_database, connected, database, transaction
from portal.settings import SettingError
from tests.conftest import migrate_once, usual_settings
from tests.factories import empty_tables, make_application, make_user
from tests.flows import RelyingApp

pytestmark = pytest.mark.postgres


@pytest.fixture
def address(postgres, postgres_url) -> str:
    return postgres.url("portal")


@pytest.fixture
def build(address, tmp_path) -> Iterator:
    """`build("?pool=2")`: a portal on PostgreSQL, and an application that asks it for tokens."""

    def make(parameters: str = "") -> tuple[Flask, RelyingApp]:
        app = create_app(usual_settings(address + parameters, tmp_path))
        migrate_once(address)
        empty_tables()
        application, secret = make_application(make_user("alice"), grants=["client_credentials"])
        database.close()
        return app, RelyingApp(app.test_client(), application, secret)

    yield make
    close_database()


@pytest.fixture
def connections(postgres, address):
    """How many connections there are to the portal's database, and end them."""

    def count() -> int:
        mine = "FROM pg_stat_activity WHERE datname = 'portal'"
        return postgres.execute(f"SELECT count(*) {mine}")[0][0]

    return count


def ask(rp: RelyingApp) -> int:
    return rp.token("client_credentials").status_code


def test_requests_one_after_the_other_share_one_connection_whatever_thread_runs_them(
    build, connections
):
    _, rp = build()
    before = connections()
    for _ in range(5):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(ask, rp).result() == 200
    assert connections() == before == 1


def test_no_more_connections_than_the_pool_has_and_nobody_goes_without(build, connections):
    _, rp = build("?pool=2")
    gate = Barrier(12, timeout=30)

    def work(_: int) -> list[int]:
        gate.wait()
        return [ask(rp) for _ in range(10)]

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(work, range(12)))
    assert {status for seen in answers for status in seen} == {200}
    assert connections() <= 2


def test_a_request_that_gets_no_connection_in_time_is_told_to_come_again(build, monkeypatch):
    app, rp = build("?pool=1")
    monkeypatch.setattr(pooling, "WAIT_SECONDS", 0.2)
    database.connect()  # this thread keeps the only one
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(rp.token, "client_credentials").result()
        page = thread.submit(app.test_client().get, "/login").result()
    database.close()
    assert answer.status_code == 503
    assert answer.get_json()["error"] == "temporarily_unavailable"
    assert answer.headers["Retry-After"]
    assert page.status_code in (200, 503)
    assert ask(rp) == 200


def test_connections_that_the_server_ended_are_replaced_before_anybody_notices(
    build, postgres, connections
):
    _, rp = build()
    assert ask(rp) == 200
    postgres.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'portal'"
    )
    assert [ask(rp) for _ in range(3)] == [200] * 3
    assert connections() == 1


@pytest.mark.parametrize("around", [nullcontext, transaction])
def test_a_connection_that_ends_amid_a_request_costs_that_request_alone(build, connections, around):
    app, rp = build("?pool=1")

    @app.get("/account/sawn-off")
    def sawn_off() -> str:
        with around():
            database.execute_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return ""

    assert app.test_client().get("/account/sawn-off").status_code == 503
    assert [ask(rp) for _ in range(3)] == [200] * 3
    assert connections() == 1


def test_an_answer_that_reads_while_it_is_sent_gives_its_connection_back(build, connections):
    app, rp = build("?pool=1")

    @app.get("/account/long-list")
    def long_list() -> Response:
        def rows() -> Iterator[str]:
            for row in database.execute_sql("SELECT generate_series(1, 3)"):
                yield str(row)

        return Response(rows())

    def read() -> str:
        with app.test_client().get("/account/long-list") as response:  # closes it, as servers do
            return response.get_data(as_text=True)

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(read).result() == "(1,)(2,)(3,)"
        assert ask(rp) == 200  # in this thread, while that one lives on
    assert connections() == 1


def test_hot_statements_are_prepared_by_the_server(build):
    _, rp = build("?pool=1")
    for _ in range(8):
        assert ask(rp) == 200
    named = database.execute_sql("SELECT statement FROM pg_prepared_statements").fetchall()
    assert any('INSERT INTO "access_token"' in text for (text,) in named)
    database.close()


def test_none_is_prepared_when_that_is_off(build):
    _, rp = build("?pool=1&prepare=off")
    for _ in range(8):
        assert ask(rp) == 200
    assert database.execute_sql("SELECT * FROM pg_prepared_statements").fetchall() == []
    database.close()


@pytest.fixture
def said(postgres):
    """What the server is told in a block, as its log has it: `with said() as lines`."""

    @contextmanager
    def listen() -> Iterator[list[str]]:
        database.execute_sql("SET log_statement = 'all'")
        database.close()
        lines: list[str] = []
        start = len(postgres.log.read_text())
        yield lines
        lines += [line for line in postgres.log.read_text()[start:].splitlines() if "LOG:" in line]

    return listen


def test_a_machine_token_is_one_round_trip(build, said):
    _, rp = build("?pool=1")
    for _ in range(8):
        assert ask(rp) == 200
    with said() as lines:
        assert ask(rp) == 200
    assert len(lines) == 1, lines
    assert 'INSERT INTO "access_token"' in lines[0]


def test_a_connection_that_was_idle_for_long_is_asked_first(build, said, monkeypatch):
    _, rp = build("?pool=1")
    monkeypatch.setattr(pooling, "DOUBT_SECONDS", 0)
    with said() as lines:
        assert ask(rp) == 200
    assert lines[0].endswith("SELECT 1")


@contextmanager
def held(address: str, statement: str) -> Iterator[None]:
    """Another program's transaction, which has a lock for as long as the block lasts."""
    with psycopg.connect(address) as other:
        other.execute(statement)
        yield
        other.rollback()


def test_a_request_waits_for_a_lock_no_longer_than_the_address_says(build, address):
    _, rp = build("?wait=1")
    assert ask(rp) == 200
    began = time.monotonic()
    with held(address, "LOCK TABLE access_token"):
        answer = rp.token("client_credentials")
    assert answer.status_code == 503
    assert answer.get_json()["error"] == "temporarily_unavailable"
    assert answer.headers["Retry-After"]
    assert 0.9 < time.monotonic() - began < 5
    assert ask(rp) == 200


@pytest.mark.parametrize(
    ("parameters", "limit"), [("", "10s"), ("?wait=0", "0"), ("?prepare=off", "0")]
)
def test_how_long_that_is(build, parameters, limit):
    build(parameters)
    assert database.execute_sql("SHOW lock_timeout").fetchone() == (limit,)


def test_what_must_come_to_its_end_waits_for_locks_as_long_as_it_takes(build, address):
    build("?wait=1&pool=1")
    with database.obj.waiting():
        assert database.execute_sql("SHOW lock_timeout").fetchone() == ("0",)
    assert database.execute_sql("SHOW lock_timeout").fetchone() == ("1s",)
    with connected(address) as copy:
        assert copy.execute_sql("SHOW lock_timeout").fetchone() == ("0",)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://h/portal?pool=0", "pool must be a whole number of at least 1, not '0'"),
        ("postgresql://h/portal?wait=1.5", "wait must be a whole number of seconds"),
        (
            "postgresql://h/portal?pool=many",
            "pool must be a whole number of at least 1, not 'many'",
        ),
        ("postgresql://h/portal?prepare=maybe", "prepare must be on or off, not 'maybe'"),
        ("postgresql://h/portal?sslmod=require", 'invalid connection option "sslmod"'),
        ("postgresql://h", "must name a database"),
    ],
)
def test_an_address_that_cannot_be_is_one_line(url, complaint):
    with pytest.raises(SettingError) as caught:
        pooling.connect(url)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
