"""When an application was last used: at once, in few writes, at no answer's cost."""

import time

import psycopg
import pytest
import time_machine

from portal.clock import now
from portal.database import database, on_sqlite, transaction
from portal.models import Application, ApplicationSecret, last_use
from tests.engines import POSTGRES, on_both_engines
from tests.factories import make_application
from tests.flows import RelyingApp

NOON = 1_800_000_000


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as made:
        yield made


@pytest.fixture
def apps(app, alice) -> list[RelyingApp]:
    made = [
        make_application(alice, name=f"Robot {n}", grants=["client_credentials"]) for n in range(3)
    ]
    return [RelyingApp(app.test_client(), *one) for one in made]


@pytest.fixture
def uses(app):
    return app.extensions["portal.oauth"].uses


def ask(rp: RelyingApp) -> None:
    assert rp.token("client_credentials").status_code == 200


def noted() -> list[int]:
    """When each application, and then each secret, was last used, in seconds after noon."""
    tables = Application, ApplicationSecret
    rows = [row for table in tables for row in table.select().order_by(table.id)]
    return [row.last_used_at - NOON if row.last_used_at else -1 for row in rows]


@on_both_engines
def test_who_comes_alone_is_noted_at_once_and_a_crowd_together(clock, apps):
    for rp in apps:
        ask(rp)
    assert noted() == [0, -1, -1] * 2
    clock.shift(1)
    ask(apps[0])  # a second later somebody writes for all
    assert noted() == [0, 0, 0] * 2
    clock.shift(59)
    ask(apps[0])
    assert noted() == [60, 0, 0] * 2


def test_a_secret_of_a_fleet_of_hosts_in_one_network_is_noted_each_minute(clock, app, apps):
    robot = apps[0]
    for host in range(10, 16):
        robot.http.environ_base["REMOTE_ADDR"] = f"203.0.113.{host}"
        ask(robot)
        clock.shift(40)
    secret = ApplicationSecret.get(ApplicationSecret.application == robot.application)
    assert secret.last_used_at == NOON + 160
    assert secret.last_used_from == "203.0.113.0/24"


def test_one_of_a_great_crowd_is_noted_once_an_hour_or_after_a_refusal(
    clock, apps, uses, monkeypatch
):
    monkeypatch.setattr(last_use, "CROWD", 0)
    ask(apps[0])
    clock.shift(600)
    ask(apps[0])
    uses.write()
    assert noted()[0] == 0
    assert apps[0].token("client_credentials", scope="unknown").status_code == 400
    ask(apps[0])
    uses.write()
    assert noted()[0] == 600
    clock.shift(3600)
    ask(apps[0])
    uses.write()
    assert noted()[0] == 4200


@on_both_engines
def test_what_lingers_is_written_by_whoever_sweeps_or_ends_the_process(clock, apps, uses):
    for rp in apps:
        ask(rp)
    uses.write()
    assert noted() == [0, 0, 0] * 2


@on_both_engines
def test_a_later_use_that_another_process_saw_stays(clock, apps, uses):
    ask(apps[0])
    ask(apps[1])
    Application.update(last_used_at=NOON + 9).execute()
    ApplicationSecret.update(last_used_at=NOON + 9).execute()
    uses.write()
    assert noted() == [9] * 6


def test_many_are_not_kept_until_the_second_is_over(clock, apps, monkeypatch):
    monkeypatch.setattr("portal.models.last_use.MOST", 4)
    for rp in apps:
        ask(rp)
    assert noted() == [0] * 6


def test_nothing_is_written_within_the_transaction_of_somebody_else(clock, apps, uses):
    ask(apps[0])
    ask(apps[1])
    with transaction():
        uses.write()
        assert noted() == [0, -1, -1] * 2
    uses.write()
    assert noted() == [0, 0, -1] * 2


@on_both_engines
def test_tokens_are_issued_while_uses_cannot_be_noted(apps):
    if on_sqlite():
        stop = (
            "CREATE TRIGGER stop BEFORE UPDATE ON application BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        database.execute_sql(stop)
    else:
        database.execute_sql("ALTER TABLE application ADD CONSTRAINT stop CHECK (last_used_at = 0)")
    try:
        for rp in apps:
            ask(rp)
    finally:
        if not on_sqlite():
            database.execute_sql("ALTER TABLE application DROP CONSTRAINT stop")
    assert not any(Application.select().where(Application.last_used_at > 0))


@pytest.mark.parametrize(
    "database_url", [pytest.param(POSTGRES, marks=pytest.mark.postgres)], indirect=True
)
def test_no_answer_waits_for_an_application_that_somebody_edits(apps, database_url):
    with psycopg.connect(database_url.partition("?")[0]) as editor:
        editor.execute("UPDATE application SET name = name")
        began = time.monotonic()
        ask(apps[0])
        assert time.monotonic() - began < 2
        editor.rollback()
    assert Application.get_by_id(apps[0].application.id).last_used_at == 0
    with time_machine.travel(now() + 60, tick=False):
        ask(apps[0])
        assert Application.get_by_id(apps[0].application.id).last_used_at == now()
