"""Commits wait for the disk, together, and hear when it fails."""

import os
import sqlite3
import threading
import time
from contextlib import suppress

import pytest
from peewee import OperationalError

from portal.database import database, transaction
from portal.disk import putting_off
from portal.models import Throttle
from tests import factories


@pytest.fixture
def flushes(app, monkeypatch) -> list[str]:
    """The files that were flushed, slowly."""
    seen: list[str] = []
    real = os.fdatasync

    def fdatasync(handle: int) -> None:
        time.sleep(0.05)
        seen.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    if database.obj.database is None or not isinstance(database.connection(), sqlite3.Connection):
        pytest.skip("PostgreSQL waits for its own disk")
    return seen


def write(key: str) -> None:
    with transaction():
        Throttle.create(key=key, last_at=1)


def test_a_transaction_returns_when_the_log_is_on_the_disk(flushes):
    write("one")
    assert flushes == [f"{database.obj.database}-wal"]


def test_a_transaction_within_another_waits_once(flushes):
    with transaction():
        write("one")
        assert flushes == []
    assert len(flushes) == 1


def test_what_is_undone_waits_for_nothing(flushes):
    with pytest.raises(ZeroDivisionError), transaction():
        write(str(1 / 0))
    assert flushes == []


def test_those_who_commit_together_share_a_flush(flushes):
    begun: list[int] = []

    def commit(number: int) -> None:
        write(f"key {number}")
        # A flush that was over before this commit cannot have kept it.
        begun.append(len(flushes))
        database.close()

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Throttle.select().count() == 16
    assert min(begun) >= 1
    assert len(flushes) < 16


def test_a_server_may_put_the_waiting_off(flushes):
    with putting_off() as owed:
        write("one")
        write("two")
    assert flushes == []
    assert owed == {database.obj.disk}


def test_a_disk_that_fails_is_not_taken_for_a_yes(flushes, monkeypatch):
    def fail(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)

    with pytest.raises(OperationalError, match="disk I/O error"):
        write("one")


def test_a_flush_that_breaks_off_leaves_nobody_waiting(flushes, monkeypatch):
    def break_off(handle: int) -> None:
        time.sleep(0.05)
        raise MemoryError

    monkeypatch.setattr(os, "fdatasync", break_off)
    disk = database.obj.disk
    waiting = [threading.Thread(target=_flush, args=(disk,), daemon=True) for _ in range(3)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(5)
    assert not any(thread.is_alive() for thread in waiting)


def _flush(disk) -> None:
    with suppress(MemoryError, OperationalError):
        disk.flush()


def test_people_and_applications_are_kept_so(flushes):
    factories.make_user("dora")
    assert flushes
