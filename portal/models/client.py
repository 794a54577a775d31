"""An application as the protocol sees it: a light row, checked by version.

Loading a model costs thirty times what reading the row costs. So the rows stay in memory (see
`client_cache`), and the statement that issues a token demands that the row's version is still the
database's: a stale row costs one retry, never a wrong answer.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

from authlib.oauth2.rfc6749 import ClientMixin
from peewee import SQL, Case, Field, Function, Select, fn

from portal.clock import now
from portal.credentials import hash_secret, matches
from portal.database import on_sqlite
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


class StaleClient(Exception):
    """The application changed since its row was read: read it again and repeat the request."""


class Secret:
    """A secret that was not retired."""

    __slots__ = ("expires_at", "hash", "id", "seen_at")

    def __init__(
        self, id: int, hash: bytes, expires_at: int | None, seen_at: int | None, place: str
    ) -> None:
        self.id, self.hash, self.expires_at = id, hash, expires_at
        #: When it was last noted, by the network that it was used from.
        self.seen_at = {place: seen_at or 0}


def _flag(holds: Any, name: str) -> Case:
    return Case(None, [(holds, SQL(f"'{name}'"))], SQL("''"))


_TRAITS = (
    Application.grants,
    Application.scopes,
    Application.resources,
    Application.machine_days,
    Application.token_format,
    _flag(Application.confidential, "confidential"),
    _flag(Application.resource_server, "resource_server"),
    _flag(Application.disabled_at.is_null(), "enabled"),
)


def _traits() -> Function:
    """What many clients have in common, as lines of one text: each column costs."""
    if on_sqlite():
        return fn.printf(SQL("'" + "\n".join(["%s"] * len(_TRAITS)) + "'"), *_TRAITS)
    return fn.concat_ws(SQL("'\n'"), *_TRAITS)


#: What every request of an application needs, and then its traits.
_COLUMNS = (Application.id, Application.version, Application.epoch, Application.last_used_at)
#: What only signing people in needs; where every client is read anew, each column costs.
_FRONT_COLUMNS = (
    Application.name,
    Application.redirect_uris,
    Application.post_logout_redirect_uris,
    Application.require_pkce,
    Application.id_token_alg,
    Application.subject_type,
    Application.trusted,
    Application.trust_ends_at,
    Application.trust_approved,
    Application.scopes,
    Application.owner,
    Application.confidential,
)
_SECRET_COLUMNS = (
    ApplicationSecret.id,
    ApplicationSecret.hash,
    ApplicationSecret.expires_at,
    ApplicationSecret.last_used_at,
    ApplicationSecret.last_used_from,
)


def _with_secrets(*more: Field) -> Select:
    it = ApplicationSecret
    live = (it.application == Application.id) & it.retired_at.is_null()
    return (
        Application.select(*_SECRET_COLUMNS, *_COLUMNS, _traits().alias("traits"), *more)
        .left_outer_join(it, on=live)
        .where(Application.client_id == slot("client_id"))
    )


_LOAD = Compiled(_with_secrets)
_LOAD_WHOLE = Compiled(lambda: _with_secrets(*_FRONT_COLUMNS))
_FRONT = Compiled(
    lambda: Application.select(*_FRONT_COLUMNS).where(
        Application.id == slot("id"), Application.version == slot("version")
    )
)
_VERSION = Compiled(
    lambda: Application.select(Application.version).where(Application.id == slot("id"))
)


class Front:
    """What of an application only matters where people sign in."""

    __slots__ = (
        "id_token_alg",
        "name",
        "post_logout_redirect_uris",
        "redirect_uris",
        "require_pkce",
        "subject_type",
        "trusted_until",
    )

    def __init__(self, row: Sequence[Any]) -> None:
        self.name, uris, logout_uris, pkce, self.id_token_alg, self.subject_type, *trust = row
        self.redirect_uris = tuple(uris.split())
        self.post_logout_redirect_uris = tuple(logout_uris.split())
        self.require_pkce = bool(pkce)
        self.trusted_until = self._trusted_until(*trust) if trust[0] else 0

    def _trusted_until(
        self, trusted: int, ends_at: int | None, approved: str, scopes: str, owner: int, secret: int
    ) -> int:
        is_now = subject(self.redirect_uris, scopes.split(), owner, bool(secret))
        return trusted_until(bool(trusted), ends_at, approved, is_now)


class Client(ClientMixin):
    """An OAuth client (RFC 6749 §2): the answers that the grants ask for."""

    __slots__ = (
        "_front",
        "client_id",
        "confidential",
        "enabled",
        "epoch",
        "grants",
        "id",
        "last_used_at",
        "machine_days",
        "resource_server",
        "resources",
        "scopes",
        "secrets",
        "token_format",
        "version",
    )

    def __init__(self, client_id: str, rows: list[tuple]) -> None:
        self.client_id = client_id
        self.secrets: list[Secret] = []
        for row in rows:
            secret_id, hashed, ends, used, place, *mine = row
            if secret_id is not None:
                self.secrets.append(Secret(secret_id, hashed, ends, used, place))
        self.id, self.version, self.epoch, self.last_used_at, traits, *front = mine
        (
            self.grants,
            self.scopes,
            self.resources,
            self.machine_days,
            self.token_format,
            self.confidential,
            self.resource_server,
            self.enabled,
        ) = _read_traits(traits)
        self._front = Front(front) if front else None

    @classmethod
    def read(cls, client_id: str, *, whole: bool = False) -> Self | None:
        """The client from the database; a `whole` one with its front."""
        rows = (_LOAD_WHOLE if whole else _LOAD).rows(client_id=client_id)
        return cls(client_id, rows) if rows else None

    def is_current(self) -> bool:
        """Whether the database still has the version that was read."""
        row = _VERSION.row(id=self.id)
        return row is not None and row[0] == self.version

    @property
    def is_whole(self) -> bool:
        """Whether its front has been read."""
        return self._front is not None

    @property
    def front(self) -> Front:
        """What only sign-ins need. Raises StaleClient when the application changed since."""
        if self._front is None:
            rows = _FRONT.rows(id=self.id, version=self.version)
            if not rows:
                raise StaleClient(self.client_id)
            self._front = Front(rows[0])
        return self._front

    @property
    def name(self) -> str:
        return self.front.name

    @property
    def redirect_uris(self) -> tuple[str, ...]:
        return self.front.redirect_uris

    @property
    def subject_type(self) -> str:
        return self.front.subject_type

    # What Authlib asks (ClientMixin)

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """The registered address, when there is exactly one to choose from."""
        uris = self.redirect_uris
        return uris[0] if len(uris) == 1 else None

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
        return self.front.trusted_until > now()

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
def _read_traits(text: str) -> tuple[Any, ...]:
    # None of them can hold the end of a line.
    grants, scopes, resources, days, token_format, *flags = text.split("\n")
    return (
        _words(grants),
        _words(f"{scopes} {DEFAULT_SCOPE}"),
        tuple(resources.split()),
        read_days(days),
        token_format,
        *map(bool, flags),
    )


@lru_cache(1000)
def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())
