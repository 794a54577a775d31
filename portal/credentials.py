"""Make, hash and compare secrets, codes, tokens and passwords; nothing else does.

What the portal makes itself has 256 random bits, so one SHA-256 protects it. What a person
chooses goes through Argon2id.
"""

import base64
import ctypes
import hmac
import json
import secrets
import string
import threading
from contextlib import suppress
from hashlib import sha256
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from portal.clock import now_ms

ACCESS_TOKEN = "pat_"  # noqa: S105 - prefixes, so that secret scanners recognise a leak
REFRESH_TOKEN = "prt_"  # noqa: S105
AUTHORIZATION_CODE = "pac_"
DEVICE_CODE = "pdc_"
CLIENT_SECRET = "pcs_"  # noqa: S105

ALPHANUMERIC = string.ascii_letters + string.digits
#: 20 consonants: no vowels (no words), no look-alikes (RFC 8628 §6.1).
USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LENGTH = 8
ID_BITS = 21
#: On average a step of 512: four thousand ids a millisecond before they run ahead of the clock.
STEP_MASK = 1023
MAX_JWT = 8192

#: For mallopt(3): from this size on, memory that is freed goes back to the system.
M_MMAP_THRESHOLD, LARGE_BYTES = -3, 1 << 20

# Left to itself, glibc raises the threshold after the first password, and then each thread keeps
# the 19 MiB of its last one: hundreds of MB in a server. Other systems have no mallopt.
with suppress(OSError, AttributeError):
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)

# OWASP's first choice for Argon2id: 19 MiB, two passes, one lane.
_passwords = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Verified when nobody has the name, so that both cases take the same time.
_NOBODY = _passwords.hash(secrets.token_urlsafe(16))


class _Ids:
    """Ids that grow with time: milliseconds << 21 plus random low bits, one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def make(self) -> int:
        low = secrets.randbits(ID_BITS)
        fresh = (now_ms() << ID_BITS) | low
        with self._lock:
            # Within one millisecond, or after the clock steps back, go on from the last id: one
            # process never gives an id twice. In steps of chance, so that two processes that go on
            # from the same moment do not meet at every id.
            self._last = max(fresh, self._last + 1 + (low & STEP_MASK))
            return self._last


_ids = _Ids()


def new_id() -> int:
    """A new 63-bit id that sorts by time and is never reused."""
    return _ids.make()


class Presented(NamedTuple):
    """A token as somebody presented it: its kind, the row it names, the hash of its secret."""

    kind: str
    id: int
    hash: bytes


def make_secret() -> str:
    """256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> bytes:
    """SHA-256 of a secret that the portal made (32 bytes)."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def matches(presented: bytes, stored: bytes | None) -> bool:
    """Whether two hashes are equal, in constant time."""
    return stored is not None and hmac.compare_digest(presented, bytes(stored))


def format_token(kind: str, row_id: int, secret: str) -> str:
    """`pat_<hexadecimal id>.<secret>`: the id finds the row, the secret proves the right."""
    return f"{kind}{row_id:x}.{secret}"


def parse_token(token: str) -> Presented | None:
    """Read a token of ours; None for anything else."""
    if token.count(".") == 2:
        return _parse_jwt(token)
    head, dot, secret = token.partition(".")
    kind, digits = head[:4], head[4:]
    if not dot or len(secret) != 43 or not 0 < len(digits) <= 16:
        return None
    try:
        row_id = int(digits, 16)
    except ValueError:
        return None
    if row_id >= 1 << 63 or f"{row_id:x}" != digits:
        return None
    return Presented(kind, row_id, hash_secret(secret))


def _parse_jwt(token: str) -> Presented | None:
    """An access token that is a JWT: its `jti` finds the row, which has the hash of the whole."""
    if len(token) > MAX_JWT:
        return None
    try:
        payload = token.split(".")[1].encode("ascii")
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        row_id = int(claims["jti"], 16)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return Presented(ACCESS_TOKEN, row_id, hash_secret(token)) if 0 < row_id < 1 << 63 else None


def secret_part(token: str) -> str:
    """The secret of a token that `parse_token` accepted."""
    return token.partition(".")[2]


def successor(secret: str, key: bytes) -> str:
    """The refresh secret that follows `secret`: derived, so that a retry gets the same one."""
    digest = hmac.digest(key, secret.encode("utf-8", "surrogatepass"), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def derive_key(secret_key: str, purpose: str) -> bytes:
    """A 32-byte key for one purpose, from the portal's secret key."""
    return hmac.digest(secret_key.encode(), f"portal:{purpose}".encode(), "sha256")


def make_client_id() -> str:
    """A public client identifier, such as c_7Qm2LrT9vKx4Hn8PbW3dx9Fd."""
    return "c_" + "".join(secrets.choice(ALPHANUMERIC) for _ in range(22))


def make_client_secret() -> str:
    return CLIENT_SECRET + make_secret()


def make_user_code() -> str:
    """Eight letters that a person types from a device's screen, stored without the hyphen."""
    return "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH))


def make_reference() -> str:
    """A short word that a person can read out to say which refusal they met."""
    return "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(8))


def make_subject() -> str:
    """An opaque, stable identifier of a person for relying applications (OIDC Core §2)."""
    return "".join(secrets.choice(ALPHANUMERIC) for _ in range(24))


def hash_password(password: str) -> str:
    """Argon2id of a password that a person chose."""
    return _passwords.hash(password.encode("utf-8", "surrogatepass"))


def password_matches(password: str, stored: str | None) -> bool:
    """Whether the password fits; takes the same time when there is nothing to compare with."""
    try:
        matched = _passwords.verify(stored or _NOBODY, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
    return matched and stored is not None


def password_needs_rehash(stored: str) -> bool:
    return _passwords.check_needs_rehash(stored)
