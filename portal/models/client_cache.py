"""The clients that a process keeps in memory."""

from collections import OrderedDict
from threading import Lock

from portal.models.client import Client

CACHED_CLIENTS = 10_000
#: Bytes that remember, roughly, which clients came lately without being kept.
SEEN_BYTES = 1 << 16


class ClientCache:
    """Clients that came more than once lately or signed people in, the least recent goes first.

    Among a million that come in turns hardly any comes again soon, and to keep what never comes
    again costs as much as to read it.
    """

    def __init__(self, size: int = CACHED_CLIENTS) -> None:
        self._size = size
        self._seen = bytearray(SEEN_BYTES)
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._lock = Lock()

    def get(self, client_id: str, *, whole: bool = False) -> Client | None:
        """The client, perhaps a stale one: what is issued to it must check the version.

        A `whole` one has what only sign-ins need.
        """
        client = self._clients.get(client_id)
        if client is None or (whole and not client.is_whole):
            return self.load(client_id, whole=whole)
        with self._lock:
            if client_id in self._clients:
                self._clients.move_to_end(client_id)
        return client

    def current(self, client_id: str, *, whole: bool = False) -> Client | None:
        """The client as the database has it now."""
        client = self._clients.get(client_id)
        if client is not None and (client.is_whole or not whole) and client.is_current():
            return client
        return self.load(client_id, whole=whole)

    def load(self, client_id: str, *, whole: bool = False) -> Client | None:
        """Read the client from the database.

        A `whole` one is kept at once: people are signing in, and its next request comes soon.
        """
        known = self._clients.get(client_id)
        whole = whole or (known is not None and known.is_whole)
        client = Client.read(client_id, whole=whole)
        if client is None:
            self.forget(client_id)
            return None
        if known is None and not whole and not self._comes_again(client_id):
            return client
        with self._lock:
            kept = self._clients.get(client_id)
            # Another thread may have read more of it meanwhile.
            if kept is None or client.is_whole or not kept.is_whole:
                self._clients[client_id] = client
            self._clients.move_to_end(client_id)
            if len(self._clients) > self._size:
                self._clients.popitem(last=False)
        return client

    def _comes_again(self, client_id: str) -> bool:
        hashed = hash(client_id)
        place, mark = hashed % SEEN_BYTES, (hashed >> 32) % 255 + 1
        again, self._seen[place] = self._seen[place] == mark, mark
        return again

    def forget(self, client_id: str) -> None:
        with self._lock:
            self._clients.pop(client_id, None)
