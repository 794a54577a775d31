"""PostgreSQL's connections: a pool a process, each lent to a thread for the time of a request.

peewee has a pool as well. It holds one lock while it connects, notices a connection that the
server ended only when a request fails on it, and has no word for "all are in use" that becomes
a 503; what would remain of it is less than this.
"""

import math
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from threading import BoundedSemaphore, local
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from peewee import OperationalError, PostgresqlDatabase
from playhouse.db_url import parse
from werkzeug.wsgi import ClosingIterator

from portal import patience, pipeline
from portal.patience import Busy
from portal.settings import DAY, SettingError

POOL = 10
#: So long a request waits for a connection that others use before it answers 503.
WAIT_SECONDS = 5
#: And so long for what another transaction has locked, as it does on SQLite.
LOCK_SECONDS = 10
#: A connection that nobody used for so long is asked whether it still lives.
DOUBT_SECONDS = 60
#: A request gives up on a server that says nothing for so long after it should have given up on
#: a lock, and for a moment nobody else waits for it: else all would, one after the other.
SILENT_SECONDS = 5
MOMENT_SECONDS = 1
#: And after this time one that is to spare is closed.
SPARE_SECONDS = 600
SWITCHES = {"on": True, "off": False}
#: A host that is gone without a word is noticed; a firewall keeps a quiet connection open.
PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class _Thread(local):
    #: Whether it answers requests, which somebody waits for.
    answers = False


_this = _Thread()


class PooledPostgres(PostgresqlDatabase):
    """At most `pool` connections; `close()` gives this thread's back for the next to take."""

    def __init__(
        self,
        name: str,
        pool: int,
        lock_seconds: int,
        silent_seconds: int,
        prepares: bool,
        **options: Any,
    ) -> None:
        #: Whether statements are prepared.
        self.prepares = prepares
        #: How long to wait for a lock; 0: as long as it takes, or as PostgreSQL is told.
        self.lock_seconds = lock_seconds
        #: How long a request waits for a word of the server; 0: as long as it takes.
        self.silent_seconds = silent_seconds
        self._slots = BoundedSemaphore(pool)
        #: The last one given back is taken first: as many stay open as work at a time.
        self._idle: deque[tuple[Any, float]] = deque()
        self._process = os.getpid()
        #: When the server was last given up on, by the monotonic clock.
        self._silent_at = -math.inf
        super().__init__(name, prefer_psycopg3=True, **options)
        # What it guards belongs to one thread each, and nobody may wait here for a connection.
        self._lock = nullcontext()

    def _connect(self) -> Any:
        if not patience.this.patient:
            raise Busy
        if _this.answers and time.monotonic() - self._silent_at < MOMENT_SECONDS:
            raise OperationalError("PostgreSQL did not answer a moment ago")
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            raise OperationalError(
                f"no connection became free within {WAIT_SECONDS} seconds: raise ?pool= in"
                " DATABASE_URL, or run fewer threads"
            )
        try:
            return self._take() or self._open()
        except BaseException:
            self._slots.release()
            raise

    def _open(self, lock_timeout: str = "") -> Any:
        connection = self.extra_connection()
        if self.lock_seconds:
            # Not at connecting: pgbouncer refuses `options`, in session mode, too.
            try:
                connection.execute(f"SET lock_timeout = '{lock_timeout or self.lock_seconds}s'")
            except BaseException:
                connection.close()
                raise
        return connection

    def open_pipeline(self) -> Any:
        """A connection beside the pool for `portal.pipeline`, which waits for no lock."""
        connection = self._open("0.1")
        connection.pgconn.nonblocking = 1
        connection.pgconn.enter_pipeline_mode()
        return connection

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let this thread wait for locks as long as it takes: for what must not fail."""
        if self.lock_seconds:
            self.execute_sql("SET lock_timeout = 0")
        yield
        if self.lock_seconds:
            self.execute_sql(f"SET lock_timeout = '{self.lock_seconds}s'")

    def _take(self) -> Any:
        """An idle connection that lives; None when there is none."""
        if self._process != os.getpid():  # a fork: these belong to the parent
            self._idle, self._process = deque(), os.getpid()
        while idle := _pop(self._idle.pop):
            connection, since = idle
            connection.silent_seconds = self._silent_seconds()
            if _lives(connection, since):
                return connection
            connection.close()
        return None

    def _close(self, conn: Any) -> None:
        """Keep a connection for the next thread unless it broke or is amid a transaction."""
        try:
            if conn.closed or conn.pgconn.transaction_status:
                conn.close()
                return
            moment = time.monotonic()
            oldest = _pop(self._idle.popleft)
            if oldest and oldest[1] < moment - SPARE_SECONDS:
                oldest[0].close()
            elif oldest:
                self._idle.appendleft(oldest)
            self._idle.append((conn, moment))
        finally:
            self._slots.release()

    def is_writable(self) -> bool:
        """Ask it; whether rows can be added: not so on a standby."""
        return self.execute_sql("SHOW transaction_read_only").fetchone() == ("off",)

    def execute_at_once(self, sql: str, parameters: Sequence[object]) -> Any:
        """Like `execute_sql`, on a cursor that the connection's next such statement reuses."""
        if pipeline.this.pipeline is not None:
            return pipeline.this.pipeline.execute(sql, parameters)
        return self._execute_cursor(sql, parameters, reused=True)  # type: ignore[attr-defined]

    def cursor(self, named_cursor: object = None, reused: bool = False) -> Any:
        if not reused:
            return super().cursor(named_cursor)
        connection = self.connection()
        try:
            return connection.reused_cursor
        except AttributeError:
            connection.reused_cursor = connection.cursor()
            return connection.reused_cursor

    def extra_connection(self) -> Any:
        """A connection of psycopg beside the pool; whoever asks for it closes it."""
        from psycopg.errors import ConnectionTimeout

        from portal.silence import Connection

        try:
            connection = Connection.connect(
                dbname=self.database, autocommit=True, **self.connect_params
            )
        except ConnectionTimeout:
            self.note_silence()
            raise
        connection.silent_seconds = self._silent_seconds()
        connection.on_silence = self.note_silence
        return connection

    def _silent_seconds(self) -> int:
        return self.silent_seconds if _this.answers else 0

    def note_silence(self) -> None:
        """Let nobody else try for a moment: it has not answered."""
        self._silent_at = time.monotonic()
        self.close_idle()  # whoever took one of these would have to find out anew

    def close_idle(self) -> None:
        """Close what no thread uses."""
        while idle := _pop(self._idle.pop):
            idle[0].close()


def _pop(pop: Callable[[], tuple[Any, float]]) -> tuple[Any, float] | None:
    """Take from one end; None when another thread took the last."""
    try:
        return pop()
    except IndexError:
        return None


def _lives(connection: Any, since: float) -> bool:
    """Whether an idle connection can be used; costs no round trip unless it was idle for long."""
    if connection.closed:
        return False
    # Nothing was asked, so whatever there is to read is the server's goodbye.
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        return False
    if time.monotonic() - since < DOUBT_SECONDS:
        return True
    try:
        connection.execute("SELECT 1")
    except Exception:
        return False
    return True


def connect(url: str) -> PooledPostgres:
    """The database at `url`; `pool`, `wait`, `prepare` are ours, other parameters are libpq's.

    Nothing is opened yet. Raises SettingError, one line.
    """
    parts = urlsplit(url.replace("postgres://", "postgresql://", 1))
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    pool, prepare = query.pop("pool", str(POOL)), query.pop("prepare", "on")
    wait = query.pop("wait", str(LOCK_SECONDS))
    if not (pool.isascii() and pool.isdigit() and int(pool)):
        raise SettingError(
            f"DATABASE_URL: pool must be a whole number of at least 1, not {pool!r}."
        )
    if not (wait.isascii() and wait.isdigit() and int(wait) <= DAY):
        raise SettingError(
            f"DATABASE_URL: wait must be a whole number of seconds, at most {DAY}, not {wait!r}."
        )
    if prepare not in SWITCHES:
        raise SettingError(f"DATABASE_URL: prepare must be on or off, not {prepare!r}.")
    address = parse(
        urlunsplit(parts._replace(query=urlencode(query))),
        unquote_user=True,
        unquote_password=True,
    )
    name = address.pop("database")
    _check(name, address)
    # psycopg prepares what runs for the sixth time; without, each statement is parsed anew.
    prepares = SWITCHES[prepare]
    unprepared = {} if prepares else {"prepare_threshold": None}
    # What is set on a session behind a pooler is set for whoever gets it next.
    lock_seconds = int(wait) if prepares else 0
    silent_seconds = int(wait) + SILENT_SECONDS if int(wait) else 0
    options = {**PATIENCE, **address, **unprepared}
    return PooledPostgres(name, int(pool), lock_seconds, silent_seconds, prepares, **options)


def _check(name: str, address: dict[str, Any]) -> None:
    """Refuse what libpq would refuse at every request."""
    try:
        import greenlet  # noqa: F401  # portal.pipeline needs it
        from psycopg import ProgrammingError
        from psycopg.conninfo import make_conninfo
    except ImportError:
        raise SettingError(
            "DATABASE_URL: PostgreSQL needs psycopg and greenlet: pip install 'portal[postgres]'."
        ) from None
    if not name:
        raise SettingError("DATABASE_URL must name a database, such as postgresql://host/portal.")
    try:
        make_conninfo(**address)
    except ProgrammingError as error:
        raise SettingError(f"DATABASE_URL: {' '.join(str(error).split())}.") from None


def giving_back(app: Callable, database: PooledPostgres) -> Callable:
    """The WSGI application, giving its thread's connection back after each request.

    Around everything that answers, so that nothing inside has to think of it.
    """

    def give_back() -> None:
        # A test asks from within a transaction of its own.
        if not database.is_closed() and not database.in_transaction():
            database.close()

    def call(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        _this.answers = True
        try:
            body = app(environ, start_response)
        finally:
            # Before the body is sent: whoever reads slowly holds no connection.
            give_back()
        if isinstance(body, list):
            return body
        # A body that is made while it is sent may have taken another one.
        ends = [body.close] if hasattr(body, "close") else []
        return ClosingIterator(_parts(body), [*ends, give_back])

    def _parts(body: Iterable[bytes]) -> Iterator[bytes]:
        """Each may be made in another thread, which keeps no connection either."""
        for part in body:
            give_back()
            yield part

    return call
