"""A worker of `serve`: one process that answers requests (uvicorn, ASGI 3).

One thread takes the requests in and answers those of the protocol by itself: that is done before
they could be handed to another thread. Pages go to threads of their own, and so does whatever must
wait: for a lock, for the disk, for PostgreSQL, but for what a single statement answers there (see
`portal.pipeline`). A body is taken in before anybody works on it, so stalled uploads hold nobody
up.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import uvicorn
from flask import Flask
from peewee import OperationalError

from portal import checkpoint, patience, sweep
from portal.bounded_http import BoundedProtocol
from portal.database import database, lose_patience, map_file, on_sqlite
from portal.disk import Disk, putting_off
from portal.observer import FAILURE, NOTE
from portal.patience import Busy
from portal.pipeline import Pipeline
from portal.security import MACHINE_ENDPOINTS, MAX_BODY_BYTES
from portal.wsgi_bridge import Answer, App, Environ, ask, encoded, environ_of, with_body

log = logging.getLogger(__name__)

#: What applications ask, and send people to. Nothing here hashes a password, which takes long.
AT_ONCE = {*MACHINE_ENDPOINTS, "/oauth/authorize", "/oauth/userinfo", "/oauth/jwks"}
#: Of those on PostgreSQL: whether a single statement answers the request.
ONE_STATEMENT: dict[str, Callable[[bytes], bool]] = {
    "/oauth/introspect": lambda body: True,
    "/oauth/token": lambda body: b"client_credentials" in body,
}
#: Whoever watches is answered at once, also when every page waits for a database that hangs.
WATCHED = {"/healthz", "/readyz", "/metrics"}
#: So much of a body that is too long is read and thrown away before the answer.
DISCARDED_BYTES = 32 * 1024 * 1024
#: In the environment of a request whose body went on after that.
ENDLESS = "portal.endless"
#: So long a body may take.
BODY_SECONDS = 60
#: Longer than proxies keep a connection that nobody uses, so that they are the ones to close it.
KEEP_ALIVE_SECONDS = 75

#: Half a form must not be acted upon. Nobody is there to read why.
CUT = Answer(400, [("Content-Length", "0"), ("Connection", "close")], b"")


def run(
    app: Flask, listening: socket.socket, threads: int, grace_seconds: int, *, is_alone: bool
) -> None:
    """Answer requests until SIGTERM; those under way are finished, within `grace_seconds`."""
    if is_alone:
        map_file()
    sweep.start(app)
    checkpoint.start()
    write_notes = app.extensions["portal.oauth"].write_notes
    worker = Worker(app.wsgi_app, threads, write_notes)
    config = uvicorn.Config(
        worker.handle,
        interface="asgi3",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # the portal believes as many proxies as its setting says
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
        callback_notify=worker.each_second,
        timeout_notify=0,  # as often as it looks at the clock: once a second
    )
    server = PoliteServer(config, worker)

    def end(*_: object) -> None:
        server.should_exit = True

    # Until uvicorn listens to it, and when it raises it again at its end.
    signal.signal(signal.SIGTERM, end)
    server.run(sockets=[listening])
    write_notes()


class PoliteServer(uvicorn.Server):
    """uvicorn's server, which lets its worker give back what it holds while the loop still runs."""

    def __init__(self, config: uvicorn.Config, worker: "Worker") -> None:
        super().__init__(config)
        self._worker = worker

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._worker.close()


class Worker:
    """Decides in which thread a request is answered, and answers it."""

    def __init__(
        self, app: App, threads: int, write_notes: Callable[[], None] = lambda: None
    ) -> None:
        self._app, self._write_notes = app, write_notes
        self._writes: asyncio.Future | None = None
        # Pages that only read need not wait for requests that write, and those for no password.
        self._pages = ThreadPoolExecutor(threads, "page")
        self._patient = ThreadPoolExecutor(threads, "patient")
        self._watch = ThreadPoolExecutor(2, "watch")
        self._aside = ThreadPoolExecutor(1, "aside")
        self._flushes = Flushes()
        self._answers_at_once = on_sqlite()
        self._pipeline: Pipeline | None = None

    def close(self) -> None:
        """Give back what the thread of the event loop holds."""
        if self._pipeline is not None:
            self._pipeline.close()
            patience.this.patient, patience.this.hand_over = True, None
        self._aside.shutdown()

    async def each_second(self) -> None:
        """Write what was noted second within a second: it must not wait for the next request.

        On SQLite in this thread: a connection forgets what it has read once another one wrote.
        """
        if self._answers_at_once:
            lose_patience()
            self._write()
        elif self._writes is None or self._writes.done():
            self._writes = _in(self._patient, self._write)

    def _write(self) -> None:
        try:
            self._write_notes()
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            log.error("notes of uses were not written: %s: %s", type(error).__name__, reason)
        finally:
            if not self._answers_at_once:
                database.close()  # an open connection is one that requests cannot have

    async def handle(self, scope: Any, receive: Callable, send: Callable) -> None:
        """One request (ASGI 3, HTTP)."""
        environ = environ_of(scope)
        if not await _receive(environ, receive):
            answer = CUT
        elif environ["PATH_INFO"] in AT_ONCE and self._answers_at_once:
            answer = await self._answer_at_once(environ)
        elif environ["PATH_INFO"] in ONE_STATEMENT and self._can_pile(environ):
            answer = await self._answer_together(environ)
        else:
            answer = await _in(self._pool_for(environ["PATH_INFO"]), ask, self._app, environ)
        headers = encoded(answer.headers)
        if ENDLESS in environ:
            headers.append((b"connection", b"close"))
        body, more = answer.body, answer.more
        if more is not None and environ["SERVER_PROTOCOL"] == "HTTP/1.0":  # which knows no chunks
            body, more = await self._gathered(body, more, receive), None
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if more is not None:
            body = await self._send_on(body, more, send, receive)
        await send({"type": "http.response.body", "body": body})

    async def _send_on(
        self, body: bytes, more: Iterator[bytes], send: Callable, receive: Callable
    ) -> bytes:
        """Send an answer while it is made, for as long as somebody listens; returns its end."""
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            while body and not gone.done():
                await send({"type": "http.response.body", "body": body, "more_body": True})
                body = await _in(self._pages, next, more, b"")
        finally:
            gone.cancel()
            await _in(self._pages, _close, more)
        return body

    async def _gathered(self, body: bytes, more: Iterator[bytes], receive: Callable) -> bytes:
        """All of an answer, when somebody waits for it."""
        parts: list[bytes] = []

        async def keep(message: dict[str, Any]) -> None:
            parts.append(message["body"])

        await self._send_on(body, more, keep, receive)
        return b"".join(parts)

    def _pool_for(self, path: str) -> ThreadPoolExecutor:
        if path in WATCHED:
            return self._watch
        return self._patient if path in AT_ONCE else self._pages

    async def _answer_at_once(self, environ: Environ) -> Answer:
        lose_patience()
        environ[NOTE] = None
        try:
            with putting_off() as owed:
                answer = ask(self._app, environ)
        except Busy:
            environ["wsgi.input"].seek(0)
            answer = await _in(self._patient, ask, self._app, environ)
        note = environ.pop(NOTE)
        try:
            for disk in owed:
                await self._flushes.wait(disk)
        except OperationalError as error:
            # Not kept, so it is neither said nor counted.
            environ[FAILURE] = error
            return await _in(self._pages, ask, self._app, environ)
        if note:
            note()
        return answer

    def _can_pile(self, environ: Environ) -> bool:
        """Whether PostgreSQL can be asked with others of this moment, without waiting for it."""
        if self._pipeline is None:
            patience.this.patient = False
            patience.this.hand_over = lambda call: self._aside.submit(_and_give_back, call)
            self._pipeline = Pipeline(database.obj, self._aside)
        body = environ["wsgi.input"].getbuffer()
        return self._pipeline.is_open and ONE_STATEMENT[environ["PATH_INFO"]](bytes(body))

    async def _answer_together(self, environ: Environ) -> Answer:
        try:
            return await self._pipeline.run(ask, self._app, environ)  # type: ignore[union-attr]
        except Busy:
            environ["wsgi.input"].seek(0)
            return await _in(self._patient, ask, self._app, environ)


def _and_give_back(call: Callable[[], None]) -> None:
    """Call this in a thread of its own, which keeps no connection afterwards."""
    try:
        call()
    finally:
        database.close()


class Flushes:
    """Many requests wait for the disk, and one thread sees to it (see `portal.disk`)."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "disk")
        self._waiting: list[asyncio.Future] = []
        self._runs = False

    def wait(self, disk: Disk) -> asyncio.Future:
        """Done when what was committed before is on the disk; OperationalError when it is not."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if not self._runs:
            self._runs = True
            # After those that came in the same moment.
            asyncio.get_running_loop().call_soon(self._run, disk)
        return waiter

    def _run(self, disk: Disk) -> None:
        self._runs = True
        # Whoever comes later may have committed too late for this one.
        served, self._waiting = self._waiting, []

        def end(flush: asyncio.Future) -> None:
            error = flush.exception()
            for waiter in served:
                if waiter.done():  # the client went away
                    continue
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)
            self._runs = False
            if self._waiting:
                self._run(disk)

        _in(self._thread, disk.flush).add_done_callback(end)


def _in(pool: ThreadPoolExecutor, call: Callable, *arguments: Any) -> asyncio.Future:
    return asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


def _close(body: Any) -> None:
    with suppress(ValueError):  # a thread still makes its next part, and nobody waits any more
        body.close()


async def _until_gone(receive: Callable) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _receive(environ: Environ, receive: Callable) -> bool:
    """Take in the request's body; of one that is too long only enough for the app to see that.

    False when the client went away, or took too long, before it had sent all.
    """
    message = await receive()
    if not message.get("more_body"):  # nearly always: it came with the headers
        with_body(environ, message.get("body", b""))
        return message["type"] == "http.request"
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _receive_rest(environ, message, receive)
    except TimeoutError:
        return False
    if body is None:
        return False
    with_body(environ, body)
    return True


async def _receive_rest(
    environ: Environ, message: dict[str, Any], receive: Callable
) -> bytes | None:
    """As much as may be, and a little more where there is more; None when it was cut short."""
    chunks, size = [], 0
    while True:
        if message["type"] != "http.request":
            return None
        chunk = message.get("body", b"")
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        size += len(chunk)
        # Most clients send everything before they read that it was too much.
        if size > DISCARDED_BYTES:
            environ[ENDLESS] = True
        if not message.get("more_body") or ENDLESS in environ:
            return b"".join(chunks)[: MAX_BODY_BYTES + 1]
        message = await receive()
