"""Many at once: threads that wait for one another and then all act in the same moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from portal.database import database

R = TypeVar("R")


def together(count: int, act: Callable[[int], R]) -> list[R]:
    """Do `act(0)` … `act(count - 1)` at the same moment, each on a connection of its own."""
    gate = Barrier(count, timeout=60)

    def wait_and_act(number: int) -> R:
        try:
            database.connect(reuse_if_open=True)
            gate.wait()
            return act(number)
        finally:
            database.close()

    with ThreadPoolExecutor(count) as pool:
        return [done.result() for done in [pool.submit(wait_and_act, n) for n in range(count)]]
