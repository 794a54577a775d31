"""The signing keys in this process: imported once, looked up again every minute."""

import json
import time
from threading import Lock
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from portal.clock import now
from portal.models.signing_key import ALGORITHMS, SigningKey

RELOAD_SECONDS = 60


class KeyRing:
    """What signs and checks tokens. Keys that another process made come with the next look."""

    def __init__(self, encryption_key: bytes) -> None:
        self._encryption_key = encryption_key
        self._lock = Lock()
        self._rows: list[SigningKey] = []
        self._private: dict[str, ECKey | RSAKey] = {}
        self._looked_at = float("-inf")

    def rows(self) -> list[SigningKey]:
        """The published keys; at most one look at the database a minute."""
        with self._lock:
            if time.monotonic() - self._looked_at >= RELOAD_SECONDS or not self._rows:
                SigningKey.ensure(self._encryption_key)
                self._rows = SigningKey.published()
                self._looked_at = time.monotonic()
            return [row for row in self._rows if row.ends_at is None or row.ends_at > now()]

    def jwks(self) -> dict[str, list]:
        """The public keys (RFC 7517 §5)."""
        return {"keys": [json.loads(row.public_jwk) for row in self.rows()]}

    def sign(self, claims: dict[str, Any], algorithm: str, typ: str | None = None) -> str:
        """A signed JWT (RFC 7515), with the `kid` of the key that signs today."""
        row = self._signer(ALGORITHMS[algorithm])
        header = {"alg": algorithm, "kid": row.kid, **({"typ": typ} if typ else {})}
        return jwt.encode(header, claims, self._key(row), algorithms=[algorithm])

    def claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a JWT that one of our published keys signed; None for anything else."""
        keys = KeySet([self._key(row) for row in self.rows()])
        try:
            return jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError, KeyError):
            return None

    def _signer(self, kind: str) -> SigningKey:
        ready = [row for row in self.rows() if row.kind == kind and row.active_at <= now()]
        return max(ready, key=lambda row: row.active_at)

    def _key(self, row: SigningKey) -> ECKey | RSAKey:
        with self._lock:
            if row.kid not in self._private:
                self._private[row.kid] = row.unlocked(self._encryption_key)
            return self._private[row.kid]
