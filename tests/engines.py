"""Run a test on SQLite and on PostgreSQL: `pytestmark = on_both_engines`."""

import os

import pytest

SQLITE, POSTGRES = "sqlite", "postgres"

on_both_engines = pytest.mark.parametrize(
    "database_url",
    [SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)],
    indirect=True,
)

#: For tests that look at the file, in a run that uses another database.
only_on_sqlite = pytest.mark.skipif(
    "PORTAL_TEST_DATABASE_URL" in os.environ, reason="this is about SQLite's file"
)
