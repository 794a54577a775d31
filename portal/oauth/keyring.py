"""The signing keys in this process: imported once, looked up again every minute."""

import json
from threading import Lock
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from portal.audit import PORTAL
from portal.clock import now
from portal.database import database, transaction
from portal.models import AuditEvent
from portal.models.signing_key import (
    ALGORITHMS,
    DAY,
    EC,
    ENDED,
    KEEP_SECONDS,
    RSA,
    SigningKey,
)
from portal.text import iso

RELOAD_SECONDS = 60


class KeyRing:
    """What signs and checks tokens. Keys that another process made come with the next look."""

    def __init__(self, encryption_key: bytes, longest_token: int = 0, *, audit_key: bytes) -> None:
        self.encryption_key = encryption_key
        self.audit_key = audit_key
        #: An old key is published longer than any token lives that it signed.
        self.keep_seconds = max(KEEP_SECONDS, longest_token + DAY)
        self._lock = Lock()
        self._rows: list[SigningKey] = []
        self._private: dict[str, ECKey | RSAKey] = {}
        self._public: dict[str, ECKey | RSAKey] = {}
        self._looked_at = 0

    def prepare(self) -> None:
        """Make what is missing, and see that this process can sign; WrongSecretKey if not."""
        SigningKey.ensure(self.encryption_key, self.keep_seconds, self._tell)
        self.forget()
        for kind in (EC, RSA):
            self._private_key(self._signer(kind))

    def _tell(self, row: SigningKey) -> None:
        # Without Flask: tokens are signed behind the machines' door, too.
        after = {"signs_from": iso(row.active_at)}
        AuditEvent.append(self.audit_key, "key.rotated", actor=PORTAL, subject=row.kid, after=after)

    def forget(self) -> None:
        """Look at the database at the next use."""
        with self._lock:
            self._looked_at = 0

    def rows(self) -> list[SigningKey]:
        """The published keys; at most one look at the database a minute."""
        with self._lock:
            if abs(now() - self._looked_at) >= RELOAD_SECONDS or not self._rows:
                self._look()
            return [row for row in self._rows if row.state != ENDED]

    def _look(self) -> None:
        # A key made inside somebody's transaction would be gone if that is rolled back.
        if not self._rows or not database.in_transaction():
            SigningKey.ensure(self.encryption_key, self.keep_seconds, self._tell)
        self._rows = SigningKey.published()
        self._looked_at = now()

    def jwks(self) -> dict[str, list]:
        """The public keys (RFC 7517 §5)."""
        return {"keys": [json.loads(row.public_jwk) for row in self.rows()]}

    def sign(self, claims: dict[str, Any], algorithm: str, typ: str | None = None) -> str:
        """A signed JWT (RFC 7515), with the `kid` of the key that signs today."""
        row = self._signer(ALGORITHMS[algorithm])
        header = {"alg": algorithm, "kid": row.kid, **({"typ": typ} if typ else {})}
        return jwt.encode(header, claims, self._private_key(row), algorithms=[algorithm])

    def claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a JWT that one of our published keys signed; None for anything else."""
        keys = KeySet([self._public_key(row) for row in self.rows()])
        try:
            return jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError, KeyError):
            return None

    def _signer(self, kind: str) -> SigningKey:
        rows = self.rows()
        # After the clock was set back perhaps none is active yet, but all are published.
        row = SigningKey.signer(rows, kind) or next((r for r in rows if r.kind == kind), None)
        if row is None:  # the last one was taken out of the database by hand
            with transaction():
                row = SigningKey.make(kind, self.encryption_key, now())
                self._tell(row)
            self.forget()
        return row

    def _private_key(self, row: SigningKey) -> ECKey | RSAKey:
        with self._lock:
            if row.kid not in self._private:
                self._private[row.kid] = row.unlocked(self.encryption_key)
            return self._private[row.kid]

    def _public_key(self, row: SigningKey) -> ECKey | RSAKey:
        with self._lock:
            if row.kid not in self._public:
                self._public[row.kid] = row.opened()
            return self._public[row.kid]
