"""Signing keys: made here, their private part encrypted, announced before they sign."""

import base64
import json
from typing import Self

from cryptography.fernet import Fernet, InvalidToken
from joserfc.jwk import ECKey, RSAKey
from peewee import TextField

from portal.clock import now
from portal.credentials import make_reference
from portal.database import transaction
from portal.models.base import EpochField, IdField, Record

EC, RSA = "EC", "RSA"
#: What each kind of key signs with.
ALGORITHMS = {"ES256": EC, "RS256": RSA, "PS256": RSA}
#: A new key is published this long before it signs, so that every relying app has it by then.
ANNOUNCE_SECONDS = 60 * 60
#: A key is replaced by itself after this time.
AGE_SECONDS = 90 * 24 * 60 * 60


class WrongSecretKey(Exception):
    """The keys in the database were encrypted with another PORTAL_SECRET_KEY."""


class SigningKey(Record):
    """One key pair. It is published from the start, signs from `active_at`, ends at `ends_at`."""

    id = IdField()
    kid = TextField(unique=True)
    kind = TextField()
    public_jwk = TextField()
    private_jwk = TextField()
    created_at = EpochField(default=now)
    active_at = EpochField()
    #: When it stops being published; None while it is in use.
    ends_at = EpochField(null=True)

    @classmethod
    def make(cls, kind: str, encryption_key: bytes, active_at: int) -> Self:
        """A new key of a kind (EC P-256 or RSA 2048), published from now on."""
        kid = f"{kind.lower()}-{make_reference().lower()}"
        key = (
            ECKey.generate_key("P-256", private=True)
            if kind == EC
            else RSAKey.generate_key(2048, private=True)
        )
        # An RSA key signs RS256 and PS256, so only the EC key names its algorithm.
        facts = {"kid": kid, "use": "sig", **({"alg": "ES256"} if kind == EC else {})}
        private = json.dumps({**key.as_dict(private=True), **facts})
        return cls.create(
            kid=kid,
            kind=kind,
            public_jwk=json.dumps({**key.as_dict(private=False), **facts}),
            private_jwk=_fernet(encryption_key).encrypt(private.encode()).decode(),
            active_at=active_at,
        )

    @classmethod
    def ensure(cls, encryption_key: bytes) -> None:
        """Make the first keys, and a successor for each that has grown old."""
        with transaction():
            for kind in (EC, RSA):
                newest = cls.newest(kind)
                if newest is None:
                    cls.make(kind, encryption_key, now())
                elif newest.active_at + AGE_SECONDS <= now():
                    cls.rotate(kind, encryption_key)

    @classmethod
    def newest(cls, kind: str) -> Self | None:
        """The key of a kind that signs last; None when there is none."""
        rows = cls.select().where(cls.kind == kind, cls.ends_at.is_null())
        return rows.order_by(cls.active_at.desc()).first()

    @classmethod
    def rotate(
        cls,
        kind: str,
        encryption_key: bytes,
        *,
        announce_seconds: int = ANNOUNCE_SECONDS,
        keep_seconds: int = 24 * 60 * 60,
    ) -> Self:
        """Announce a new key; the others stay published `keep_seconds` after it takes over.

        `keep_seconds` must be longer than any token lives that they signed.
        """
        with transaction():
            active_at = now() + announce_seconds
            cls.update(ends_at=active_at + keep_seconds).where(
                cls.kind == kind, cls.ends_at.is_null()
            ).execute()
            return cls.make(kind, encryption_key, active_at)

    @classmethod
    def published(cls) -> list[Self]:
        """The keys that relying apps may meet, the oldest first."""
        alive = cls.ends_at.is_null() | (cls.ends_at > now())
        return list(cls.select().where(alive).order_by(cls.active_at, cls.id))

    def retire(self) -> None:
        """Stop publishing the key at once; what it signed can no longer be checked."""
        with transaction():
            SigningKey.update(ends_at=now()).where(SigningKey.id == self.id).execute()

    def unlocked(self, encryption_key: bytes) -> ECKey | RSAKey:
        """The private key, imported; an RSA import costs 36 ms, so do it once a process."""
        try:
            text = _fernet(encryption_key).decrypt(self.private_jwk.encode())
        except InvalidToken:
            raise WrongSecretKey(
                "The signing keys were encrypted with another PORTAL_SECRET_KEY. Set the former"
                " one, or delete the keys with `flask keys reset`."
            ) from None
        return (ECKey if self.kind == EC else RSAKey).import_key(json.loads(text))


def _fernet(key: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(key))
