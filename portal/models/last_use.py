"""When applications and their secrets were last used: gathered in memory, written together.

A transaction of its own would cost nearly half as much as the token. So what a process has seen
is written at once while little happens, and else once a second, or when many have gathered.
"""

from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from peewee import DatabaseError, InterfaceError

from portal.clock import now
from portal.database import database, on_sqlite
from portal.models.application import Application, ApplicationSecret
from portal.models.compiled import Compiled, slot

if TYPE_CHECKING:
    from portal.models.client import Client, Secret

#: What was noted so lately is not noted again.
USED_SECONDS = 60
#: So many are written sooner than after a second: nobody shall wait for a long transaction.
MOST = 100

# Another process may have seen a later use.
_TOUCH = Compiled(
    lambda: Application.update({Application.last_used_at: slot("now")}).where(
        Application.id == slot("id"), Application.last_used_at < slot("now")
    )
)
_TOUCH_SECRET = Compiled(
    lambda: ApplicationSecret.update({ApplicationSecret.last_used_at: slot("now")}).where(
        ApplicationSecret.id == slot("id"),
        ApplicationSecret.last_used_at.is_null() | (ApplicationSecret.last_used_at < slot("now")),
    )
)


class LastUse:
    """The notes of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._notes: dict[tuple[Compiled, int], int] = {}
        self._written_at = 0

    def note(self, client: "Client", secret: "Secret | None") -> None:
        """Note that the application, and the secret, is used now: each at most once a minute."""
        moment = now()
        # Also after the clock was set back, when it was used in the future.
        if abs(moment - client.last_used_at) >= USED_SECONDS:
            client.last_used_at = moment
            self._add(_TOUCH, client.id, moment)
        if secret and abs(moment - client.secret_seen_at.get(secret.id, 0)) >= USED_SECONDS:
            client.secret_seen_at[secret.id] = moment
            self._add(_TOUCH_SECRET, secret.id, moment)
        if self._notes and (moment != self._written_at or len(self._notes) >= MOST):
            self.write()

    def _add(self, touch: Compiled, id: int, moment: int) -> None:
        with self._lock:
            self._notes[touch, id] = moment

    def write(self) -> None:
        """Write what has gathered. What the database does not take is dropped: answers go out."""
        if database.in_transaction():
            return
        with self._lock:
            notes, self._notes = self._notes, {}
            self._written_at = now()
        for touch in (_TOUCH, _TOUCH_SECRET):
            # In one order, so that two processes do not wait for each other.
            rows = sorted((id, moment) for (kind, id), moment in notes.items() if kind is touch)
            if rows:
                with suppress(DatabaseError, InterfaceError), database.transaction():
                    if not on_sqlite():  # where the lock was had a moment ago
                        database.execute_sql("SET LOCAL lock_timeout = '100ms'")
                    touch.run_each([{"id": id, "now": moment} for id, moment in rows])
