"""Delete what has expired, in short transactions, so that nobody has to wait."""

from time import perf_counter, sleep
from typing import Any

from peewee import SQL, Expression

from portal.clock import now
from portal.credentials import ID_BITS
from portal.database import database
from portal.models import (
    AccessToken,
    AuthorizationCode,
    DeviceCode,
    LogoutDelivery,
    OneTimeLink,
    Session,
    SigningKey,
    Throttle,
    TokenFamily,
)
from portal.models.base import Record
from portal.models.logout_delivery import PAUSES
from portal.models.session import IDLE_SECONDS
from portal.models.throttle import FORGET_SECONDS

CHUNK = 500
DAY = 24 * 60 * 60
#: So long a code is known after its end: a second use, or a late poll, is told from a guess.
CODE_MEMORY_SECONDS = DAY
#: So long a family is: the reuse of an old refresh token is told from a guess.
FAMILY_MEMORY_SECONDS = 30 * DAY
#: So long an administrator sees which logout an application never took.
NOTICE_MEMORY_SECONDS = 30 * DAY


def delete_expired(access_token_seconds: int) -> dict[str, int]:
    """Delete all that has expired; returns how many rows of each kind."""
    moment = now()
    # A family's end is what kills its access tokens: it stays until the last one has expired.
    family_end = moment - max(FAMILY_MEMORY_SECONDS, access_token_seconds)
    code_end = moment - CODE_MEMORY_SECONDS
    return {
        "access_tokens": _delete_by_age(AccessToken, moment - access_token_seconds, moment),
        "authorization_codes": _delete_by_age(AuthorizationCode, code_end, code_end),
        "device_codes": _delete_by_age(DeviceCode, code_end, code_end),
        "token_families": _delete(
            TokenFamily,
            (TokenFamily.expires_at <= family_end) | (TokenFamily.ended_at <= family_end),
        ),
        "sessions": _delete(
            Session,
            (Session.expires_at <= moment) | (Session.last_seen_at <= moment - IDLE_SECONDS),
        ),
        "throttles": _delete(Throttle, Throttle.last_at <= moment - FORGET_SECONDS),
        "one_time_links": _delete(OneTimeLink, OneTimeLink.expires_at <= moment),
        "signing_keys": _delete(SigningKey, SigningKey.ends_at <= moment),
        "logout_notices": _delete(
            LogoutDelivery,
            (LogoutDelivery.tries > len(PAUSES))
            & (LogoutDelivery.created_at <= moment - NOTICE_MEMORY_SECONDS),
        ),
    }


def _delete_by_age(table: type[Record], made_before: int, expired_before: int) -> int:
    """Delete by a range of ids, which sort by time, so that no other index is needed."""
    newest = (made_before * 1000) << ID_BITS
    return _delete(table, (table.id < newest) & (table.expires_at <= expired_before))  # type: ignore[attr-defined]


def _delete(table: type[Record], which: Expression) -> int:
    """Delete the rows that match, `CHUNK` at a time; each chunk is its own transaction.

    The table is read once, however many chunks that makes. After each chunk comes a pause as long
    as it took: SQLite has one writer and no queue, so that without one the others might try for
    ten seconds and never find the database free.
    """
    key: Any = table._meta.primary_key
    deleted, beyond = 0, SQL("1 = 1")
    while True:
        started = perf_counter()
        chunk = table.select(key).where(beyond, which).order_by(key).limit(CHUNK)
        found = [value for (value,) in database.execute(chunk)]
        if not found:
            return deleted
        deleted += table.delete().where(beyond, key <= found[-1], which).execute()
        if len(found) < CHUNK:
            return deleted
        beyond = key > found[-1]
        sleep(perf_counter() - started)
