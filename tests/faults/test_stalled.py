"""Connections that never come to an end, and bodies that never should: everybody else is served."""

import itertools
import time
from contextlib import ExitStack
from urllib.parse import urlencode

import pytest

from portal.models import AccessToken
from tests.faults.portal import Answer, Load

METADATA = "/.well-known/openid-configuration"
POST = (
    b"POST /oauth/token HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
)
MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 1000\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\ngrant\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nuser",
        b"POST /oauth/token HTTP/1.1\r\nHost: local",
    ],
    ids=["body", "chunks", "page", "headers"],
)
def test_forty_stalled_requests_stop_nobody(rp, portal, sent):
    real = portal.serving(rp)
    portal.start()
    real.token("client_credentials")
    with ExitStack() as open_connections:
        for _ in range(40):
            connection = open_connections.enter_context(portal.connect())
            connection.sendall(sent)
        time.sleep(0.5)
        for _ in range(10):
            metadata, token = portal.get(METADATA), real.token("client_credentials")
            assert (metadata.status_code, token.status_code) == (200, 200)
            assert max(metadata.seconds, token.seconds) < 1
    assert portal.get(METADATA).status_code == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_bodies_of_twenty_megabytes_are_refused_and_not_kept(rp, portal, chunked):
    portal.start()
    assert portal.get("/login").status_code == 200
    before, part = portal.memory(), b"x" * MEGABYTE
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    def post(path: str) -> Answer:
        body = itertools.repeat(part, 20) if chunked else part * 20
        return portal.request("POST", path, body, form)

    with Load(8, lambda: post("/oauth/token"), most=2) as load:
        page = post("/login")
        growth = portal.memory() - before
    # Nine at once; a MB of each is under way, and threads have stacks.
    assert max(growth, portal.memory() - before) < 60 * MEGABYTE
    assert not load.failed
    for answer in load.done:
        assert answer.status_code == 413
        assert answer.get_json()["error"] == "invalid_request"
    assert page.status_code == 413
    assert "too much at once" in page.get_data(as_text=True)
    assert portal.serving(rp).token("client_credentials").status_code == 200


def test_a_body_without_end_is_cut_off(rp, portal):
    portal.start()
    before, size = portal.memory(), MEGABYTE
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    with portal.connect() as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(chunk * 200)
    assert portal.memory() - before < 40 * MEGABYTE
    assert portal.serving(rp).token("client_credentials").status_code == 200


def test_half_a_body_is_not_acted_upon(rp, portal):
    portal.start()
    fields = {"grant_type": "client_credentials", "client_id": rp.client_id}
    body = urlencode({**fields, "client_secret": rp.secret, "scope": "openid profile"}).encode()
    half = body.partition(b"&scope=")[0]
    before = AccessToken.select().count()
    with portal.connect() as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + half)
    time.sleep(0.5)
    assert AccessToken.select().count() == before
    # The half would have been good.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert portal.request("POST", "/oauth/token", half, form).status_code == 200


def test_a_body_in_chunks_is_as_good_as_any(rp, portal):
    portal.start()
    fields = {"grant_type": "client_credentials", "client_id": rp.client_id}
    body = urlencode({**fields, "client_secret": rp.secret}).encode()
    parts = [body[start : start + 7] for start in range(0, len(body), 7)]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = portal.request("POST", "/oauth/token", iter(parts), headers)
    assert answer.status_code == 200
    assert rp.is_active(answer.get_json()["access_token"])
