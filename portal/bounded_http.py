"""HTTP/1.1 with an end to what a request's head may be and take: stalled ones are cut off.

An answer goes out in one piece, where uvicorn writes its head by itself.
"""

import asyncio
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: What a request's line and headers may come to, and how long they may take.
HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with an end to the size of a request's head and the time it takes."""

    _head = 0
    _timer: asyncio.TimerHandle | None = None
    #: What the parser took in last, and what a new one must take in again.
    _taken, _again = b"", b""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        while data:
            self._taken, self._again = data, b""
            super().data_received(data)  # which sets _head to 0 where a head is complete
            data = self._again
        if self._head > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request line and headers are too long.")
        elif self._head and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        self._head = 0
        self._stop_timer()
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            if self.scope["method"] != "HEAD":  # whose answers have nothing else
                self.cycle.transport = OnePiece(self.transport)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Stay with HTTP/1.1 where another protocol is offered (RFC 9110 §7.8), as Java does.

        The parser takes all that follows for the other protocol. So a new one gets the request
        without the offer, and with its body.
        """
        if all(name != b"upgrade" for name, _ in self.headers):
            self.send_400_response("CONNECT is for proxies.")
            return
        offer, version = sys.exc_info()[1], self.parser.get_http_version().encode()
        assert isinstance(offer, httptools.HttpParserUpgrade)
        head = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        head += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self._again = b"\r\n".join([*head, b"", self._taken[offer.args[0] :]])
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class OnePiece:
    """The transport of one answer: the head waits for the body, which comes in the same moment.

    Two packets would wake the client twice.
    """

    __slots__ = ("_head", "_transport", "close", "is_closing")

    def __init__(self, transport: Any) -> None:
        self._head: bytes | None = None
        self._transport = transport
        self.close, self.is_closing = transport.close, transport.is_closing

    def write(self, data: bytes) -> None:
        if data == CONTINUE:  # asks for the request's body, before any answer
            self._transport.write(data)
        elif self._head is None:
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""
