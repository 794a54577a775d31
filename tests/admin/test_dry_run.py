"""What an edit takes away is said before it is saved."""

import re
from html import unescape

import pytest

from portal.clock import now
from portal.models import Application, Usage
from portal.models.usage import DAY
from tests.admin.test_application_form import edit
from tests.factories import REDIRECT_URI, make_application

NEW = "https://app.example.org/another"


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


@pytest.fixture
def served(app, alice):
    application, _ = make_application(alice)
    Usage.create(
        application_id=application.id,
        kind="redirect_uri",
        value=REDIRECT_URI,
        day=now() // DAY,
        count=3,
    )
    return application


def uris(application):
    return Application.get_by_id(application.id).redirect_uris


def sent_by(page, choice):
    inputs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page)
    fields: dict[str, list[str]] = {}
    for name, value in inputs:
        fields.setdefault(name, []).append(unescape(value))
    digest = re.search(r'name="confirmed_effects" value="([0-9a-f]{64})"', page)[1]
    return {**fields, "confirmed_effects": digest if choice == "save" else "back"}


def test_an_address_that_served_people_is_taken_away_only_after_a_second_yes(browser, served):
    page = edit(browser, served, redirect_uris=NEW)
    assert page.status_code == 200
    assert "served 3 sign-ins since" in page.text
    assert uris(served) == [REDIRECT_URI]
    path = f"/admin/applications/{served.client_id}/edit"
    back = browser.post(path, data=sent_by(page.text, "back"))
    assert back.status_code == 200
    assert NEW in back.text
    assert uris(served) == [REDIRECT_URI]
    assert browser.post(path, data=sent_by(page.text, "save")).status_code == 303
    assert uris(served) == [NEW]


def test_a_yes_to_one_change_is_no_yes_to_another(browser, served):
    page = edit(browser, served, redirect_uris=NEW)
    changed = {**sent_by(page.text, "save"), "redirect_uris": "https://other.example.org/cb"}
    path = f"/admin/applications/{served.client_id}/edit"
    assert browser.post(path, data=changed).status_code == 200
    assert uris(served) == [REDIRECT_URI]


def test_adding_an_address_saves_at_once(browser, served):
    page = edit(browser, served, redirect_uris=f"{REDIRECT_URI}\n{NEW}")
    assert page.status_code == 303


def test_the_command_says_the_same_and_changes_nothing(app, served):
    command = ["application", "update", served.client_id, "--redirect-uri", NEW, "--dry-run"]
    said = app.test_cli_runner().invoke(args=command)
    assert "served 3 sign-ins since" in said.output
    assert uris(served) == [REDIRECT_URI]


def test_months_of_counting_are_said_as_days(browser, served):
    Usage.create(application_id=1, kind="scope", value="openid", day=now() // DAY - 60, count=1)
    assert "3 sign-ins in the last 30 days" in edit(browser, served, redirect_uris=NEW).text
    path = f"/admin/applications/{served.client_id}/delete"
    assert "3 sign-ins in the last 30 days" in browser.get(path).text
