"""PostgreSQL's statements of one moment travel together, and are committed together.

The thread that takes requests in cannot wait for PostgreSQL, and handing each request to a thread
that can costs more than a token. So here every request runs in a greenlet of that one thread. A
statement puts itself on a pile, and the thread goes on with other requests until the pile comes
back: sent in one go (libpq's pipeline mode), it is one transaction with one commit, however many
asked. Where anything but that goes wrong, `Busy` says so, and the request is done again in a
thread that waits, by the same grants on a connection of the pool.
"""

import asyncio
import logging
import re
import selectors
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from threading import local
from typing import TYPE_CHECKING, Any

from peewee import OperationalError

from portal.patience import Busy

if TYPE_CHECKING:
    from portal.postgres import PooledPostgres

log = logging.getLogger(__name__)

#: So long after a failure to connect comes the next try.
RETRY_SECONDS = 1
#: Formats of libpq.
TEXT, BINARY = 0, 1


class _Thread(local):
    pipeline: "Pipeline | None" = None


this = _Thread()


class Result:
    """What a statement brought, as a cursor would give it."""

    __slots__ = ("_found", "_rows", "rowcount")

    def __init__(self, found: Any, rows: list[tuple]) -> None:
        self._found, self._rows = found, rows
        self.rowcount = found.command_tuples or 0

    @property
    def description(self) -> list[tuple[str]]:
        return [(self._found.fname(it).decode(),) for it in range(self._found.nfields)]

    def fetchall(self) -> list[tuple]:
        return self._rows

    def fetchone(self) -> tuple | None:
        return self._rows[0] if self._rows else None


class _Statement:
    __slots__ = ("asker", "formats", "name", "prepares", "sql", "values")

    def __init__(self, asker: Any, name: bytes, sql: bytes, values: Sequence[object]) -> None:
        self.asker, self.name, self.sql = asker, name, sql
        self.values = [_encoded(value) for value in values]
        self.formats = [BINARY if isinstance(value, bytes) else TEXT for value in values]
        #: Whether the result of preparing it comes first.
        self.prepares = False


class Pipeline:
    """One connection of an event loop's thread beside the pool; not for any other thread."""

    def __init__(self, database: "PooledPostgres", connector: Executor) -> None:
        from greenlet import getcurrent, greenlet

        self._greenlet, self._current = greenlet, getcurrent
        self._database, self._connector = database, connector
        self._loop = asyncio.get_running_loop()
        #: Each statement by the SQL that peewee writes: its name, and how PostgreSQL writes it.
        self._written: dict[str, tuple[bytes, bytes]] = {}
        self._pile: list[_Statement] = []
        self._sent: list[_Statement] = []
        #: Whether sending the pile is due in this turn of the loop.
        self._due = False
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._connection: Any = None
        self._watch: _Watch | None = None
        #: Whether the network has not taken all of the pile yet.
        self._writes = False
        self._transformer: Any = None
        #: The results of the pile that have come.
        self._arrived: list[Any] = []
        self._prepared: set[bytes] = set()
        this.pipeline = self
        self._connect()

    @property
    def is_open(self) -> bool:
        """Whether requests can be run; while the database is gone they cannot."""
        return self._connection is not None

    def run(self, call: Callable, *arguments: Any) -> asyncio.Future:
        """Call this in a greenlet; the future has what it returns or raises, Busy among that."""
        future = self._loop.create_future()

        def work() -> None:
            try:
                answer = call(*arguments)
            except BaseException as error:
                if not future.done():  # the client went away
                    future.set_exception(error)
                return
            if not future.done():
                future.set_result(answer)

        self._greenlet(work).switch()
        return future

    def execute(self, sql: str, parameters: Sequence[object]) -> Result:
        """Run a statement of its own transaction with all others of this moment."""
        if self._connection is None:
            raise Busy
        written = self._written.get(sql)
        if written is None:
            written = self._written[sql] = f"portal_{len(self._written)}".encode(), _numbered(sql)
        asker = self._current()
        self._pile.append(_Statement(asker, *written, parameters))
        if not (self._due or self._sent):
            self._due = True
            self._loop.call_soon(self._send)
        result: Result = asker.parent.switch()
        return result

    # The way there

    def _send(self) -> None:
        self._due = False
        if self._connection is None or not self._pile:
            return
        self._sent, self._pile = self._pile, []
        pg = self._connection.pgconn
        try:
            for it in self._sent:
                if not self._database.prepares:
                    pg.send_query_params(it.sql, it.values, None, it.formats)
                    continue
                if it.name not in self._prepared:
                    pg.send_prepare(it.name, it.sql)
                    self._prepared.add(it.name)
                    it.prepares = True
                pg.send_query_prepared(it.name, it.values, it.formats)
            pg.pipeline_sync()
            self._flush()
        except Exception as error:
            self._lose(error)
            return
        if seconds := self._database.silent_seconds:
            self._timer = self._loop.call_later(seconds, self._fall_silent)

    def _flush(self) -> None:
        """Send what the network takes, and the rest once it takes more."""
        more = bool(self._connection.pgconn.flush())
        if more != self._writes:
            self._writes = more
            self._watch.expect(more)  # type: ignore[union-attr]

    def _fall_silent(self) -> None:
        self._database.note_silence()
        self._lose("no answer")

    # The way back

    def _ready(self) -> None:
        pg = self._connection.pgconn
        try:
            if self._writes:
                self._flush()
            pg.consume_input()
            # Without a pile this is news that nobody asked for.
            if not self._sent or pg.is_busy():
                return
            results = self._results(pg)
        except Exception as error:
            self._lose(error)
            return
        if results is not None:
            self._answer(results)

    def _results(self, pg: Any) -> list[Any] | None:
        """Those of the pile once all have come; None before that."""
        from psycopg.pq import ExecStatus

        ended = False
        while not pg.is_busy():
            found = pg.get_result()
            if found is None:  # the end of one statement; of the connection when it comes again
                if ended:
                    raise OperationalError("PostgreSQL ended the connection")
                ended = True
                continue
            ended = False
            if found.status == ExecStatus.PIPELINE_SYNC:
                results, self._arrived = self._arrived, []
                return results
            self._arrived.append(found)
        return None

    def _answer(self, results: list[Any]) -> None:
        from psycopg.pq import ExecStatus

        if self._timer:
            self._timer.cancel()
        sent, self._sent = self._sent, []
        good = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
        bad = next((it for it in results if it.status not in good), None)
        if bad is not None:  # then nothing of the pile has happened
            # What was prepared in it is, or is not.
            log.warning("statements are done one by one: %s", bad.get_error_message())
            self._lose("a statement failed")
            self._refuse(sent)
            return
        answers, left = [], iter(results)
        for it in sent:
            if it.prepares:
                next(left)
            found = next(left)
            self._transformer.set_pgresult(found)
            answers.append(Result(found, self._transformer.load_rows(0, found.ntuples, tuple)))
        for it, answer in zip(sent, answers, strict=True):
            it.asker.switch(answer)
        if self._pile and not self._due:
            self._due = True
            self._loop.call_soon(self._send)

    # The connection

    def close(self) -> None:
        """End with the loop."""
        self._ended = True
        self._lose("the worker ends")
        this.pipeline = None

    def _connect(self) -> None:
        if self._ended:
            return
        opening = self._loop.run_in_executor(self._connector, self._database.open_pipeline)
        opening.add_done_callback(self._connected)

    def _connected(self, opening: asyncio.Future) -> None:
        if opening.cancelled():
            return
        if self._ended and not opening.exception():
            opening.result().close()
        elif opening.exception():
            self._loop.call_later(RETRY_SECONDS, self._connect)
        else:
            self._use(opening.result())

    def _use(self, connection: Any) -> None:
        from psycopg.adapt import Transformer

        self._connection = connection
        self._transformer = Transformer(self._connection)
        self._prepared, self._arrived = set(), []
        self._writes = False
        self._watch = _Watch(self._loop, self._connection.fileno(), self._ready)

    def _lose(self, why: object) -> None:
        """Give the connection up: whoever waits for it is done again by other ones."""
        if self._timer:
            self._timer.cancel()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        log.info("the pipeline to PostgreSQL is made anew: %s", " ".join(str(why).split()))
        self._watch.close()  # type: ignore[union-attr]
        connection.close()
        waiting, self._sent, self._pile = [*self._sent, *self._pile], [], []
        self._connect()
        self._refuse(waiting)

    @staticmethod
    def _refuse(waiting: list[_Statement]) -> None:
        for it in waiting:
            it.asker.throw(Busy)


class _Watch:
    """Tells a loop when a socket is ready, by a selector between the two.

    uvloop calls once for a socket that was reset and then no more, although what came before the
    reset is to be read first (libuv's uv_poll).
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, socket: int, on_ready: Callable[[], None]
    ) -> None:
        self._loop, self._socket = loop, socket
        self._selector = selectors.DefaultSelector()
        self._selector.register(socket, selectors.EVENT_READ)
        loop.add_reader(self._selector, on_ready)

    def expect(self, more: bool) -> None:
        """Whether it shall tell when more can be written, too."""
        write = selectors.EVENT_WRITE if more else 0
        self._selector.modify(self._socket, selectors.EVENT_READ | write)

    def close(self) -> None:
        self._loop.remove_reader(self._selector)
        self._selector.close()


def _numbered(sql: str) -> bytes:
    """The statement with PostgreSQL's placeholders in place of psycopg's."""
    numbers = iter(range(1, 1000))
    return re.sub(
        "%[s%]", lambda found: f"${next(numbers)}" if found[0] == "%s" else "%", sql
    ).encode()


def _encoded(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    text = str(value)
    if "\0" in text:  # libpq would take it for the end
        raise Busy
    return text.encode()
