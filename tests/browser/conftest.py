"""One production server and one Chromium for all browser tests."""

from collections.abc import Callable, Iterator

import pytest

from tests import factories
from tests.browser import samples
from tests.browser.portal_server import PortalServer
from tests.browser.relying_app import RelyingApp
from tests.browser.tabs import Tabs, launch, missing_browser, missing_htmx
from tests.requirements import require


@pytest.fixture(scope="session")
def browser():
    require("browser", missing_browser())
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def tabs(browser) -> Iterator[Tabs]:
    """Opens tabs; the test fails when any page logs an error, breaks its policy or answers 5xx."""
    tabs = Tabs(browser)
    yield tabs
    tabs.close()
    assert tabs.problems == []


@pytest.fixture
def htmx() -> None:
    """For tests that need htmx itself."""
    require("browser", missing_htmx())


@pytest.fixture(scope="session")
def new_portal(tmp_path_factory) -> Iterator[Callable[[], PortalServer]]:
    """Starts portals in which there is nothing yet."""
    started: list[PortalServer] = []

    def start() -> PortalServer:
        server = PortalServer(tmp_path_factory.mktemp("portal"))
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def portal(browser, new_portal) -> PortalServer:
    """A portal in use: alice and priya administer it, bob shares, applications fill pages."""
    server = new_portal()
    with server.models():
        samples.add_people_and_applications()
        samples.add_more_applications(20)
        factories.make_user("alice", name="Alice Moreau", is_admin=True)
        factories.make_user("bob", name="Bob Lindqvist")
    return server


@pytest.fixture
def relying_app(portal) -> Iterator[RelyingApp]:
    app = RelyingApp(portal.address)
    app.start()
    yield app
    app.stop()
