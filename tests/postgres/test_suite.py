"""The same HTTP suite on PostgreSQL: every test of these folders, in a run of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
#: These start clusters or browsers, or look at files, themselves.
ELSEWHERE = {"postgres", "races", "migrations", "hostile", "browser", "faults", "bench"}
PARTS = {
    path.name: [path]
    for path in sorted(TESTS.iterdir())
    if path.name not in ELSEWHERE and any(path.glob("test_*.py"))
}
if top := sorted(TESTS.glob("test_*.py")):
    PARTS["top"] = top

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("part", PARTS)
def test_the_suite_passes_on_postgresql(postgres, part):
    url = postgres.create(f"suite_{part}")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:xdist", *PARTS[part]],
        cwd=TESTS.parent,
        env={**environment, "PORTAL_TEST_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.returncode == 0, "\n".join(run.stdout.splitlines()[-80:])
