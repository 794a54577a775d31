"""The server runs out of file descriptors: it goes on by itself once there are some again."""

import resource
from contextlib import ExitStack, suppress

from tests.engines import on_both_engines
from tests.faults.portal import Portal, wait_until

MOST = 80

pytestmark = on_both_engines


def answers(portal: Portal, open_connections: ExitStack) -> bool:
    """Whether it still does, with so many connections more that ask and hear no answer."""
    for _ in range(MOST):
        connection = open_connections.enter_context(portal.connect())
        # One that is closed at once was turned away.
        with suppress(ConnectionError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        portal.get("/healthz", seconds=1)
    except (TimeoutError, ConnectionError):
        return False
    return True


def test_a_server_without_file_descriptors_recovers(rp, portal):
    real = portal.serving(rp)
    portal.start()
    workers = portal.workers()
    kept = real.token("client_credentials").get_json()["access_token"]
    for pid in workers:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (MOST, MOST))
    with ExitStack() as open_connections:
        # One that is full turns away what the other would have taken: so on until both are.
        wait_until(lambda: not answers(portal, open_connections))

    def works() -> bool:
        try:
            return real.token("client_credentials").status_code == 200
        except OSError:
            return False

    wait_until(works, 10)
    assert [real.token("client_credentials").status_code for _ in range(20)] == [200] * 20
    assert real.is_active(kept)
    assert portal.workers() == workers
