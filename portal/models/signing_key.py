"""Signing keys: made here, their private part encrypted, announced before they sign."""

import base64
import json
from collections.abc import Callable
from typing import Self

from cryptography.fernet import Fernet, InvalidToken
from joserfc.jwk import ECKey, RSAKey
from peewee import TextField

from portal.clock import now
from portal.credentials import make_reference
from portal.database import transaction
from portal.models.base import EpochField, IdField, Record
from portal.models.session import SESSION_SECONDS

EC, RSA = "EC", "RSA"
ANNOUNCED, READY, ENDED = "announced", "ready", "ended"
#: What each kind of key signs with.
ALGORITHMS = {"ES256": EC, "RS256": RSA, "PS256": RSA}
#: A new key is published this long before it signs, so that every relying app has it by then.
ANNOUNCE_SECONDS = 60 * 60
DAY = 24 * 60 * 60
#: A key is replaced by itself after this time.
AGE_SECONDS = 90 * DAY
#: So long an old key is published: while people stay signed in, applications send their ID
#: tokens back as a hint.
KEEP_SECONDS = SESSION_SECONDS + DAY


class WrongSecretKey(Exception):
    """The keys in the database were encrypted with another PORTAL_SECRET_KEY."""

    def __init__(self) -> None:
        super().__init__(
            "The signing keys were made with another PORTAL_SECRET_KEY: set the former one again,"
            " or make new keys with flask --app wsgi keys rotate all --now."
        )


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
    def ensure(
        cls,
        encryption_key: bytes,
        keep_seconds: int = KEEP_SECONDS,
        on_successor: Callable[[Self], None] = lambda key: None,
    ) -> None:
        """Make the first keys, and a successor for each that has grown old.

        `on_successor` is called in the transaction that makes one.

        Only looks when there is nothing to do; two processes that find an old key make one new.
        """
        for kind in (EC, RSA):
            newest = cls.newest(kind)
            if newest is None:
                with transaction():
                    if cls.newest(kind) is None:
                        cls.make(kind, encryption_key, now())
            elif newest.active_at + AGE_SECONDS <= now():
                with transaction():
                    if cls._lock(newest):
                        made = cls.rotate(kind, encryption_key, keep_seconds=keep_seconds)
                        on_successor(made)

    @classmethod
    def newest(cls, kind: str) -> Self | None:
        """The key of a kind that nothing replaces yet; None when there is none."""
        rows = cls.select().where(cls.kind == kind, cls.ends_at.is_null())
        return rows.order_by(cls.id.desc()).first()

    @classmethod
    def rotate(
        cls,
        kind: str,
        encryption_key: bytes,
        *,
        announce_seconds: int = ANNOUNCE_SECONDS,
        keep_seconds: int = KEEP_SECONDS,
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
    def _lock(cls, key: Self) -> bool:
        """Hold a key's row; False when it has been replaced or removed meanwhile."""
        same = (cls.id == key.id) & cls.ends_at.is_null()
        return cls.update(kind=key.kind).where(same).execute() == 1

    @classmethod
    def signer(cls, rows: list[Self], kind: str) -> Self | None:
        """Of these keys the one that signs today: the last one made that is active."""
        ready = [row for row in rows if row.kind == kind and row.state == READY]
        # One that nothing replaces was made last, even if the clock was set back before.
        return max(ready, key=lambda row: (row.ends_at is None, row.id), default=None)

    @classmethod
    def published(cls) -> list[Self]:
        """The keys that relying apps may meet, the oldest first."""
        alive = cls.ends_at.is_null() | (cls.ends_at > now())
        return list(cls.select().where(alive).order_by(cls.active_at, cls.id))

    @property
    def state(self) -> str:
        """Announced, ready, or ended; of the ready ones of a kind the last made signs."""
        if self.ends_at is not None and self.ends_at <= now():
            return ENDED
        return ANNOUNCED if self.active_at > now() else READY

    def retire(self) -> bool:
        """Stop publishing the key at once; what it signed can no longer be checked.

        False when nothing else of its kind could sign: then it stays.
        """
        with transaction():
            others = [row for row in SigningKey.published() if row.id != self.id]
            if SigningKey.signer(others, self.kind) is None:
                return False
            SigningKey.update(ends_at=now()).where(SigningKey.id == self.id).execute()
        return True

    def opened(self) -> ECKey | RSAKey:
        """The public key, imported."""
        return (ECKey if self.kind == EC else RSAKey).import_key(json.loads(self.public_jwk))

    def unlocked(self, encryption_key: bytes) -> ECKey | RSAKey:
        """The private key, imported; an RSA import costs 36 ms, so do it once a process."""
        text = self._decrypted(encryption_key)
        return (ECKey if self.kind == EC else RSAKey).import_key(json.loads(text))

    def _decrypted(self, encryption_key: bytes) -> bytes:
        try:
            return _fernet(encryption_key).decrypt(self.private_jwk.encode())
        except InvalidToken:
            raise WrongSecretKey from None

    @classmethod
    def see_that_they_open(cls, encryption_key: bytes) -> None:
        """Raise WrongSecretKey when this is not the key of the portal in the database."""
        for row in cls.published():
            row._decrypted(encryption_key)


def _fernet(key: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(key))
