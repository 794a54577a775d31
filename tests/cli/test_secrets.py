"""`application secrets`, `add-secret`, `retire-secret`."""

from datetime import UTC, datetime

import pytest

from portal.clock import now
from portal.models import Application, ApplicationSecret, AuditEvent
from portal.models.application import MOST_SECRETS
from tests.factories import make_application

DAY = 86400


@pytest.fixture
def robot(alice) -> Application:
    application, _ = make_application(alice, name="Robot")
    return application


def test_a_secret_is_added_beside_the_old_one_and_the_old_one_retired(flask, robot):
    old = robot.live_secrets[0]
    made = flask(
        "application", "add-secret", robot.client_id, "--name", "web", "--expires-days", "90",
        "--json",
    ).json  # fmt: skip
    assert made["client_secret"].startswith(made["prefix"])
    assert made["name"] == "web"
    assert [it.prefix for it in robot.live_secrets] == [made["prefix"], old.prefix]
    shown = flask("application", "secrets", robot.client_id)
    assert "Not used yet. Give it to the application" in " ".join(shown.out.split())
    assert made["client_secret"] not in shown.out
    listed = flask("application", "secrets", robot.client_id, "--json").json
    assert [it["prefix"] for it in listed] == [made["prefix"], old.prefix]
    done = flask("application", "retire-secret", robot.client_id, old.prefix)
    assert done.out == f"The secret {old.prefix}… is retired; it was never used.\n"
    assert [it.prefix for it in robot.live_secrets] == [made["prefix"]]
    told = [(it.event, it.actor) for it in AuditEvent.select().order_by(AuditEvent.id)]
    assert told[-2:] == [("secret.added", "command line"), ("secret.retired", "command line")]


def test_a_secret_retires_after_a_day_or_once_unused(flask, robot):
    robot.add_secret()
    prefix = robot.live_secrets[1].prefix
    day = datetime.fromtimestamp(now() + 3 * DAY, UTC).date().isoformat()
    done = flask("application", "retire-secret", robot.client_id, prefix, "--on", day, "--json")
    assert done.json["expires_at"] == f"{day}T23:59:59Z"
    assert done.json["live"]
    done = flask("application", "retire-secret", robot.client_id, prefix, "--unused-days", "14")
    assert done.out == f"The secret {prefix}… stops once unused for 14 days.\n"
    row = ApplicationSecret.get(ApplicationSecret.prefix == prefix)
    assert (row.expires_at, row.retire_unused_days) == (None, 14)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("pcs_????",), "No secret of Robot that works begins with 'pcs_????'"),
        (("",), "No secret of Robot that works begins with ''"),
        (("pcs_",), "2 secrets begin with 'pcs_': give more of it."),
        (("{}", "--on", "soon"), "Write the day of --on like 2026-12-31."),
        (("{}", "--on", "2020-01-01"), "Give --on today or a later day, within ten years."),
        (("{}", "--on", "9999-12-31"), "Give --on today or a later day, within ten years."),
        (("{}", "--on", "2999-01-01", "--unused-days", "7"), "Give --on or --unused-days"),
    ],
)
def test_bad_input_is_said_and_nothing_stops(flask, robot, more, complaint):
    robot.add_secret()
    words = [word.format(robot.live_secrets[0].prefix) for word in more]
    answer = flask("application", "retire-secret", robot.client_id, *words)
    assert answer.complaint.startswith(complaint)
    assert [it.expires_at for it in robot.live_secrets] == [None, None]


def test_more_than_twenty_secrets_are_refused(flask, robot):
    for _ in range(MOST_SECRETS - 1):
        robot.add_secret()
    for words in (["add-secret"], ["rotate-secret", "--keep-days", "7"]):
        answer = flask("application", words[0], robot.client_id, *words[1:])
        assert "retire one first" in answer.complaint
    assert len(robot.live_secrets) == MOST_SECRETS
    # Rotating at once makes room.
    assert flask("application", "rotate-secret", robot.client_id).code == 0


def test_a_name_that_nobody_could_read_is_refused(flask, robot):
    for name in ("x" * 61, "a\u202eb"):
        answer = flask("application", "add-secret", robot.client_id, "--name", name)
        assert "at most 60 visible characters" in answer.complaint
