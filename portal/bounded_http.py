"""HTTP/1.1 with an end to what a request's head may be and take: stalled ones are cut off."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: What a request's line and headers may come to, and how long they may take.
HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with an end to the size of a request's head and the time it takes."""

    _head = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)  # which sets it to 0 where a head is complete
        if self._head > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request line and headers are too long.")
        elif self._head and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        self._head = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
