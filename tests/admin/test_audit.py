"""The pages and commands of the audit log."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from portal import audit, create_app
from portal.clock import now
from portal.database import database
from portal.models import Application, AuditEvent
from tests import factories
from tests.cli.conftest import flask  # noqa: F401
from tests.engines import on_both_engines
from tests.factories import PASSWORD, make_application, post, save_anyway


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


def test_a_change_reads_as_before_and_after(browser, alice):
    wiki, _ = make_application(alice, name="<b>Wiki</b>")
    page = f"/admin/applications/{wiki.client_id}"
    form = {
        "name": "<b>Wiki</b>",
        "owner": "alice",
        "grants": ["authorization_code"],
        "refresh_tokens": "y",
        "redirect_uris": "https://new.example.org/callback",
        "scopes": wiki.scopes,
        "confidential": "y",
        "require_pkce": "y",
    }
    assert save_anyway(browser, post(browser, f"{page}/edit", form)).status_code == 303
    (row,) = AuditEvent.select()
    assert (row.actor, row.event) == ("alice", "application.changed")
    assert json.loads(row.before) == {"redirect_uris": [factories.REDIRECT_URI]}
    assert json.loads(row.after) == {"redirect_uris": ["https://new.example.org/callback"]}
    text = browser.get(f"/admin/audit?application={wiki.client_id}").text
    assert "&lt;b&gt;Wiki&lt;/b&gt;: redirect URIs" in text
    assert "<b>Wiki" not in text
    assert "+ https://new.example.org/callback" in text


@on_both_engines
def test_the_history_of_an_application_says_whose_it_is(browser, alice):
    application, _ = make_application(alice, name="Wiki")
    page = browser.get("/admin/audit", query_string={"application": application.client_id}).text
    assert "<h1>History of Wiki</h1>" in page
    assert f'<a href="/admin/applications/{application.client_id}">Wiki</a>' in page
    assert "<h1>Audit log</h1>" in browser.get("/admin/audit").text


@on_both_engines
def test_scopes_in_another_order_are_no_change(browser, alice):
    scopes = ["profile", "email", "openid"]
    wiki, _ = make_application(alice, name="Wiki", scopes=scopes)
    page = f"/admin/applications/{wiki.client_id}/edit"
    form = {
        "name": "Wiki of today",
        "owner": "alice",
        "grants": ["authorization_code"],
        "refresh_tokens": "y",
        "redirect_uris": factories.REDIRECT_URI,
        "scopes": ["openid", "profile", "email"],
        "confidential": "y",
        "require_pkce": "y",
    }
    assert post(browser, page, form).status_code == 303
    (row,) = AuditEvent.select()
    assert json.loads(row.after) == {"name": "Wiki of today"}
    text = browser.get(f"/admin/audit?application={wiki.client_id}").text
    assert "Changed the application Wiki of today: name<" in text
    assert Application.get().scopes == scopes
    assert post(browser, page, {**form, "scopes": ["openid", "email"]}).status_code == 200


def test_only_administrators_read_it(client, browser_of, charlie):
    for path in ("/admin/audit", "/admin/audit/events.csv", "/admin/audit/events.jsonl"):
        assert client.get(path).status_code in (302, 303)
        assert browser_of(charlie).get(path).status_code == 403


def test_pages_go_back_and_forth(app, browser, alice):
    with app.app_context():
        for _ in range(120):
            audit.record("person.reset_link", actor=alice, person=alice)
    second = browser.get("/admin/audit?person=alice&before=71").text
    assert "#70<" in second
    assert "#21<" in second
    assert "#20<" not in second
    first = browser.get("/admin/audit?after=70").text
    assert "#120<" in first
    assert "#71<" in first
    assert "#70<" not in first


def test_a_deleted_application_is_found_by_its_name(browser, alice, flask):  # noqa: F811
    wiki, _ = make_application(alice, name="Wiki")
    assert flask("application", "delete", wiki.client_id).code == 0
    assert not Application.select().exists()
    assert "command line" in browser.get("/admin/audit?application=Wiki").text
    assert "Nothing matches" in browser.get("/admin/audit?application=Other").text


def test_no_cell_of_the_table_is_a_formula(app, browser, alice):
    wiki, _ = make_application(alice, name="=1+1")
    with app.app_context():
        audit.record("application.disabled", actor=alice, application=wiki)
    rows = list(csv.DictReader(io.StringIO(browser.get("/admin/audit/events.csv").text)))
    assert rows[0]["subject"] == "'=1+1"


def test_guessing_leaves_one_event(client, bob):
    for _ in range(14):
        post(client, "/login", {"username": "bob", "password": "wrong"})
        post(client, "/login", {"username": "nobody", "password": "wrong"})
    assert [(row.event, row.person_id) for row in AuditEvent.select()] == [
        ("person.throttled", bob.id)
    ]


def test_signing_in_is_told_without_the_password(client, bob):
    post(client, "/login", {"username": "bob", "password": PASSWORD})
    (row,) = AuditEvent.select()
    assert (row.event, row.actor, row.address) == ("person.signed_in", "bob", "127.0.0.1")
    assert PASSWORD not in str(row.__data__)


def test_a_rotation_tells_no_secret(flask, alice):  # noqa: F811
    wiki, old = make_application(alice)
    new = flask("application", "rotate-secret", wiki.client_id, "--json").json["client_secret"]
    (row,) = AuditEvent.select()
    assert row.event == "application.rotated_secret"
    assert old not in row.before
    assert new not in row.after
    assert new[:8] in row.after


def test_verify_says_what_is_wrong(flask, alice):  # noqa: F811
    wiki, _ = make_application(alice)
    for command in ("disable", "enable", "disable"):
        flask("application", command, wiki.client_id)
    head = flask("audit", "verify", "--json").json["head"]
    assert flask("audit", "verify", "--expect", head).code == 0
    AuditEvent.delete().where(AuditEvent.id == 3).execute()
    answer = flask("audit", "verify", "--expect", head)
    assert (answer.code, "missing at the end" in answer.err) == (1, True)
    AuditEvent.update(actor="forged").where(AuditEvent.id == 2).execute()
    assert "Changed or missing: row 2." in flask("audit", "verify").err


def test_a_command_with_another_secret_key_changes_nothing(flask, settings, alice):  # noqa: F811
    wiki, _ = make_application(alice)
    database.close()
    other = create_app(replace(settings, secret_key="j" * 40)).test_cli_runner()
    for arguments in (["application", "disable", wiki.client_id], ["user", "reset-link", "alice"]):
        done = other.invoke(args=arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "made with another PORTAL_SECRET_KEY" in done.stderr
    assert Application.get_by_id(wiki.id).is_enabled
    assert AuditEvent.select().count() == 0
    assert "disable" in other.invoke(args=["application", "--help"]).stdout
    flask("application", "disable", wiki.client_id)
    assert flask("audit", "verify").code == 0


def test_verify_names_all_that_was_changed_and_vouches_for_the_rest(flask, alice):  # noqa: F811
    wiki, _ = make_application(alice)
    for number in range(9):
        flask("application", "enable" if number % 2 else "disable", wiki.client_id)
    AuditEvent.update(actor="forged").where(AuditEvent.id.in_([2, 6, 7])).execute()
    AuditEvent.delete().where(AuditEvent.id == 4).execute()
    answer = flask("audit", "verify")
    assert answer.code == 1
    assert "Changed or missing: rows 2, 4 to 7." in answer.err
    assert "Changed or missing: row 2." in flask("audit", "verify", "--known", "3-8").err
    assert "rows 4 to 7." in flask("audit", "verify", "--known", "2", "--known", "5-9").err
    for parts in (("4", "5-7"), ("4-6", "6-7")):  # side by side, or over each other
        known = [word for part in ("2", *parts) for word in ("--known", part)]
        assert flask("audit", "verify", *known).code == 0
    known = flask("audit", "verify", "--known", "2", "--known", "1-7")
    assert (known.code, "Not vouched for: rows 2, 4 to 7" in known.out) == (0, True)
    answer = flask("audit", "verify", "--known", "1-7", "--json")
    assert answer.json["known"] == [[2, 2], [4, 7]]


@pytest.mark.parametrize("rows", ["7-1", "1-", "all", "-1", "1:2"])
def test_rows_that_are_known_are_given_as_numbers(flask, rows):  # noqa: F811
    answer = flask("audit", "verify", "--known", rows)
    assert (answer.code, answer.out) == (2, "")
    assert "write --known 7, or --known 1-7" in answer.err


def test_the_latest_changes_stand_on_the_applications_page(browser, browser_of, alice, charlie):
    wiki, _ = make_application(alice, name="Wiki")
    page = f"/admin/applications/{wiki.client_id}"
    for _ in range(3):
        post(browser, f"{page}/disable", page=page)
        post(browser, f"{page}/enable", page=page)
    text = browser.get(page).text
    assert text.count("Disabled the application Wiki") == 2
    assert text.count("Enabled the application Wiki") == 3
    wiki.change(owner=charlie)
    assert "Latest changes" not in browser_of(charlie).get(f"/account{page[6:]}").text


def test_downloads_keep_to_the_filter(app, browser, alice):
    with app.app_context():
        audit.record("person.reset_link", actor=alice, person=alice)
    fragment = browser.get("/admin/audit?person=alice", headers={"HX-Request-Type": "partial"})
    assert "/admin/audit/events.csv?person=alice" in fragment.text
    assert "/admin/audit/events.jsonl?person=alice" in fragment.text


BAD = [
    ("since", "2026-13-01", "From: enter a date such as"),
    ("until", "<tomorrow>", "To: enter a date such as"),
    ("event", "person.danced", "What happened: choose an event from the list."),
]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(("name", "value", "problem"), BAD)
def test_a_download_with_a_bad_filter_is_not_the_whole_log(browser, ending, name, value, problem):
    asked = {name: value, "person": "alice"}
    answer = browser.get(f"/admin/audit/events.{ending}", query_string=asked)
    assert answer.status_code == 303
    page = browser.get(answer.location)
    assert problem in page.text
    assert 'value="alice"' in page.text


def test_from_after_to_is_said_instead_of_finding_nothing(app, browser, alice):
    with app.app_context():
        audit.record("person.reset_link", actor=alice, person=alice)
    asked = {"since": "2026-11-24", "until": "2026-11-01"}
    problem = "From: this day is after To. Choose an earlier one, or a later one for To."
    answer = browser.get("/admin/audit", query_string=asked)
    assert answer.status_code == 422
    assert f'<a href="#since">{problem}' in answer.text
    assert 'aria-describedby="since-error"' in answer.text
    assert 'value="2026-11-24"' in answer.text
    assert 'value="2026-11-01"' in answer.text
    # Where htmx shows the table alone, it stands there.
    part = browser.get("/admin/audit", query_string=asked, headers={"HX-Request-Type": "partial"})
    assert problem in part.text
    assert "No event meets" not in part.text
    download = browser.get("/admin/audit/events.csv", query_string=asked)
    assert (download.status_code, problem in browser.get(download.location).text) == (303, True)


def test_from_and_to_may_be_the_same_day(browser):
    day = datetime.fromtimestamp(now(), UTC).strftime("%Y-%m-%d")
    asked = {"since": day, "until": day}
    assert browser.get("/admin/audit", query_string=asked).status_code == 200


@pytest.mark.parametrize(("name", "value", "problem"), BAD)
def test_a_bad_filter_is_said_at_the_top_and_at_its_field(browser, name, value, problem):
    answer = browser.get("/admin/audit", query_string={name: value})
    assert answer.status_code == 422
    assert f'<a href="#{name}">{problem}' in answer.text
    assert f'id="{name}-error"' in answer.text
    assert f'aria-describedby="{name}-error"' in answer.text
    assert value not in answer.text
    assert answer.text.count('class="error"') == 1
