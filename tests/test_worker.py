"""The HTTP side of a worker: its limits, and what reaches the application of a request."""

import asyncio
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn

from portal import audit, bounded_http, worker, wsgi_bridge
from portal.database import database, on_sqlite
from portal.postgres import giving_back
from portal.wsgi_bridge import ask, environ_of, with_body


def tell(environ, start_response) -> list[bytes]:
    """An application that says what it was asked."""
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/endless":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return endless()  # type: ignore[return-value]
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.6)  # longer than a head may take
    if environ["PATH_INFO"] == "/long":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 100_000 for _ in range(30))  # type: ignore[return-value]
    text = "|".join(environ.get(name, "-") for name in ("PATH_INFO", "HTTP_X_ONE", "HTTP_COOKIE"))
    content = text.encode("latin-1") + b"|" + body
    start_response("200 OK", [("Content-Length", str(len(content)))])
    return [content]


def endless() -> Iterator[bytes]:
    try:
        while True:
            yield b"x" * 100_000
    finally:
        ended.set()


#: Set once nobody makes the endless answer any more.
ended = threading.Event()


@pytest.fixture
def connect(app, monkeypatch) -> Iterator[Callable[[], socket.socket]]:
    """A worker with little patience; connections to it."""
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(worker, "BODY_SECONDS", 0.4)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        worker.Worker(tell, 2).handle,
        interface="asgi3",
        http=bounded_http.BoundedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        loop="asyncio",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    made: list[socket.socket] = []

    def connect() -> socket.socket:
        made.append(socket.create_connection(listening.getsockname(), timeout=5))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()
    server.should_exit = True
    thread.join()
    listening.close()


def everything(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    found = b""
    while chunk := connection.recv(65536):
        found += chunk
    return found


def answer(connection: socket.socket, request: bytes) -> bytes:
    """Send a request; the answer, whose head says how long it is."""
    connection.sendall(request)
    found = b""
    while b"\r\n\r\n" not in found or len(found) < length_of(found):
        found += connection.recv(65536)
    return found


def length_of(found: bytes) -> int:
    head, _, _ = found.partition(b"\r\n\r\n")
    return len(head) + 4 + int(re.search(rb"content-length: (\d+)", head)[1])


def test_a_connection_serves_one_request_after_the_other(connect):
    connection = connect()
    for number in range(3):
        found = answer(connection, b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
        assert found.endswith(b"\r\n\r\n/%d|-|-|" % number)
        time.sleep(0.15)  # not all of it may be spent on heads that are complete


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a connection's packets")
def test_an_answer_comes_in_one_packet(connect):
    connection = connect()
    for number in (1, 2):
        answer(connection, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        # linux/tcp.h: tcp_info.tcpi_data_segs_in
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
        assert struct.unpack_from("I", told, 152) == (number,)


def test_an_answer_to_head_has_no_body_and_the_connection_goes_on(connect):
    connection = connect()
    connection.sendall(b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
    head = connection.recv(65536)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")
    assert answer(connection, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"/b|-|-|")


def test_who_asks_whether_to_go_on_hears_so_before_the_body(connect):
    connection = connect()
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    connection.sendall(head)
    assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer(connection, b"body").endswith(b"/a|-|-|body")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: lo"])
def test_a_head_that_does_not_come_ends_the_connection(connect, sent):
    connection = connect()
    connection.sendall(sent)
    began = time.monotonic()
    assert everything(connection) == b""
    assert 0.2 < time.monotonic() - began < 3


def test_a_second_head_has_the_same_time_as_the_first(connect):
    connection = connect()
    answer(connection, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    connection.sendall(b"GET / HT")
    assert everything(connection) == b""


def test_a_head_without_end_is_refused(connect):
    connection = connect()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: ")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(b"x" * 30_000_000)


def test_a_body_that_does_not_come_is_not_acted_upon(connect):
    connection = connect()
    found = answer(connection, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf")
    assert found.startswith(b"HTTP/1.1 400 ")


def test_a_body_in_chunks_arrives_whole(connect):
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = answer(connect(), head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert found.endswith(b"/a|-|-|abcde")


@pytest.mark.parametrize(
    ("length", "body"),
    [(b"Content-Length: 5", b"abcde"), (b"Transfer-Encoding: chunked", b"5\r\nabcde\r\n0\r\n\r\n")],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("parts", [1, 3], ids=["at_once", "in_parts"])
def test_an_offer_of_http_2_costs_no_body(connect, length, body, parts):
    """Java's HTTP client makes one with each request, Spring Boot 4 with it."""
    head = (
        b"POST /a?b HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: h\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAAA\r\nUpgrade: h2c\r\nX-One: 1\r\n%s\r\n\r\n" % length
    )
    connection = connect()
    pieces = [head + body] if parts == 1 else [head[:-1], head[-1:] + body[:1], body[1:]]
    for _ in range(3):  # the connection goes on
        for piece in pieces[:-1]:
            connection.sendall(piece)
            time.sleep(0.05)
        assert answer(connection, pieces[-1]).endswith(b"/a|1|-|abcde")
    assert answer(connection, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"/b|-|-|")


def test_many_offers_at_once_are_answered_one_by_one(connect):
    offer = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    connection = connect()
    connection.sendall(offer * 500 + b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n")
    found = everything(connection)
    assert found.count(b"/a|-|-|") == 500
    assert found.endswith(b"/b|-|-|")


def test_nobody_is_connected_to_elsewhere(connect):
    connection = connect()
    connection.sendall(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n")
    assert everything(connection).startswith(b"HTTP/1.1 400 ")


def test_a_long_answer_is_sent_while_it_is_made(connect):
    connection = connect()
    connection.sendall(b"GET /long HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    found = everything(connection)
    assert b"transfer-encoding: chunked" in found
    assert found.count(b"x") >= 3_000_000


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        (b"X-One: a\r\nX-One: b\r\n", b"/p|a,b|-|"),
        (b"Cookie: a=1\r\nCookie: b=2\r\n", b"/p|-|a=1; b=2|"),
        # It would pass for the other one, which proxies set.
        (b"X_One: forged\r\n", b"/p|-|-|"),
        (b"X-One: caf\xe9\r\n", b"/p|caf\xe9|-|"),
    ],
)
def test_headers_reach_the_application_as_pep_3333_says(connect, headers, seen):
    found = answer(connect(), b"GET /p HTTP/1.1\r\nHost: h\r\n" + headers + b"\r\n")
    assert found.endswith(b"\r\n\r\n" + seen)


def test_trailers_are_no_headers(connect):
    """A proxy that sets a header does not set it again after the body."""
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = answer(connect(), head + b"3\r\nabc\r\n0\r\nX-One: forged\r\n\r\n")
    assert found.endswith(b"/a|-|-|abc")


def test_a_body_in_small_pieces_leaves_the_connection_its_time(connect):
    connection = connect()
    connection.sendall(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"3\r\n", b"abc\r\n"):
        time.sleep(0.05)
        connection.sendall(piece)
    assert answer(connection, b"0\r\n\r\n").endswith(b"/a|-|-|abc")
    time.sleep(0.8)  # longer than a head may take
    assert answer(connection, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n").endswith(b"/b|-|-|")


def test_a_blank_line_keeps_no_connection(connect):
    connection = connect()
    answer(connection, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    connection.sendall(b"\r\n")
    assert everything(connection) == b""


@pytest.mark.parametrize("end", [b"", b"zz\r\n"])
def test_half_a_request_takes_nobodys_answer(connect, end):
    connection = connect()
    asked = b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    half = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.sendall(asked + half + end)
    if not end:
        connection.shutdown(socket.SHUT_WR)
    found = everything(connection)
    assert found.count(b"HTTP/1.1 200 ") == 2
    assert b"/slow|-|-|" in found
    assert found.endswith(b"/b|-|-|")


def test_a_second_head_that_came_with_the_first_has_its_time_too(connect):
    connection = connect()
    connection.sendall(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HT")
    began = time.monotonic()
    assert everything(connection).endswith(b"/a|-|-|")
    assert 0.2 < time.monotonic() - began < 3


def test_who_sends_half_a_body_keeps_no_connection(connect):
    connection = connect()
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"
    assert answer(connection, head + b"half").startswith(b"HTTP/1.1 400 ")
    assert everything(connection) == b""


@pytest.mark.parametrize(
    "more",
    [b"GARBAGE\r\n\r\n", b"GET /b HTTP/9\r\n", b"GET /b HTTP/1.1\r\nX: " + b"x" * 70_000],
)
def test_what_cannot_be_read_takes_nobodys_answer(connect, more):
    connection = connect()
    connection.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" + more)
    found = everything(connection)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b"/slow|-|-|" in found
    assert b"/b" not in found


@pytest.mark.parametrize("more", [b"", b"GET /b HT"])
def test_who_has_said_all_still_hears_the_answer(connect, more):
    connection = connect()
    connection.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n" + more)
    connection.shutdown(socket.SHUT_WR)
    assert everything(connection).endswith(b"/slow|-|-|")


def test_http_1_0_gets_no_chunks(connect):
    connection = connect()
    connection.sendall(b"GET /long HTTP/1.0\r\n\r\n")
    head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"x" * 3_000_000


@pytest.mark.parametrize("more", [b"", b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"])
def test_an_answer_ends_where_nobody_listens(connect, caplog, more):
    ended.clear()
    connection = connect()
    connection.sendall(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n" + more)
    time.sleep(0.1)
    connection.close()
    assert ended.wait(5)
    assert not caplog.records


def test_a_path_is_read_as_utf_8_and_handed_on_as_bytes():
    scope = {
        "server": ("h", 1),
        "client": None,
        "method": "GET",
        "path": "/é/%2F",
        "query_string": b"a=%C3%A9",
        "http_version": "1.1",
        "scheme": "http",
        "headers": [],
    }
    environ = environ_of(scope)
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/é/%2F"
    assert environ["QUERY_STRING"] == "a=%C3%A9"


def test_a_body_is_closed_when_it_was_read():
    closed = []

    class Body(list):
        def close(self) -> None:
            closed.append(True)

    def application(environ, start_response):
        start_response("204 NO CONTENT", [])
        return iter_of

    iter_of = type("Lazy", (), {"__iter__": lambda s: iter([b"a"]), "close": Body().close})()
    assert ask(application, {}).body == b"a"
    assert closed == [True]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_download_signs_nobody_else_in(app, browser_of, alice, monkeypatch, ending):
    """Its rows are made after the answer has begun, in threads that answer others meanwhile."""
    with app.app_context():
        for _ in range(4):
            audit.record("person.reset_link", actor=alice, person=alice)
    cookie = browser_of(alice).get_cookie("portal_session")
    address = f"/admin/audit/events.{ending}"
    portal = app.wsgi_app if on_sqlite() else giving_back(app.wsgi_app, database.obj)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        signed_in = environ_for(address) | {"HTTP_COOKIE": f"portal_session={cookie.value}"}
        with monkeypatch.context() as patch:
            patch.setattr(wsgi_bridge, "STREAMED_BYTES", 0)
            download = one.submit(ask, portal, signed_in).result()
        assert download.status == 200
        body = [download.body]
        for thread in (one, other):
            assert one.submit(ask, portal, environ_for(address)).result().status == 303
            body.append(thread.submit(next, download.more).result())
        body.append(other.submit(b"".join, download.more).result())
        assert b"".join(body).count(b"person.reset_link") == 4
        assert one.submit(ask, portal, environ_for(address)).result().status == 303


def environ_for(path: str) -> dict:
    """The environment of a plain GET, as a worker makes it."""
    scope = {
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "method": "GET",
        "path": path,
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "headers": [(b"host", b"localhost")],
    }
    environ = environ_of(scope)
    with_body(environ, b"")
    return environ
