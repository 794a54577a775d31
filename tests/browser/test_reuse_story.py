"""Two services share one secret: the administrator sees it, splits them, and the notice goes."""

import time

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

    assert ask(OFFICE, wiki.client_id, shared) == 200
    time.sleep(1.1)  # what is noted within one second is written with the next request
    assert ask(CLOUD, wiki.client_id, shared) == 200
    with proxied.models():  # they go on taking turns for three hours
        assert SecretNetwork.update(returns=3).where(networks).execute() == 2

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
    page.get_by_role("link", name=f"the secrets of {name}").click()
    expect(page.get_by_text("not used yet. Give its client ID and secret")).to_be_visible()

    with proxied.models():  # three minutes later
        earlier = SecretNetwork.update(last_at=now() - 180)
        earlier.where(networks, SecretNetwork.network == "198.51.100.0/24").execute()
    assert [ask(CLOUD, new_id, new), ask(OFFICE, wiki.client_id, shared)] == [200] * 2
    page.reload()
    expect(page.get_by_text("at the same time")).to_have_count(0)
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_text(f"{name} (2) was split from it")).to_contain_text("last used just now")
