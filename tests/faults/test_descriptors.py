"""The server runs out of file descriptors: it goes on by itself once there are some again."""

import resource
from contextlib import ExitStack

import pytest

from tests.engines import on_both_engines
from tests.faults.portal import wait_until

MOST = 80

pytestmark = on_both_engines


def test_a_server_without_file_descriptors_recovers(rp, portal):
    real = portal.serving(rp)
    portal.start()
    workers = portal.workers()
    kept = real.token("client_credentials").get_json()["access_token"]
    for pid in workers:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (MOST, MOST))
    with ExitStack() as open_connections:
        for _ in range(4 * MOST):
            connection = open_connections.enter_context(portal.connect())
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises((TimeoutError, ConnectionResetError)):
            portal.get("/healthz", seconds=1)

    def works() -> bool:
        try:
            return real.token("client_credentials").status_code == 200
        except OSError:
            return False

    wait_until(works, 10)
    assert [real.token("client_credentials").status_code for _ in range(20)] == [200] * 20
    assert real.is_active(kept)
    assert portal.workers() == workers
