"""An application as the protocol sees it: a light row, kept in memory and checked by version.

Loading a model costs thirty times what reading the row costs. So the rows of recently seen
applications stay in memory, and the statement that issues a token demands that the row's
version is still the database's: a stale row costs one retry, never a wrong answer.
"""

from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

from authlib.oauth2.rfc6749 import ClientMixin

from portal.clock import now
from portal.credentials import hash_secret, matches
from portal.models.application import (
    CLIENT_CREDENTIALS,
    Application,
    ApplicationSecret,
    trusted_until,
)
from portal.models.base import read_days
from portal.models.compiled import Compiled, slot
from portal.models.scope import DEFAULT_SCOPE, PERSONAL
from portal.models.trust import subject

CACHED_CLIENTS = 10_000
#: A byte for each client that was read lately, for those that are not kept.
SEEN_BYTES = 1 << 16


class StaleClient(Exception):
    """The application changed since its row was read: read it again and repeat the request."""


class Secret(NamedTuple):
    id: int
    hash: bytes
    expires_at: int | None


_COLUMNS = (
    Application.id,
    Application.client_id,
    Application.name,
    Application.grants,
    Application.redirect_uris,
    Application.post_logout_redirect_uris,
    Application.scopes,
    Application.confidential,
    Application.require_pkce,
    Application.resource_server,
    Application.trusted,
    Application.disabled_at,
    Application.version,
    Application.epoch,
    Application.last_used_at,
    Application.token_format,
    Application.id_token_alg,
    Application.subject_type,
    Application.resources,
    Application.backchannel_logout_uri,
    Application.trust_ends_at,
    Application.trust_approved,
    Application.owner,
    Application.machine_days,
)
_FIRST_SECRET = len(_COLUMNS)
_LOAD = Compiled(
    lambda: (
        Application.select(
            *_COLUMNS,
            ApplicationSecret.id,
            ApplicationSecret.hash,
            ApplicationSecret.expires_at,
            ApplicationSecret.last_used_at,
            ApplicationSecret.last_used_from,
        )
        .left_outer_join(
            ApplicationSecret,
            on=(
                (ApplicationSecret.application == Application.id)
                & ApplicationSecret.retired_at.is_null()
            ),
        )
        .where(Application.client_id == slot("client_id"))
    )
)
_VERSION = Compiled(
    lambda: Application.select(Application.version).where(Application.id == slot("id"))
)


class Client(ClientMixin):
    """An OAuth client (RFC 6749 §2): the answers that the grants ask for."""

    __slots__ = (
        "backchannel_logout_uri",
        "client_id",
        "confidential",
        "enabled",
        "epoch",
        "grants",
        "id",
        "id_token_alg",
        "last_used_at",
        "machine_days",
        "machine_took",
        "name",
        "post_logout_redirect_uris",
        "redirect_uris",
        "require_pkce",
        "resource_server",
        "resources",
        "scopes",
        "secret_seen_at",
        "secrets",
        "subject_type",
        "token_format",
        "trusted_until",
        "version",
    )

    def __init__(self, rows: list[tuple]) -> None:
        row = rows[0]
        self.id, self.client_id, self.name = row[0], row[1], row[2]
        self.grants = _grants(row[3])
        self.redirect_uris = tuple(row[4].split())
        self.post_logout_redirect_uris = tuple(row[5].split())
        self.scopes = _scopes(row[6])
        self.confidential, self.require_pkce = bool(row[7]), bool(row[8])
        self.resource_server = bool(row[9])
        self.enabled = row[11] is None
        self.version, self.epoch = row[12], row[13]
        self.last_used_at = row[14]
        self.token_format, self.id_token_alg, self.subject_type = row[15:18]
        self.resources = tuple(row[18].split())
        self.backchannel_logout_uri = row[19]
        self.trusted_until = self._trusted_until(row) if row[10] else 0
        self.machine_days = read_days(row[23])
        #: The scopes that it took last for itself, and on which day.
        self.machine_took = ("", 0)
        found = [r[_FIRST_SECRET:] for r in rows if r[_FIRST_SECRET] is not None]
        self.secrets = tuple(Secret(id, bytes(hash), end) for id, hash, end, *_ in found)
        #: When each was last noted, by the address and by the network that it was used from.
        self.secret_seen_at = {(id, place): seen or 0 for id, _, _, seen, place in found}

    def _trusted_until(self, row: tuple) -> int:
        is_now = subject(self.redirect_uris, row[6].split(), row[22], self.confidential)
        return trusted_until(bool(row[10]), row[20], row[21], is_now)

    # What Authlib asks (ClientMixin)

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """The registered address, when there is exactly one to choose from."""
        return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """The scopes to grant; None when one was asked for that is not the application's."""
        asked = (scope or DEFAULT_SCOPE).split()
        return " ".join(dict.fromkeys(asked)) if set(asked) <= self.scopes else None

    def get_machine_scope(self, scope: str | None) -> str | None:
        """The same for an application that acts for itself: nothing about a person."""
        allowed = self.get_allowed_scope(scope)
        return None if allowed is None or PERSONAL & set(allowed.split()) else allowed

    def check_client_secret(self, client_secret: str) -> bool:
        return self.live_secret(client_secret) is not None

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method != "none") if self.confidential else (method == "none")

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and "authorization_code" in self.grants

    def check_grant_type(self, grant_type: str) -> bool:
        if grant_type == CLIENT_CREDENTIALS and not self.confidential:
            return False
        return grant_type in self.grants

    # Our own

    @property
    def skips_consent(self) -> bool:
        """Whether people are not asked: approved as it is now, and not ended."""
        return self.trusted_until > now()

    def live_secret(self, presented: str) -> Secret | None:
        """The live secret that this is, compared in constant time with every one."""
        hashed, found = hash_secret(presented), None
        for secret in self.secrets:
            live = secret.expires_at is None or secret.expires_at > now()
            if matches(hashed, secret.hash) and live:
                found = secret
        return found


# Applications share their sets: ten thousand different ones cost the garbage collector time.
@lru_cache(1000)
def _grants(text: str) -> frozenset[str]:
    return frozenset(text.split())


@lru_cache(1000)
def _scopes(text: str) -> frozenset[str]:
    return frozenset(text.split()) | {DEFAULT_SCOPE}


class ClientCache:
    """The clients that came more than once lately, the least recent forgotten first.

    Among a million that come in turns hardly any comes again soon, and to keep what never comes
    again costs as much as to read it.
    """

    def __init__(self, size: int = CACHED_CLIENTS) -> None:
        self._size = size
        self._seen = bytearray(SEEN_BYTES)
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._lock = Lock()

    def get(self, client_id: str) -> Client | None:
        """The client, perhaps a stale one: what is issued to it must check the version."""
        with self._lock:
            client = self._clients.get(client_id)
            if client is not None:
                self._clients.move_to_end(client_id)
                return client
        return self.load(client_id)

    def current(self, client_id: str) -> Client | None:
        """The client as the database has it now."""
        client = self._clients.get(client_id)
        if client is not None and self.is_current(client):
            return client
        return self.load(client_id)

    @staticmethod
    def is_current(client: Client) -> bool:
        """Whether the row is still as it was read.

        By its version: threads that read it at the same time hold different objects.
        """
        row = _VERSION.row(id=client.id)
        return row is not None and row[0] == client.version

    def load(self, client_id: str) -> Client | None:
        """Read the client from the database."""
        rows = _LOAD.rows(client_id=client_id)
        client = Client(rows) if rows else None
        with self._lock:
            known = self._clients.pop(client_id, None)
            if client is not None and (known or self._comes_again(client_id)):
                self._clients[client_id] = client
                if len(self._clients) > self._size:
                    self._clients.popitem(last=False)
        return client

    def _comes_again(self, client_id: str) -> bool:
        hashed = hash(client_id)
        place, mark = hashed % SEEN_BYTES, (hashed >> 32) & 255
        again, self._seen[place] = self._seen[place] == mark, mark
        return again

    def forget(self, client_id: str) -> None:
        with self._lock:
            self._clients.pop(client_id, None)
