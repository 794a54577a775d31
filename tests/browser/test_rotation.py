"""A secret is changed while the application works on, and nobody has to guess."""

import time

import pytest
import requests
from playwright.sync_api import expect

from portal.clock import now
from portal.models import Application, ApplicationSecret, User
from portal.models.application import CLIENT_CREDENTIALS
from tests.browser import steps

pytestmark = pytest.mark.browser
DAY = 86400


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_an_old_secret_is_watched_until_it_may_go(portal, tabs, script):
    with portal.models():
        robot, old = Application.register(
            name=f"Payroll {'with' if script else 'without'} scripts",
            owner=User.named("alice"),
            grants=[CLIENT_CREDENTIALS],
            scopes=["public"],
        )

    def ask(secret: str) -> int:
        return requests.post(
            f"{portal.address}/oauth/token",
            data={"grant_type": CLIENT_CREDENTIALS},
            auth=(robot.client_id, secret),
            timeout=10,
        ).status_code

    assert ask(old) == 200
    time.sleep(1.1)  # what others noted in the same second is written with the next request
    assert ask(old) == 200
    page = tabs.open(script=script)
    steps.visit(page, f"{portal.address}/admin/applications/{robot.client_id}", "alice")
    page.get_by_role("link", name="Secrets", exact=True).click()
    page.get_by_label("Name").fill("From December on")
    page.get_by_role("button", name="Make another secret").click()
    new = page.get_by_role("textbox", name="Client secret").input_value()
    page.get_by_role("link", name="I have stored it").click()
    expect(page.get_by_text("Not used yet. Give it to the application")).to_be_visible()
    expect(page.get_by_text("do not retire it yet")).to_contain_text("from 127.0.0.0/24")
    # Both work, so that the application changes over when it likes.
    assert [ask(old), ask(new), ask(old)] == [200] * 3

    with portal.models():  # nine days later
        mine = ApplicationSecret.application == robot.id
        aged = ApplicationSecret.update(last_used_at=now() - 9 * DAY)
        aged.where(mine, ApplicationSecret.prefix == old[:8]).execute()
        ApplicationSecret.update(last_used_at=now()).where(
            mine, ApplicationSecret.prefix == new[:8]
        ).execute()
    page.reload()
    expect(page.get_by_text("Not used for 9 days: safe to retire.")).to_be_visible()
    page.get_by_role("link", name=f"Retire… the secret {old[:8]}").click()
    expect(page.get_by_text("was used 9 days ago, from 127.0.0.0/24")).to_be_visible()
    page.get_by_role("button", name="Retire it now").click()
    expect(page.get_by_text("is retired: it is refused from now on")).to_be_visible()
    assert [ask(new), ask(old)] == [200, 401]


def test_a_page_that_shows_a_secret_is_reloaded_without_a_second_one(portal, tabs):
    page = tabs.open()
    steps.visit(page, f"{portal.address}/admin/applications", "alice")
    client_id, _ = steps.add_application(
        page, portal.address, "Reading Room", "https://read.example.org/cb", []
    )
    secrets = f"{portal.address}/admin/secrets/{client_id}"
    once = page.get_by_role("heading", name="Copy the client secret now")

    def reload_at(address: str) -> None:
        expect(once).to_be_visible()
        expect(page).to_have_url(address)
        page.reload()
        expect(once).to_have_count(0)

    page.get_by_role("button", name="Rotate secret").click()
    page.get_by_role("button", name="Make a new secret").click()
    reload_at(f"{portal.address}/admin/applications/{client_id}")
    page.goto(secrets)
    page.get_by_role("button", name="Make another secret").click()
    reload_at(secrets)
    with portal.models():
        mine = ApplicationSecret.select().join(Application)
        assert mine.where(Application.client_id == client_id).count() == 3
