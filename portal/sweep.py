"""The automatic sweep: one process of all nodes at a time tidies up while the portal serves.

It tells applications again who signed out, deletes what has expired, and looks after secrets, the
health of applications and the indexes of the searches. Under other servers than `serve`, a timer
that runs `flask --app wsgi cleanup` does the same.
"""

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable

from flask import Flask
from peewee import DatabaseError

from portal import approval, cleanup, rotation
from portal.database import database
from portal.models import Application, Lease, User
from portal.models.base import Record
from portal.models.lease import LEASE_SECONDS
from portal.models.search import merge_some
from portal.oauth.backchannel import deliver_due

#: The names of the leases. The second only says when whole tables were last looked at.
LEASE, WHOLE_TABLES = "sweep", "sweep of whole tables"
WHOLE_TABLES_SECONDS = 10 * 60
#: So many applications are judged in one go.
JUDGED = 500
#: Turns of many processes must not fall together; the first one comes soon after the start.
JITTER = 0.2
FIRST_SECONDS = 5.0

Show = Callable[[str, int], None]

log = logging.getLogger(__name__)


def start(app: Flask) -> threading.Event | None:
    """Sweep from now on in a thread that ends with the process, or when the event is set."""
    every = app.extensions["portal.settings"].sweep_seconds
    if not every:
        return None
    stop = threading.Event()
    threading.Thread(target=_sweep_on, args=(app, every, stop), name="sweep", daemon=True).start()
    return stop


def _sweep_on(app: Flask, every: int, stop: threading.Event) -> None:
    pause = random.uniform(0, min(FIRST_SECONDS, every))  # noqa: S311
    while not stop.wait(pause):
        try:
            once(app, every)
        except cleanup.Interrupted:
            log.warning("the sweep was taken over by another process")
        except Exception as error:
            # Whatever it was, the next turn may do better; the portal serves on.
            reason = " ".join(str(error).split())[:200]
            log.error("the sweep failed and is tried again: %s: %s", type(error).__name__, reason)
        finally:
            # An open connection is one that requests cannot have.
            database.close()
        pause = every * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311


def once(app: Flask, every: int = 0, show: Show = lambda kind, gone: None) -> dict[str, int] | None:
    """Sweep, unless another process is at it or did `every` seconds ago: then None.

    Returns how many rows of each kind are gone, and `logouts_sent`. With `every`, whole tables are
    looked at every ten minutes only. Raises cleanup.Interrupted when another process took over.
    """
    holder = f"{socket.gethostname()}:{os.getpid()}:{threading.get_native_id()}"
    # A turn that comes a little early, for they are jittered, is no reason to wait for a whole one.
    if not Lease.take(LEASE, holder, int(every * (1 - JITTER))):
        return None
    done = False
    try:
        with app.app_context():
            sent = deliver_due(app.extensions["portal.oauth"])
        # Applications that do not answer may have taken longer than the lease.
        if not Lease.renew(LEASE, holder):
            raise cleanup.Interrupted
        everything = Lease.take(WHOLE_TABLES, holder, WHOLE_TABLES_SECONDS) or not every
        seconds = app.extensions["portal.settings"].access_token_seconds
        counts = cleanup.delete_expired(seconds, _keeping(holder, show), everything)
        _judge_due(_keeping(holder, lambda kind, judged: None))
        if everything:
            with app.app_context():
                rotation.sweep(app.extensions["portal.settings"])
                approval.sweep()
            Lease.release(WHOLE_TABLES, holder, done=True)
            _merge_indexes(_keeping(holder, lambda kind, merged: None))
        done = True
        return {**counts, "logouts_sent": sent}
    finally:
        Lease.release(LEASE, holder, done)


def _judge_due(go_on: cleanup.GoOn) -> None:
    """Judge the health of the applications for which the time has come."""
    done = 0
    while due := Application.due_for_a_look(JUDGED):
        began = time.monotonic()
        Application.judge(due)
        done += len(due)
        if not go_on("judged", done):
            raise cleanup.Interrupted
        if len(due) < JUDGED:
            return
        time.sleep(max(cleanup.PAUSE_SECONDS, time.monotonic() - began))


def _merge_indexes(go_on: cleanup.GoOn) -> None:
    """Keep the indexes of the searches in few parts; a broken one keeps nothing else from it."""
    for table in (Application, User):
        try:
            _merge_index(table, go_on)
        except DatabaseError as error:
            reason = " ".join(str(error).split())[:200]
            log.error("a search index cannot be merged: %s: %s", table.__name__, reason)


def _merge_index(table: type[Record], go_on: cleanup.GoOn) -> None:
    steps, began = 0, time.monotonic()
    while merge_some(table):
        steps += 1
        if not go_on("merged", steps):
            raise cleanup.Interrupted
        cleanup.pause(began)
        began = time.monotonic()


def _keeping(holder: str, show: Show) -> cleanup.GoOn:
    """Renew the lease while the work goes on, well before it runs out."""
    renewed = time.monotonic()

    def go_on(kind: str, gone: int) -> bool:
        nonlocal renewed
        show(kind, gone)
        if time.monotonic() - renewed < LEASE_SECONDS / 4:
            return True
        renewed = time.monotonic()
        return Lease.renew(LEASE, holder)

    return go_on
