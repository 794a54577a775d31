"""Changing a secret without downtime: several beside each other, each says whether it may go."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import time_machine

from portal import sweep
from portal.clock import now
from portal.models import ApplicationSecret, AuditEvent
from portal.models.application import CLIENT_CREDENTIALS, MOST_SECRETS
from tests.engines import on_both_engines
from tests.factories import csrf_token, make_application, post, sign_in
from tests.flows import basic

DAY = 86400
SECRET = re.compile(r"pcs_[A-Za-z0-9_-]{43}")
OFFICE = {"REMOTE_ADDR": "203.0.113.77"}


class Robot:
    """An application whose secret is changed, and its administrator."""

    def __init__(self, app, browser, owner) -> None:
        self.application, self.secret = make_application(
            owner, name="Robot", grants=[CLIENT_CREDENTIALS], scopes=["public"]
        )
        self.http, self.browser = app.test_client(), browser
        self.app, self.owner = app, owner
        self.url = f"/admin/secrets/{self.application.client_id}"

    def ask(self, secret: str | None = None, **environ: str) -> int:
        """Ask for a token; returns the status."""
        return self.http.post(
            "/oauth/token",
            data={"grant_type": CLIENT_CREDENTIALS},
            headers=basic(self.application.client_id, secret or self.secret),
            environ_overrides=environ or OFFICE,
        ).status_code

    @contextmanager
    def after(self, seconds: int) -> Iterator[None]:
        """Later, when the administrator has to sign in anew."""
        browser = self.browser
        with time_machine.travel(now() + seconds, tick=False):
            self.browser = sign_in(self.app.test_client(), self.owner)
            yield
        self.browser = browser

    def page(self) -> str:
        return self.browser.get(self.url).get_data(as_text=True)

    def add(self, **fields: str) -> str:
        """Make another secret on the page."""
        answer = post(self.browser, self.url, fields)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        assert answer.headers["Cache-Control"] == "no-store"
        return SECRET.search(answer.get_data(as_text=True))[0]

    def row(self, secret: str | None = None) -> ApplicationSecret:
        prefix = (secret or self.secret)[:8]
        return ApplicationSecret.get(ApplicationSecret.prefix == prefix)

    def change(self, row: ApplicationSecret, **fields: str):
        fields = {"name": "", "ends": "never", "last_day": "", **fields}
        return post(self.browser, f"{self.url}/{row.id}", fields)


@pytest.fixture
def robot(app, alice, browser_of) -> Robot:
    return Robot(app, browser_of(alice), alice)


def told() -> list[tuple[str, str]]:
    """The audit log: what happened, and who did it."""
    rows = AuditEvent.select().order_by(AuditEvent.id)
    return [(row.event, row.actor) for row in rows if row.event.startswith("secret.")]


@on_both_engines
def test_the_way_from_one_secret_to_the_next_without_a_refusal(robot):
    assert robot.ask() == 200
    assert "The only secret that works, used just now, from 203.0.113.0/24." in robot.page()
    new = robot.add(name="Web servers")
    assert robot.ask() == robot.ask(new) == 200
    with robot.after(3 * 3600):
        assert robot.ask(new) == 200
        assert (
            "The old one was still used 3 hours ago, from 203.0.113.0/24: do not retire it yet."
        ) in robot.page()
    with robot.after(9 * DAY):
        assert robot.ask(new) == 200
        assert "Not used for 9 days: safe to retire." in robot.page()
        address = f"{robot.url}/{robot.row().id}/retire"
        assert "was used 9 days ago, from 203.0.113.0/24" in robot.browser.get(address).text
        assert post(robot.browser, address).location == robot.url
        assert robot.ask() == 401
        assert robot.ask(new) == 200
    assert told() == [("secret.added", "alice"), ("secret.retired", "alice")]
    assert new not in "".join(row.before + row.after for row in AuditEvent.select())


def test_a_secret_that_nobody_has_replaced_is_not_called_safe_to_retire(robot):
    """A job that runs once a month has not moved on: it has only not run."""
    assert robot.ask() == 200
    robot.add()
    with robot.after(20 * DAY):
        page = robot.page()
    assert "Not used for 20 days, but neither was another one since" in page
    assert "safe to retire" not in page


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:7:8::9", "2001:db8:7::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("unix:", ""),
    ],
)
def test_where_a_secret_is_used_from_is_kept_as_a_network(door, robot, address, network):
    assert robot.ask(REMOTE_ADDR=address) == 200
    assert robot.row().last_used_from == network


def test_noting_where_from_adds_no_statement(robot, statements):
    with robot.after(0):  # notes are written with the first request of another second
        for _ in range(2):  # whoever comes again is kept in memory
            assert robot.ask() == 200
        with statements() as seen:
            assert robot.ask(REMOTE_ADDR="198.51.100.1") == 200
    assert len([sql for sql in seen if sql not in ("BEGIN", "COMMIT")]) == 1


def test_a_form_sent_twice_makes_one_secret(robot):
    page = robot.browser.get(robot.url).text
    seen = re.search(r'name="seen" type="hidden" value="(\d+)"', page)[1]
    assert robot.add(seen=seen)
    again = post(robot.browser, robot.url, {"seen": seen})
    assert again.status_code == 303
    assert "No secret was made" in robot.page()
    assert len(robot.application.live_secrets) == 2


def test_at_most_twenty_work_at_once(robot):
    token = csrf_token(robot.browser, robot.url)
    for _ in range(MOST_SECRETS - 1):
        robot.application.add_secret()
    assert "20 secrets work already" in robot.page()
    answer = robot.browser.post(robot.url, data={"csrf_token": token})
    assert answer.status_code == 422
    assert "retire one first" in answer.text
    assert len(robot.application.live_secrets) == MOST_SECRETS


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"last_day": "2020-01-01"}, "Choose today or a later day."),
        ({"last_day": "9999-12-31"}, "Choose a day within ten years."),
        ({"last_day": "soon"}, "Enter a day such as 2026-12-31."),
        ({"name": "x" * 61}, "Shorten the name to 60 characters."),
        ({"name": "a\u202eb"}, "Remove the invisible characters from the name."),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_made(robot, fields, sentence):
    for answer in (
        post(robot.browser, robot.url, fields),
        robot.change(robot.row(), ends="date", **fields),
    ):
        assert answer.status_code == 422
        assert sentence in answer.text
    assert len(robot.application.live_secrets) == 1


def test_a_day_is_not_dropped_without_a_word(robot):
    day = datetime.fromtimestamp(now() + 5 * DAY, UTC).date().isoformat()
    answer = robot.change(robot.row(), ends="never", last_day=day)
    assert answer.status_code == 422
    assert "Choose that it stops after this day" in answer.text
    assert "Enter the last day" in robot.change(robot.row(), ends="date").text


def test_a_date_is_set_extended_and_taken_back(robot):
    new, row = robot.add(), robot.row()
    day = datetime.fromtimestamp(now() + 5 * DAY, UTC).date()
    assert (
        robot.change(row, name="<b>Old", ends="date", last_day=day.isoformat()).status_code == 303
    )
    assert "Stops in 6 days" in robot.page() or "Stops in 5 days" in robot.page()
    assert "&lt;b&gt;Old" in robot.page()
    with time_machine.travel(
        datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC), tick=False
    ):
        assert robot.ask() == 200
    with robot.after(7 * DAY):
        assert robot.ask() == 401
        assert robot.ask(new) == 200
    assert robot.change(row, name="<b>Old", ends="never").status_code == 303
    with robot.after(7 * DAY):
        assert robot.ask() == 200
    events = [event for event, _ in told()]
    assert events == ["secret.added", "secret.renamed", "secret.scheduled", "secret.scheduled"]
    last = AuditEvent.select().order_by(AuditEvent.id.desc()).first()
    assert json.loads(last.before)["expires"]
    assert json.loads(last.after)["expires"] is None


@on_both_engines
def test_the_portal_retires_what_is_unused_and_says_that_it_did(app, robot):
    new = robot.add()
    assert robot.ask() == 200
    assert robot.change(robot.row(), ends="7").status_code == 303
    assert "retires by itself once unused for 7 days" in robot.page()
    with robot.after(6 * DAY):
        assert robot.ask(new) == 200
        sweep.once(app)
        assert robot.row().is_live
    with robot.after(7 * DAY + 60):
        sweep.once(app)
        assert not robot.row().is_live
        assert robot.ask() == 401
        assert robot.ask(new) == 200
    assert told()[-1] == ("secret.retired", "the portal")


def test_the_portal_never_takes_away_what_may_be_the_last_way_in(app, robot):
    assert robot.ask() == 200
    assert robot.change(robot.row(), ends="7").status_code == 303
    with robot.after(60 * DAY):
        sweep.once(app)
        assert "Portal never retires the last one by itself" in robot.page()
        robot.add()  # which the application does not have yet
        sweep.once(app)
        assert robot.ask() == 200


@on_both_engines
def test_an_end_that_comes_near_needs_attention(robot, alice, browser_of):
    application = robot.application
    ApplicationSecret.update(expires_at=now() + 10 * DAY).execute()
    listed = robot.browser.get("/admin/applications?chip=attention").text
    assert "Secret stops in 10 days" in listed
    assert f'href="{robot.url}"' in listed
    assert "The only secret that works ends in 10 days: make another one" in robot.page()
    own = browser_of(alice).get("/account/applications")
    assert "Secret stops in 10 days" in own.text
    shown = browser_of(alice).get(f"/account/applications/{application.client_id}")
    assert "The only secret that works ends in 10 days" in shown.text
    robot.add()  # outlives it, and the old one is not used
    assert "Robot" not in robot.browser.get("/admin/applications?chip=attention").text
    assert robot.ask() == 200  # now it is
    assert "Secret stops in 10 days" in robot.browser.get("/admin/applications").text


def test_another_applications_secret_and_a_retired_one_are_not_found(robot, alice):
    other, _ = make_application(alice, name="Other")
    token = csrf_token(robot.browser, robot.url)
    strange = other.live_secrets[0]
    robot.add()
    gone = robot.row()
    assert robot.application.retire_secret(gone.id)
    for row in (strange, gone):
        for path in (f"{robot.url}/{row.id}", f"{robot.url}/{row.id}/retire"):
            assert robot.browser.get(path).status_code == 404
            assert robot.browser.post(path, data={"csrf_token": token}).status_code == 404
    assert strange.get_by_id(strange.id).is_live


def test_only_administrators_enter(app, robot, bob, browser_of):
    row = robot.row()
    paths = [robot.url, f"{robot.url}/{row.id}", f"{robot.url}/{row.id}/retire", "/admin/secrets"]
    for path in paths:
        assert browser_of(bob).get(path).status_code == 403
        assert app.test_client().get(path).status_code == 303
    assert robot.browser.get("/admin/secrets").location == "/admin/applications"


def test_a_public_application_has_no_secrets_to_show(robot, alice):
    public, _ = make_application(alice, name="Phone", confidential=False)
    url = f"/admin/secrets/{public.client_id}"
    assert "A public client has no secret" in robot.browser.get(url).text
    answer = robot.browser.post(url, data={"csrf_token": csrf_token(robot.browser, robot.url)})
    assert answer.status_code == 422
    assert public.live_secrets == []


def test_retiring_on_the_overview_is_logged_as_the_same_act(robot):
    row = robot.row()
    address = f"/admin/applications/{robot.application.client_id}"
    answer = post(robot.browser, f"{address}/secrets/{row.id}/retire", page=address)
    assert answer.status_code == 303
    assert told()[-1] == ("secret.retired", "alice")
    assert robot.ask() == 401
