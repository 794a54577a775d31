"""How an application is used, in the words of the pages: sign-ins, people, machines, scopes."""

from collections.abc import Sequence
from typing import Any

from peewee import Value, fn

from portal.clock import now
from portal.models import Application, Consent, TokenFamily, Usage
from portal.models.application import SIGN_IN_FLOWS
from portal.models.usage import FLOW, RECENT_DAYS, REDIRECT_URI
from portal.text import DAY, date, lasting, plural

#: Counting people stops here.
MOST_PEOPLE = 1000


class Use:
    """An application as it is used now."""

    def __init__(self, application: Application, access_token_seconds: int) -> None:
        self.application = application
        self.used = Usage.of(application.id)
        self.period = period()
        self.within = f"within {lasting(access_token_seconds)}"

    def sign_ins(self, kind: str, value: str) -> str:
        """`412 sign-ins in the last 30 days`."""
        count = self.used.get(kind, {}).get(value, 0)
        return f"{plural(count, 'sign-in') if count else 'no sign-in'} {self.period}"

    def all_sign_ins(self) -> str:
        count = sum(self.used.get(FLOW, {}).get(flow, 0) for flow in SIGN_IN_FLOWS)
        return f"{plural(count, 'sign-in') if count else 'no sign-in'} {self.period}"

    def machine_day(self, scope: str | None = None) -> str:
        """On which date the application last took a scope, or any, for itself; "" for never."""
        days = self.application.machine_days
        day = max(days.values(), default=0) if scope is None else days.get(scope, 0)
        return date(day * DAY) if day else ""

    def people(self, scope: str | None = None, allowed: bool = True) -> int:
        """How many hold live tokens, or (`allowed`) have allowed something; of a scope, or any."""
        families = TokenFamily.select(TokenFamily.user_id).where(
            TokenFamily.application_id == self.application.id,
            TokenFamily.ended_at.is_null(),
            TokenFamily.epoch == self.application.epoch,
            TokenFamily.expires_at > now(),
            *_carries(TokenFamily.scopes, scope),
        )
        if not allowed:
            families = families.where(TokenFamily.refresh_hash.is_null(False)).distinct()
            return families.limit(MOST_PEOPLE + 1).count()
        consents = Consent.select(Consent.user_id).where(
            Consent.application_id == self.application.id, *_carries(Consent.scopes, scope)
        )
        return (consents | families).limit(MOST_PEOPLE + 1).count()


def _carries(scopes: Any, name: str | None) -> tuple[Any, ...]:
    if name is None:
        return ()
    padded = Value(" ", converter=False).concat(scopes).concat(" ")
    # Not LIKE, which takes Email for email.
    return (padded != fn.REPLACE(padded, f" {name} ", ""),)


def period() -> str:
    """`in the last 30 days`, or since when this portal counts."""
    since = Usage.since()
    if since is not None and since > now() - RECENT_DAYS * DAY:
        return f"since {date(since)}"
    return f"in the last {RECENT_DAYS} days"


def many(count: int, one: str, more: str) -> str:
    """`4 people lose it`, `1 person loses it`, `Nobody loses it`."""
    if count > MOST_PEOPLE:
        return f"{MOST_PEOPLE:,}+ people {more}"
    return f"{plural(count, 'person')} {more if count > 1 else one}" if count else f"Nobody {one}"


def of_scope(name: str, applications: Sequence[Application]) -> dict[int, str]:
    """How each of some applications used a scope, by its id: for whoever deletes the scope."""
    used, when = Usage.of_scope(name, [it.id for it in applications]), period()
    told = {}
    for it in applications:
        signs, day = used.get(it.id, 0), it.machine_days.get(name)
        parts = [f"given at {plural(signs, 'sign-in')} {when}"] if signs else []
        parts += [f"last taken for itself on {date(day * DAY)}"] if day else []
        told[it.id] = " and ".join(parts) or f"not used {when}"
    return told


def served(application: Application, uri: str) -> str:
    """`It served 412 sign-ins in the last 30 days.`, of an address."""
    return f"It served {Use(application, 0).sign_ins(REDIRECT_URI, uri)}."
