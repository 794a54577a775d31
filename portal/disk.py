"""Wait for the disk together: one flush serves everybody who wrote before it began.

SQLite's own way (synchronous=FULL) flushes at each commit and lets nobody write meanwhile. Here a
transaction commits without, lets the next one in, and is answered once the write-ahead log is
flushed. Whoever commits during a flush shares the next one.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, local

from peewee import OperationalError


class Disk:
    """The flushes of one file, numbered in the order in which they begin."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._changed = Condition()
        self._begun = self._ended = self._failed = 0
        self._knows_folder = False

    def flush(self) -> None:
        """Return when all that this thread wrote to the file before is on the disk.

        Raises OperationalError when the disk refuses: then it may be lost.
        """
        with self._changed:
            # One that has begun may have missed the last write.
            mine = self._begun + 1
            while self._ended < mine:
                if self._begun > self._ended:
                    self._changed.wait()
                else:
                    self._run()
            # A later flush that goes well says nothing about what this one could not write.
            if self._failed >= mine:
                raise OperationalError(f"disk I/O error: {self._path} could not be flushed")

    def _run(self) -> None:
        self._begun += 1
        self._changed.release()
        written = False
        try:
            written = self._flush_now()
        finally:
            # Whatever happened: those who wait for this flush must not wait for ever.
            self._changed.acquire()
            self._ended = self._begun
            if not written:
                self._failed = self._begun
            self._changed.notify_all()

    def _flush_now(self) -> bool:
        try:
            _sync(self._path, fdatasync)
            if not self._knows_folder:  # that the file is there at all
                _sync(os.path.dirname(self._path) or ".", os.fsync)
                self._knows_folder = True
        except OSError:
            return False
        return True


def fdatasync(handle: int) -> None:
    """Return when what was written to the file is on the disk. Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(handle)  # macOS has only one of them


def _sync(path: str, sync: Callable[[int], None]) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)


class _Thread(local):
    """What this thread owes the disk, while it may."""

    owed: set[Disk] | None = None


_this = _Thread()


def settle(disk: Disk) -> None:
    """Flush what this thread just committed, unless it is `putting_off`."""
    if _this.owed is None:
        disk.flush()
    else:
        _this.owed.add(disk)


@contextmanager
def putting_off() -> Iterator[set[Disk]]:
    """Collect the disks that this thread's commits must still wait for.

    For a server that does something else meanwhile: whoever leaves the block has to wait for each
    of them before anything is acknowledged.
    """
    owed = _this.owed = set()
    try:
        yield owed
    finally:
        _this.owed = None
