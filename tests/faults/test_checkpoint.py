"""The server brings what was committed into the database file beside its requests."""

import shutil
import sqlite3

import pytest

from portal.database import database, on_sqlite
from tests.faults.portal import wait_until


def test_tokens_reach_the_file_while_it_serves(rp, portal, tmp_path):
    if not on_sqlite():
        pytest.skip("PostgreSQL does so by itself")
    copy = tmp_path / "copy.db"

    def tokens_in_the_file() -> int:
        shutil.copy(database.obj.database, copy)  # without its log
        with sqlite3.connect(f"file:{copy}?immutable=1", uri=True) as file:
            return file.execute("SELECT COUNT(*) FROM access_token").fetchone()[0]

    portal.start()
    before = tokens_in_the_file()
    for _ in range(20):
        assert portal.serving(rp).token("client_credentials").status_code == 200
    wait_until(lambda: tokens_in_the_file() == before + 20)
