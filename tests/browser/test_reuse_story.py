"""Two services share one secret: the administrator sees it, splits them, and the notice goes."""

import time
from collections.abc import Callable

import pytest
import requests
from playwright.sync_api import expect

from portal.clock import now
from portal.models import Application, ApplicationSecret, SecretNetwork, User
from portal.models.application import CLIENT_CREDENTIALS
from tests.browser import samples, steps
from tests.browser.portal_server import PortalServer

pytestmark = pytest.mark.browser
OFFICE, CLOUD = "203.0.113.77", "198.51.100.9"


@pytest.fixture(scope="module")
def proxied(browser, tmp_path_factory):
    """A portal behind a proxy that says who asks."""
    server = PortalServer(tmp_path_factory.mktemp("proxied"))
    server.environ["PORTAL_PROXY_HOPS"] = "1"
    server.start()
    with server.models():
        samples.add_people_and_applications()
    yield server
    server.stop()


def until(done: Callable[[], bool]) -> None:
    """What is noted within one second is written with the next request of that process."""
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        time.sleep(0.3)


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_two_services_with_one_secret_are_split(proxied, tabs, script):
    name = "Wiki search" if script else "Wiki export"
    with proxied.models():
        wiki, shared = Application.register(
            name=name, owner=User.named("tom"), grants=[CLIENT_CREDENTIALS], scopes=["public"]
        )
        networks = SecretNetwork.secret.in_(
            ApplicationSecret.select(ApplicationSecret.id).where(
                ApplicationSecret.application == wiki.id
            )
        )

    def ask(address: str, client_id: str, secret: str) -> int:
        return requests.post(
            f"{proxied.address}/oauth/token",
            data={"grant_type": CLIENT_CREDENTIALS},
            auth=(client_id, secret),
            headers={"X-Forwarded-For": address},
            timeout=10,
        ).status_code

    def take_turns() -> bool:
        assert [ask(it, wiki.client_id, shared) for it in (OFFICE, CLOUD)] == [200] * 2
        with proxied.models():  # they go on so for three hours
            return SecretNetwork.update(returns=3).where(networks).execute() == 2

    until(take_turns)

    page = tabs.open(script=script)
    steps.visit(page, f"{proxied.address}/admin/applications?chip=attention", "priya")
    page.get_by_role("link", name=f"{name}: Secret reused").click()
    expect(page.get_by_text("is used from 2 networks at the same time")).to_be_visible()
    page.get_by_text("Used from 2 networks", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text="198.51.100.0/24").last).to_be_visible()
    page.get_by_role("link", name="Split…").click()
    expect(page.get_by_label("Name")).to_have_value(f"{name} (2)")
    page.get_by_role("button", name="Split", exact=True).click()
    new_id = page.get_by_role("textbox", name="Client ID").input_value()
    new = page.get_by_role("textbox", name="Client secret").input_value()
    with page.expect_popup() as opened:  # what to do next, and the secret, stay in view
        page.get_by_role("link", name=f"the secrets of {name}").click()
    page = opened.value
    expect(page.get_by_text("not used yet. Give its client ID and secret")).to_be_visible()

    def changed_over() -> bool:
        assert [ask(CLOUD, new_id, new), ask(OFFICE, wiki.client_id, shared)] == [200] * 2
        with proxied.models():  # three minutes after the old one was last used there
            earlier = SecretNetwork.update(last_at=now() - 180)
            earlier.where(networks, SecretNetwork.network == "198.51.100.0/24").execute()
        page.reload()
        return page.get_by_text("at the same time").count() == 0

    until(changed_over)
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text(f"{name} (2) was split from it")).to_contain_text("last used just now")
