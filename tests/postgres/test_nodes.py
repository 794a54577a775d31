"""Two portals on one PostgreSQL behind one address: a client never notices which one answers."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from html import unescape
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from portal.database import close_database, open_database
from portal.models import AccessToken, Application, User
from tests import factories
from tests.browser.portal_server import PortalServer
from tests.factories import PASSWORD, REDIRECT_URI
from tests.flows import CHALLENGE, VERIFIER

pytestmark = pytest.mark.postgres

#: What people and applications would type; a proxy would listen there.
ISSUER = "http://localhost:8000"
STEPS = 10


class Nodes:
    """The two portals, and what a proxy does: each request goes to the other one."""

    def __init__(self, first: PortalServer, second: PortalServer) -> None:
        self.both = (first, second)
        self.turns = cycle(self.both)

    def next(self, path: str) -> str:
        return next(self.turns).address + path


class Machine:
    """An application with its secret."""

    def __init__(self, client_id: str, secret: str) -> None:
        self.credentials = (client_id, secret)
        self.client_id = client_id

    def post(self, node: PortalServer, path: str, **data) -> requests.Response:
        address = f"{node.address}/oauth/{path}"
        return requests.post(address, data=data, auth=self.credentials, timeout=10)

    def token(self, node: PortalServer) -> requests.Response:
        return self.post(node, "token", grant_type="client_credentials")

    def refresh(self, node: PortalServer, refresh_token: str) -> requests.Response:
        return self.post(node, "token", grant_type="refresh_token", refresh_token=refresh_token)

    def is_active(self, node: PortalServer, token: str) -> bool:
        return self.post(node, "introspect", token=token).json()["active"]


class Browser:
    """A person whose every request reaches another portal than the one before."""

    def __init__(self, nodes: Nodes, username: str) -> None:
        self.nodes, self.username, self.http = nodes, username, requests.Session()

    def ask(self, method: str, address: str, **more) -> requests.Response:
        parts = urlsplit(address)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        more |= {"allow_redirects": False, "timeout": 10}
        return self.http.request(method, self.nodes.next(path), **more)

    def walk(self, address: str, press: str = 'value="deny"') -> str:
        """Follow redirects, sign in and allow; where it ends outside the portal, or the page."""
        answer = self.ask("GET", address)
        for _ in range(STEPS):
            if answer.is_redirect:
                address = answer.headers["Location"]
                if address.startswith(REDIRECT_URI):
                    return address
                answer = self.ask("GET", address)
            elif 'name="password"' in answer.text:
                fields = {"username": self.username, "password": PASSWORD}
                answer = self.submit(address, answer.text, 'name="password"', **fields)
            elif press in answer.text:
                answer = self.submit(address, answer.text, press, decision="allow")
            else:
                return answer.text
        raise AssertionError(f"no end: {address}")

    def submit(self, address: str, page: str, mark: str, **more: str) -> requests.Response:
        forms = re.findall(r"<form.*?</form>", page, re.S)
        form = next(form for form in forms if mark in form)
        fields = [
            (name, unescape(value))
            for name, value in re.findall(r'<input[^>]* name="([^"]*)" value="([^"]*)"', form)
            if name not in more
        ]
        action = re.search(r'action="([^"]*)"', form)
        target = unescape(action[1]) if action else address
        return self.ask("POST", target, data=[*fields, *more.items()])

    def press(self, page: str, mark: str) -> None:
        """Open a page and press the button of the form that has this mark."""
        text = self.walk(page)
        answer = self.submit(page, text, mark)
        assert answer.status_code in (200, 303), answer.text


@pytest.fixture(scope="module")
def nodes(postgres, tmp_path_factory) -> Iterator[Nodes]:
    url = postgres.create("nodes")
    servers = []
    for name in ("first", "second"):
        server = PortalServer(tmp_path_factory.mktemp(name))
        server.database_url = server.environ["DATABASE_URL"] = url
        server.environ["PORTAL_ISSUER"] = ISSUER
        server.start()
        servers.append(server)
    with servers[0].models():
        for username in ("alice", "bob", "carol", "dave"):
            factories.make_user(username, is_admin=username == "alice")
    yield Nodes(*servers)
    for server in servers:
        server.stop()


@pytest.fixture
def here(nodes) -> Iterator[None]:
    """The models of this process use the nodes' database."""
    open_database(nodes.both[0].database_url)
    yield
    close_database()


@pytest.fixture
def machine(here) -> Machine:
    application, secret = factories.make_application(
        User.named("alice"),
        grants=["authorization_code", "client_credentials", "refresh_token"],
        scopes=["openid", "profile", "offline_access"],
    )
    return Machine(application.client_id, secret)


@pytest.fixture
def alice(nodes) -> Browser:
    """The administrator, signed in."""
    browser = Browser(nodes, "alice")
    assert "Applications" in browser.walk("/admin/applications")
    return browser


def sign_in(nodes: Nodes, machine: Machine, username: str) -> tuple[Browser, dict]:
    """Through sign-in, consent and redemption, each on the other portal."""
    browser = Browser(nodes, username)
    asked = {
        "response_type": "code",
        "client_id": machine.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid profile offline_access",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    address = requests.Request("GET", f"{ISSUER}/oauth/authorize", params=asked).prepare().url
    code = re.search(r"code=([^&]+)", browser.walk(address))[1]
    answer = machine.post(
        next(nodes.turns),
        "token",
        grant_type="authorization_code",
        code=code,
        redirect_uri=REDIRECT_URI,
        code_verifier=VERIFIER,
    )
    assert answer.status_code == 200, answer.text
    return browser, answer.json()


def test_a_person_signs_in_allows_and_refreshes_whichever_node_answers(nodes, machine):
    first, second = nodes.both
    _, tokens = sign_in(nodes, machine, "bob")
    assert machine.is_active(first, tokens["access_token"])
    assert machine.is_active(second, tokens["access_token"])
    for node in (first, second, first):
        answer = machine.refresh(node, tokens["refresh_token"])
        assert answer.status_code == 200
        tokens = answer.json()
    told = requests.get(
        f"{second.address}/oauth/userinfo",
        headers={"Authorization": f"Bearer {tokens['access_token']}"},
        timeout=10,
    )
    assert told.json()["name"] == "Bob"


def test_the_nodes_say_and_publish_the_same(nodes):
    for path in ("/.well-known/openid-configuration", "/oauth/jwks"):
        said = [requests.get(node.address + path, timeout=10).json() for node in nodes.both]
        assert said[0] == said[1]
    assert said[0]["keys"]


def test_an_application_disabled_on_one_is_refused_by_the_other_at_once(nodes, machine, alice):
    first, second = nodes.both
    tokens = [machine.token(node).json()["access_token"] for node in nodes.both]
    page = f"/admin/applications/{machine.client_id}"
    alice.press(f"{page}/disable", f"{page}/disable")
    for node in (second, first):
        assert machine.token(node).json()["error"] == "invalid_client"
    alice.press(page, f"{page}/enable")
    for node, token in ((second, tokens[0]), (first, tokens[1])):
        assert machine.token(node).status_code == 200
        assert not machine.is_active(node, token)


def test_a_secret_rotated_on_one_works_on_the_other_and_the_old_one_does_not(nodes, machine, here):
    first, second = nodes.both
    assert [machine.token(node).status_code for node in nodes.both] == [200, 200]
    secret = Application.with_client_id(machine.client_id).rotate_secret()
    renewed = Machine(machine.client_id, secret)
    for node in (second, first):
        assert machine.token(node).status_code == 401
        assert renewed.token(node).status_code == 200


def test_a_person_disabled_on_one_is_gone_from_the_other(nodes, machine, alice):
    first, second = nodes.both
    _, tokens = sign_in(nodes, machine, "carol")
    page = "/admin/users/carol"
    alice.press(page, "/disable")
    assert not machine.is_active(first, tokens["access_token"])
    assert not machine.is_active(second, tokens["access_token"])
    for node in nodes.both:
        assert machine.refresh(node, tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_consent_withdrawn_on_one_kills_the_tokens_on_the_other(nodes, machine):
    browser, tokens = sign_in(nodes, machine, "dave")
    assert all(machine.is_active(node, tokens["access_token"]) for node in nodes.both)
    browser.press("/account/connections", "/account/connections/")
    assert not any(machine.is_active(node, tokens["access_token"]) for node in nodes.both)
    for node in nodes.both:
        assert machine.refresh(node, tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_node_killed_under_load_loses_no_token_that_it_gave(nodes, machine):
    first, second = nodes.both
    given: list[str] = []
    stop = threading.Event()

    def load(node: PortalServer) -> None:
        while not stop.is_set():
            try:
                answer = machine.token(node)
            except requests.RequestException:
                return
            assert answer.status_code == 200
            given.append(answer.json()["access_token"])

    threads = [threading.Thread(target=load, args=(node,)) for node in nodes.both for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    for pid in family(second.process.pid):
        os.kill(pid, signal.SIGKILL)
    second.process.wait()
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(given) > 50
    assert AccessToken.select().count() >= len(given)
    assert all(machine.is_active(first, token) for token in given)
    second.start()
    assert machine.token(second).status_code == 200


def family(pid: int) -> list[int]:
    """A process and its children, the parent last."""
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()), pid]
