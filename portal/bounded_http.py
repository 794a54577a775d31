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
#: So long a connection that nobody uses waits at the end for a request that is on its way.
LINGER_SECONDS = 0.5
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with an end to the size of a request's head and the time it takes."""

    _head = 0
    #: Whether a request has begun whose head is not complete.
    _reads_head = False
    #: The server ends: whoever asks now is answered, and told to ask elsewhere next time.
    _ends = False
    #: What comes is no longer read: it could not be understood, or in time.
    _is_deaf = False
    _timer: asyncio.TimerHandle | None = None
    #: The request that is being answered; `cycle` is the one that was read last.
    _running: Any = None
    #: What the parser took in last, and what a new one must take in again.
    _taken, _again = b"", b""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        if self.pipeline:  # uvicorn tells the last request alone that nobody listens
            self._running.disconnected = True
            self._running.message_event.set()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Who has said all may still listen: True keeps the connection for the answers."""
        return self._close_after_answers()

    def shutdown(self) -> None:
        if self._is_idle():
            self._ends = True
            self.loop.call_later(LINGER_SECONDS, self._close_if_idle)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._head += len(data)
        while data:
            self._taken, self._again = data, b""
            super().data_received(data)  # which sets _head to 0 where a head is complete
            data = self._again
        if self._head > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request line and headers are too long.")
        elif self._timer is None and not self._is_deaf and self._waits_for_head():
            self._timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def on_message_begin(self) -> None:
        self._reads_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head, self._reads_head = 0, False
        self._stop_timer()
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            if self.scope["method"] != "HEAD":  # whose answers have nothing else
                self.cycle.transport = OnePiece(self.transport)  # type: ignore[assignment]
            # Trailers, which come after the body, are no headers (RFC 9110 §6.5.1).
            self.headers = []
            if self._ends:
                self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """After the answers to the requests before; of what comes later nothing is read."""
        if not self._close_after_answers():
            super().send_400_response(msg)

    def _give_up(self) -> None:
        if not self._close_after_answers():
            self.transport.close()

    def _waits_for_head(self) -> bool:
        """Whether a request has begun, or at least a blank line, which ends uvicorn's waiting."""
        return self._reads_head or (self.timeout_keep_alive_task is None and self._is_idle())

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._is_idle():
            self.transport.close()

    def _close_after_answers(self) -> bool:
        """Read no more requests; False when no whole one waits for its answer."""
        if self.pipeline and self.cycle.more_body:  # half a request behind whole ones
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        if self._is_idle() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        self._is_deaf = True
        self._stop_timer()
        return True

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
