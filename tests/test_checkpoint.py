"""What was committed reaches the database file without a request that waits for it."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from peewee import OperationalError

from portal import checkpoint
from portal.checkpoint import LATER_SECONDS, SOON_SECONDS, Checkpoints
from portal.database import database, on_sqlite
from portal.models import Throttle


@pytest.fixture
def checkpoints(app) -> Checkpoints:
    if not on_sqlite():
        pytest.skip("PostgreSQL does so by itself")
    made = Checkpoints()
    made.once()
    return made


def rows_without_the_log(path: str) -> int:
    copy = Path(f"{path}.copy")
    shutil.copy(path, copy)
    with sqlite3.connect(f"file:{copy}?immutable=1", uri=True) as file:
        return file.execute("SELECT COUNT(*) FROM throttle").fetchone()[0]


def test_what_was_committed_is_in_the_file(checkpoints):
    path = database.obj.database
    Throttle.create(key="one", last_at=1)
    assert rows_without_the_log(path) == 0
    assert checkpoints.once() > 0
    assert rows_without_the_log(path) == 1
    assert checkpoints.once() == 0


def test_it_waits_for_nobody(checkpoints):
    """Neither for who writes, nor for who reads what was before."""
    path = database.obj.database
    Throttle.create(key="one", last_at=1)
    reader, writer = (sqlite3.connect(path, isolation_level=None) for _ in range(2))
    reader.execute("BEGIN")
    assert reader.execute("SELECT COUNT(*) FROM throttle").fetchone() == (1,)
    Throttle.create(key="two", last_at=1)
    writer.execute("BEGIN IMMEDIATE")
    assert checkpoints.once() > 0
    assert reader.execute("SELECT COUNT(*) FROM throttle").fetchone() == (1,)
    writer.execute("ROLLBACK")
    reader.execute("COMMIT")
    checkpoints.once()
    assert rows_without_the_log(path) == 2


def test_a_failure_is_told_and_it_goes_on(checkpoints, monkeypatch, caplog):
    turns = iter([OperationalError("disk I/O error"), 5000, 1])
    pauses: list[float] = []

    def once(self: Checkpoints) -> int:
        turn = next(turns)
        if isinstance(turn, Exception):
            raise turn
        return turn

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise SystemExit

    monkeypatch.setattr(Checkpoints, "once", once)
    monkeypatch.setattr("portal.checkpoint.time.sleep", sleep)
    with pytest.raises(SystemExit):
        checkpoint._go_on()
    assert pauses == [checkpoint.FAILED_SECONDS, SOON_SECONDS, LATER_SECONDS]
    assert [record.getMessage() for record in caplog.records] == [
        "a checkpoint failed and is tried again: disk I/O error"
    ]
