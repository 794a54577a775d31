"""Is the portal alive, and can it serve? For load balancers and people who watch."""

import logging
import threading
import time

from flask import Flask, Response, current_app, jsonify, send_from_directory
from peewee import Database, DatabaseError, InterfaceError, SqliteDatabase

from portal.database import database, pending_migrations
from portal.htmx import LOCAL_FILE

log = logging.getLogger(__name__)

#: A load balancer asks every second or so and waits little longer.
PATIENCE_SECONDS = 1.5

OK = "ok"
PENDING = "migrations pending"
AWAY = "database cannot be used"
READ_ONLY = "database can only be read"
SILENT = "database does not answer"


def init_app(app: Flask) -> None:
    app.extensions["portal.readiness"] = Readiness()
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.add_url_rule("/assets/<name>", view_func=asset)


def current_readiness() -> "Readiness":
    return current_app.extensions["portal.readiness"]


def healthz() -> Response:
    """The process answers."""
    return jsonify(status=OK)


def readyz() -> tuple[Response, int]:
    """The database answers and has the schema of this release; says within two seconds if not."""
    readiness = current_readiness()
    status = readiness.status()
    if status == PENDING:
        return jsonify(status=status, pending=readiness.pending), 503
    return jsonify(status=status), 200 if status == OK else 503


class Readiness:
    """Asks the database, one question at a time however many want to know."""

    def __init__(self) -> None:
        self.pending: list[str] = []
        self.last = OK
        self._lock = threading.Lock()
        self._question: Question | None = None
        #: The database whose schema was found complete: that does not change back.
        self._complete: Database | None = None

    def status(self) -> str:
        """OK, PENDING, AWAY, READ_ONLY or SILENT."""
        if isinstance(database.obj, SqliteDatabase):
            status = self.ask()
        else:
            status = self._joint_question().answer()
        if status != self.last:
            self.last = status
            log.log(logging.INFO if status == OK else logging.WARNING, "readiness: %s", status)
        return status

    def ask(self) -> str:
        try:
            if self._complete is not database.obj:
                self.pending = pending_migrations()
                if self.pending:
                    return PENDING
                self._complete = database.obj
            return OK if database.is_writable() else READ_ONLY
        except (DatabaseError, InterfaceError):
            return AWAY

    def _joint_question(self) -> "Question":
        with self._lock:
            if self._question is None or not self._question.is_alive():
                self._question = Question(self)
                self._question.start()
            return self._question


class Question(threading.Thread):
    """A question that may never be answered, so nobody's request asks it.

    It has a connection of the pool to itself; one that leads to a server that is gone breaks after
    `tcp_user_timeout`, and the next question takes another one.
    """

    def __init__(self, readiness: Readiness) -> None:
        super().__init__(daemon=True)
        self.readiness, self.status = readiness, SILENT
        self.deadline = time.monotonic() + PATIENCE_SECONDS

    def run(self) -> None:
        try:
            with database.connection_context():
                self.status = self.readiness.ask()
        except (DatabaseError, InterfaceError):
            self.status = AWAY

    def answer(self) -> str:
        self.join(max(0.0, self.deadline - time.monotonic()))
        return self.status


def asset(name: str) -> Response:
    """The htmx file that `flask assets fetch` downloaded."""
    if name != LOCAL_FILE:
        return current_app.response_class(status=404)
    return send_from_directory(f"{current_app.instance_path}/assets", name, max_age=31536000)
