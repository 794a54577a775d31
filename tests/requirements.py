"""What a test needs beyond Python: skipped where it is missing, unless the run demands it.

`PORTAL_TEST_REQUIRE=browser,postgres` makes a missing one fail instead of skip.
"""

import os

import pytest


def require(name: str, problem: str | None) -> None:
    """Skip the test when there is a problem; fail it when the run demands `name`."""
    if problem is None:
        return
    if name in os.environ.get("PORTAL_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{name} is required here: {problem}", pytrace=False)
    pytest.skip(problem)
