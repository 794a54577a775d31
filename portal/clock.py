"""The only clock: everything that asks for the time asks here, so that tests can move it."""

import time


def now() -> int:
    """The time in whole seconds since 1970-01-01 UTC."""
    return int(time.time())


def now_ms() -> int:
    """The time in whole milliseconds since 1970-01-01 UTC."""
    return int(time.time() * 1000)
