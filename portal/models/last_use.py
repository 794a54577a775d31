"""When applications and their secrets were last used: gathered in memory, written together.

A transaction of its own would cost nearly half as much as the token. So what a process has seen
is written at once while little happens, and else once a second, or when many have gathered.
Where hundreds of applications come every second, each is noted every ten minutes only: among a
million of them nearly every note is a write to pages that nobody else has touched.
"""

from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address, ip_network
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
#: The same once so many were noted within a second.
CROWD, CROWD_SECONDS = 50, 600
#: So many are written sooner than after a second: nobody shall wait for a long transaction.
MOST = 100

_SLOTS = ("id", "now", "network")
# Another process may have seen a later use.
_TOUCH = Compiled(
    lambda: Application.update({Application.last_used_at: slot("now")}).where(
        Application.id == slot("id"), Application.last_used_at < slot("now")
    )
)
_TOUCH_SECRET = Compiled(
    lambda: ApplicationSecret.update(
        {
            ApplicationSecret.last_used_at: slot("now"),
            ApplicationSecret.last_used_from: slot("network"),
        }
    ).where(
        ApplicationSecret.id == slot("id"),
        ApplicationSecret.last_used_at.is_null() | (ApplicationSecret.last_used_at < slot("now")),
    )
)


class LastUse:
    """The notes of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        #: When, and from which network.
        self._notes: dict[tuple[Compiled, int], tuple[int, str]] = {}
        self._written_at = 0
        #: The second that passes, and how many were noted in it.
        self._second = self._noted = 0

    def note(self, client: "Client", secret: "Secret | None", address: str = "") -> None:
        """Note that the application, and the secret, is used now, unless it was noted lately.

        Of the address of whoever sent the secret only the network is kept.
        """
        moment = now()
        if moment != self._second:
            self._second, self._noted = moment, 0
        lately = USED_SECONDS if self._noted < CROWD else CROWD_SECONDS
        # Also after the clock was set back, when it was used in the future.
        if abs(moment - client.last_used_at) >= lately:
            client.last_used_at = moment
            self._add(_TOUCH, client.id, moment)
        if secret and abs(moment - client.secret_seen_at.get(secret.id, 0)) >= lately:
            client.secret_seen_at[secret.id] = moment
            self._add(_TOUCH_SECRET, secret.id, moment, network_of(address))
        if self._notes and (moment != self._written_at or len(self._notes) >= MOST):
            self.write()

    def _add(self, touch: Compiled, id: int, moment: int, network: str = "") -> None:
        with self._lock:
            self._notes[touch, id] = moment, network
            self._noted += 1

    def write(self) -> None:
        """Write what has gathered. What the database does not take is dropped: answers go out."""
        if database.in_transaction():
            return
        with self._lock:
            notes, self._notes = self._notes, {}
            self._written_at = now()
        for touch in (_TOUCH, _TOUCH_SECRET):
            # In one order, so that two processes do not wait for each other.
            rows = sorted((id, *note) for (kind, id), note in notes.items() if kind is touch)
            if rows:
                with suppress(DatabaseError, InterfaceError), database.transaction():
                    if not on_sqlite():  # where the lock was had a moment ago
                        database.execute_sql("SET LOCAL lock_timeout = '100ms'")
                    touch.run_each([dict(zip(_SLOTS, row, strict=True)) for row in rows])


#: How much of an address says where a server stands, and not which one it is.
IPV4_BITS, IPV6_BITS = 24, 48


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """The network of an IP address: `203.0.113.0/24`, `2001:db8:7::/48`; "" for anything else."""
    try:
        ip = ip_address(address.partition("%")[0])  # an IPv6 zone is this machine's own affair
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    bits = IPV4_BITS if ip.version == 4 else IPV6_BITS
    return str(ip_network((ip, bits), strict=False))
