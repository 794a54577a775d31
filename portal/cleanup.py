"""Delete what has expired, in short transactions, so that nobody has to wait."""

import time
from collections.abc import Callable
from typing import Any

from portal.clock import now
from portal.credentials import ID_BITS
from portal.models import (
    AccessToken,
    ApplicationSecret,
    AuthorizationCode,
    DeviceCode,
    LogoutDelivery,
    OneTimeLink,
    Session,
    SigningKey,
    Throttle,
    TokenFamily,
    Usage,
)
from portal.models.base import Record
from portal.models.logout_delivery import PAUSES
from portal.models.session import IDLE_SECONDS
from portal.models.throttle import FORGET_SECONDS
from portal.models.usage import KEPT_DAYS, today

#: So many rows are a transaction of some milliseconds; a chunk costs one by itself.
CHUNK = 2000
#: Between two chunks, at least; and so many times as long as the chunk took, so that a busy
#: database is asked less.
PAUSE_SECONDS = 0.02
PAUSE_RATIO = 9
DAY = 24 * 60 * 60
#: So long a code is known after its end: a second use, or a late poll, is told from a guess.
CODE_MEMORY_SECONDS = DAY
#: So long a family is: the reuse of an old refresh token is told from a guess.
FAMILY_MEMORY_SECONDS = 30 * DAY
#: So long an administrator sees which logout an application never took.
NOTICE_MEMORY_SECONDS = 30 * DAY
#: So long a retired or expired client secret is told from a wrong one.
SECRET_MEMORY_SECONDS = 365 * DAY

#: Called after each chunk with the kind and how many of it are gone; False ends the work.
GoOn = Callable[[str, int], bool]


class Interrupted(Exception):
    """`go_on` said no: what is left waits for the next time."""


def delete_expired(
    access_token_seconds: int, go_on: GoOn = lambda kind, gone: True, everything: bool = True
) -> dict[str, int]:
    """Delete all that has expired; returns how many rows of each kind.

    Without `everything` only tokens, codes and days of use, whose ids tell their age: no other row
    is looked at. Raises Interrupted when `go_on` returns False.
    """
    kinds: dict[str, tuple[Any, Any, Any]] = {**_aged(access_token_seconds)}
    if everything:
        kinds |= _unaged(access_token_seconds)
    return {kind: _delete(kind, *which, go_on) for kind, which in kinds.items()}


def _aged(access_token_seconds: int) -> dict[str, tuple[type[Record], Any, int]]:
    """Kind by kind: the table, what has expired, and the age of its ids in seconds."""
    moment = now()
    code_end = moment - CODE_MEMORY_SECONDS
    return {
        "access_tokens": (
            AccessToken,
            AccessToken.expires_at <= moment,
            moment - access_token_seconds,
        ),
        "authorization_codes": (
            AuthorizationCode,
            AuthorizationCode.expires_at <= code_end,
            code_end,
        ),
        "device_codes": (DeviceCode, DeviceCode.expires_at <= code_end, code_end),
        "days_of_use": (Usage, Usage.day <= today() - KEPT_DAYS, moment - KEPT_DAYS * DAY),
    }


def _unaged(access_token_seconds: int) -> dict[str, tuple[type[Record], Any, None]]:
    """The same for tables whose rows must all be looked at."""
    moment = now()
    # A family's end is what kills its access tokens: it stays until the last one has expired.
    family_end = moment - max(FAMILY_MEMORY_SECONDS, access_token_seconds)
    secret_end = moment - SECRET_MEMORY_SECONDS
    family = (TokenFamily.expires_at <= family_end) | (TokenFamily.ended_at <= family_end)
    session = (Session.expires_at <= moment) | (Session.last_seen_at <= moment - IDLE_SECONDS)
    notice = (LogoutDelivery.tries > len(PAUSES)) & (
        LogoutDelivery.created_at <= moment - NOTICE_MEMORY_SECONDS
    )
    secret = (ApplicationSecret.retired_at <= secret_end) | (
        ApplicationSecret.expires_at <= secret_end
    )
    return {
        "token_families": (TokenFamily, family, None),
        "sessions": (Session, session, None),
        "throttles": (Throttle, Throttle.last_at <= moment - FORGET_SECONDS, None),
        "one_time_links": (OneTimeLink, OneTimeLink.expires_at <= moment, None),
        "signing_keys": (SigningKey, SigningKey.ends_at <= moment, None),
        "logout_notices": (LogoutDelivery, notice, None),
        "client_secrets": (ApplicationSecret, secret, None),
    }


def _delete(
    kind: str, table: type[Record], expired: Any, made_before: int | None, go_on: GoOn
) -> int:
    """Walk through the table by its key, a chunk at a time, and delete what has expired.

    Looking takes no lock; a chunk that holds something to delete is one short transaction.
    """
    key: Any = table._meta.primary_key
    # Ids sort by time, so that a range of them needs no other index.
    limits = [] if made_before is None else [key < (made_before * 1000) << ID_BITS]
    after: list[Any] = []
    deleted = 0
    while True:
        began = time.monotonic()
        last = _last_of_chunk(table, *limits, *after)
        # Up to a last key is within the limits; without one, they alone end what is left.
        part = [*limits, *after] if last is None else [key <= last, *after]
        if table.select().where(expired, *part).exists():
            deleted += table.delete().where(expired, *part).execute()
        if last is None:
            return deleted
        if not go_on(kind, deleted):
            raise Interrupted
        pause(began)
        after = [key > last]


def pause(began: float) -> None:
    """Leave the database to others after a chunk that began then (of the monotonic clock)."""
    time.sleep(max(PAUSE_SECONDS, PAUSE_RATIO * (time.monotonic() - began)))


def _last_of_chunk(table: type[Record], *limits: Any) -> Any:
    """The key of the last row of the next chunk; None when no whole chunk is left."""
    key: Any = table._meta.primary_key
    rows = table.select(key).order_by(key).offset(CHUNK - 1).limit(1)
    return (rows.where(*limits) if limits else rows).scalar()
