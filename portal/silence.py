"""A PostgreSQL that stops without a word: requests give up on it, commands wait.

Its kernel goes on acknowledging what arrives, so that neither keepalives nor `tcp_user_timeout`
notice, and `statement_timeout` would be for the server itself to keep.
"""

import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg


class Connection(psycopg.Connection):
    """Closes, with an OperationalError, when the server says nothing for `silent_seconds`."""

    #: Of whoever has it at the moment; 0: as long as it takes.
    silent_seconds = 0
    on_silence: Callable[[], None]

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Take `gen` to its end as psycopg does, unless the server falls silent."""
        if self.silent_seconds:
            gen = self._listening(gen)
        return super().wait(gen, *args, **kwargs)

    def _listening(self, gen: Any) -> Generator[Any, Any, Any]:
        """`gen`, which is told ten times a second when there is nothing to read or write."""
        quiet_since = 0.0
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    quiet_since = 0.0
                elif not quiet_since:
                    quiet_since = time.monotonic()
                elif time.monotonic() - quiet_since > self.silent_seconds:
                    self._give_up()
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _give_up(self) -> None:
        self.close()
        self.on_silence()
        raise psycopg.OperationalError(
            f"PostgreSQL has not said anything for {self.silent_seconds} seconds"
        )
