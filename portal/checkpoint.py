"""SQLite's write-ahead log goes into the database in a thread of its own.

Left to itself SQLite does that in whichever request fills the log, and all others wait until
thousands of pages are on the disk. Here that request finds next to nothing left to do.
"""

import logging
import os
import threading
import time

from portal.database import database, on_sqlite
from portal.disk import fdatasync

#: Where so many pages were new, the next turn comes soon.
MANY = 100
SOON_SECONDS, LATER_SECONDS = 0.1, 0.5
#: A full disk will not be better at once.
FAILED_SECONDS = 30

log = logging.getLogger(__name__)


class Checkpoints:
    """One turn after the other; on SQLite only."""

    def __init__(self) -> None:
        # Never closed: that would give up the locks that SQLite has on the file in this process.
        self._handle = os.open(database.obj.database, os.O_RDONLY)
        self._frames = 0

    def once(self) -> int:
        """Bring into the database what was committed; returns how many pages of it were new.

        It waits for nobody and keeps nobody waiting. Raises what the database raises.
        """
        busy, frames, _ = database.execute_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if busy:  # a request or another process is at it
            return MANY
        new = frames - self._frames if frames >= self._frames else frames
        self._frames = frames
        if new:
            # SQLite would leave it to the one that finishes.
            fdatasync(self._handle)
        return new


def start() -> None:
    """Do so from now on, until the process ends."""
    if on_sqlite():
        threading.Thread(target=_go_on, name="checkpoint", daemon=True).start()


def _go_on() -> None:
    checkpoints = Checkpoints()
    while True:
        try:
            pause = SOON_SECONDS if checkpoints.once() >= MANY else LATER_SECONDS
        except Exception as error:
            # The log grows meanwhile, and requests try it, too.
            pause = FAILED_SECONDS
            reason = " ".join(str(error).split())[:200]
            log.warning("a checkpoint failed and is tried again: %s", reason)
        time.sleep(pause)
