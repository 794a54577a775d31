"""When applications and their secrets were last used: gathered in memory, written together.

A transaction of its own would cost nearly half as much as the token. So what a process has seen
is written at once while little happens, and else once a second, or when many have gathered.
Where many applications come every second that were not noted within a minute, a few of them are
noted each second and the others once an hour: among a million of them nearly every note is a write
to pages that nobody else has touched. But whoever was refused something is noted as soon as it
works again in the same process: health compares the two.
"""

from functools import lru_cache
from ipaddress import ip_address, ip_network
from threading import Lock
from typing import TYPE_CHECKING

from peewee import Select

from portal.clock import now
from portal.database import database, on_sqlite, tried
from portal.models.application import Application, ApplicationSecret
from portal.models.base import read_days
from portal.models.compiled import Compiled, slot
from portal.models.concern import UNUSED
from portal.models.misused_secret import note_misuses
from portal.models.secret_network import note_networks
from portal.models.usage import today
from portal.patience import in_turn

if TYPE_CHECKING:
    from portal.models.client import Client, Secret

#: What was noted so lately is not noted again.
USED_SECONDS = 60
#: The same once so many were noted within a second, a secret beside its application.
CROWD, CROWD_SECONDS = 10, 3600
#: So many that were refused are known before all are forgotten.
MOST_REFUSED = 1000
#: So many are written sooner than after a second: nobody shall wait for a long transaction.
MOST = 20
#: So many misuses of secrets are remembered until they are written.
MOST_MISUSES = 100
#: So many networks, of one secret in one process, are known before all are forgotten.
MOST_NETWORKS = 200

# Another process may have seen a later use.
_TOUCH = Compiled(
    lambda: Application.update(
        {
            Application.last_used_at: slot("now"),
            Application.concerns: Application.concerns.bin_and(~UNUSED),
        }
    ).where(Application.id == slot("id"), Application.last_used_at < slot("now"))
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
# Two processes may note different scopes of one application.
_MACHINE_DAYS = Compiled(
    lambda: _locked(
        Application.select(Application.machine_days).where(Application.id == slot("id"))
    )
)
_TOUCH_MACHINE = Compiled(
    lambda: Application.update({Application.machine_days: slot("days")}).where(
        Application.id == slot("id")
    )
)


def _locked(query: Select) -> Select:
    # SQLite has the whole database locked. Tokens may be issued meanwhile.
    return query if on_sqlite() else query.for_update("FOR NO KEY UPDATE")  # type: ignore[arg-type]


class LastUse:
    """The notes of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        #: When each was used; secrets from which network.
        self._applications: dict[int, int] = {}
        self._secrets: dict[tuple[int, str], int] = {}
        #: Which scopes each took for itself, and on which day.
        self._machines: dict[int, dict[str, int]] = {}
        #: Secrets that may have been used from too many networks to remember all.
        self._crowded: set[int] = set()
        #: Secrets that were sent for another application: how often, from where and when.
        self._misuses: dict[tuple[int, int], tuple[int, str, int]] = {}
        #: Applications that were refused something since they were last noted.
        self._refused: set[int] = set()
        self._written_at = 0
        #: The second that passes, and how many were noted in it.
        self._second = self._noted = 0

    def note(self, client: "Client", secret: "Secret | None", address: str = "") -> None:
        """Note that the application, and the secret, is used now, unless it was noted lately.

        Of the address of whoever sent the secret only the network is kept, each once a minute.
        """
        moment = now()
        if moment != self._second:
            self._second, self._noted = moment, 0
        is_one_of_many = self._noted >= CROWD and client.id not in self._refused
        lately = CROWD_SECONDS if is_one_of_many else USED_SECONDS
        # Also after the clock was set back, when it was used in the future.
        if abs(moment - client.last_used_at) >= lately:
            client.last_used_at = moment
            self._refused.discard(client.id)
            with self._lock:
                self._applications[client.id] = moment
                self._noted += 1
        if secret:
            network = network_of(address)
            last = secret.seen_at.get(network)
            if last is None or abs(moment - last) >= lately:
                self._note_secret(secret, network, moment)
        if not (self._applications or self._secrets or self._machines):
            return
        gathered = len(self._applications) + len(self._secrets) + len(self._machines)
        if moment != self._written_at or gathered >= MOST:
            self._written_at = moment
            in_turn(self.write)

    def note_refusal(self, application_id: int) -> None:
        """Remember to note the application's next use, however many others come."""
        if len(self._refused) >= MOST_REFUSED:
            self._refused.clear()
        self._refused.add(application_id)

    def note_machine(self, client: "Client", scope: str) -> None:
        """Note which scopes an application takes for itself: each once a day."""
        day, known = today(), client.machine_days
        for taken in scope.split():
            if known.get(taken) != day:
                break
        else:
            return
        noted = dict.fromkeys(scope.split(), day)
        client.machine_days = {**known, **noted}
        with self._lock:
            self._machines.setdefault(client.id, {}).update(noted)
            self._noted += 1

    def _note_secret(self, secret: "Secret", network: str, moment: int) -> None:
        if len(secret.seen_at) >= MOST_NETWORKS:
            secret.seen_at.clear()
        is_new, secret.seen_at[network] = network not in secret.seen_at, moment
        with self._lock:
            self._secrets[secret.id, network] = moment
            self._noted += 1
            # Who comes from one place alone has no more here than that.
            if is_new and len(secret.seen_at) > 1:
                self._crowded.add(secret.id)

    def note_misuse(self, secret_id: int, named_id: int, address: str) -> None:
        """Note that a secret was sent for another application.

        It is written with what comes later, never by the answer itself: that takes as long as any
        other refusal, so that nobody can tell whose secret they have.
        """
        key = secret_id, named_id
        with self._lock:
            count = self._misuses.get(key, (0,))[0]
            if count or len(self._misuses) < MOST_MISUSES:
                self._misuses[key] = count + 1, network_of(address), now()

    def write_misuses(self) -> None:
        """Write those of earlier seconds, whatever is refused now."""
        if any(at != now() for _, _, at in list(self._misuses.values())):
            in_turn(self.write)

    def write(self) -> None:
        """Write what has gathered. What the database does not take is dropped: answers go out.

        But for what is noted once a day: that is tried again with the next notes.
        """
        if not (self._applications or self._secrets or self._machines or self._misuses):
            return
        if database.in_transaction():
            return
        with self._lock:
            applications, self._applications = self._applications, {}
            secrets, self._secrets = self._secrets, {}
            machines, self._machines = self._machines, {}
            crowded, self._crowded = self._crowded, set()
            misuses, self._misuses = self._misuses, {}
            self._written_at = now()
        # In one order, so that two processes do not wait for each other.
        if applications:
            rows: list[dict[str, object]] = [
                {"id": id, "now": at} for id, at in sorted(applications.items())
            ]
            tried(lambda: _TOUCH.run_each(rows))
        if machines and not tried(lambda: _note_machines(machines)):
            with self._lock:
                for id, days in machines.items():
                    self._machines.setdefault(id, {}).update(days)
        if secrets:
            places = [(id, network, at) for (id, network), at in sorted(secrets.items())]
            tried(lambda: _note_secrets(places, crowded))
        if misuses:
            told = [(*key, *told) for key, told in sorted(misuses.items())]
            tried(lambda: note_misuses(told))


def _note_machines(machines: dict[int, dict[str, int]]) -> None:
    for application_id, days in sorted(machines.items()):
        found = _MACHINE_DAYS.row(id=application_id)
        known = read_days(found[0]) if found else days
        merged = {**known, **days}
        if merged != known:
            _TOUCH_MACHINE.run(id=application_id, days=Application.machine_days.db_value(merged))


def _note_secrets(places: list[tuple[int, str, int]], crowded: set[int]) -> None:
    if known := [place for place in places if place[1]]:
        note_networks(known, crowded)
    _TOUCH_SECRET.run_each(
        [{"id": id, "now": at, "network": network} for id, network, at in places]
    )


#: How much of an address says where a server stands, and not which one it is.
IPV4_BITS, IPV6_BITS = 24, 48


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The network of an IP address: `203.0.113.0/24`, `2001:db8:7::/48`; "" for anything else."""
    try:
        ip = ip_address(address.partition("%")[0])  # an IPv6 zone is this machine's own affair
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    bits = IPV4_BITS if ip.version == 4 else IPV6_BITS
    return str(ip_network((ip, bits), strict=False))
