"""Threads that others wait for must not wait: what would make them is done elsewhere."""

from collections.abc import Callable
from threading import local


class Busy(BaseException):
    """A thread that may not wait would have to: the request can be done again where one may.

    Not for anybody but the server that asked for it, as KeyboardInterrupt is.
    """


class _Thread(local):
    patient = True
    hand_over: Callable[[Callable[[], None]], object] | None = None


this = _Thread()


def in_turn(call: Callable[[], None]) -> None:
    """Call it here, or in a thread that may wait where this one has such a helper."""
    if this.hand_over is None:
        call()
    else:
        this.hand_over(call)
