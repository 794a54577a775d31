"""Run a test on SQLite and on PostgreSQL: `pytestmark = on_both_engines`."""

import pytest

SQLITE, POSTGRES = "sqlite", "postgres"

on_both_engines = pytest.mark.parametrize(
    "database_url",
    [SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)],
    indirect=True,
)
