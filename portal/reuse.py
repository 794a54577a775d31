"""Reuse radar: one secret in several places, or under another application's id; and the way out.

A secret that two services share cannot be changed or stopped for one of them, nobody can tell who
did what, and a stolen copy would not show. Splitting the application gives each a pair of its own.
"""

import re
from typing import Any, NamedTuple

from peewee import JOIN, Case

from portal import audit
from portal.clock import now
from portal.database import transaction
from portal.models import Application, ApplicationSecret, MisusedSecret, SecretNetwork, User
from portal.models.misused_secret import TOLD_SECONDS
from portal.models.secret_network import is_shared, shared_secrets
from portal.text import DAY

#: What a copy has of the original: not the trust, which was given to one application.
COPIED = tuple(set(audit.SETTINGS) - {"name", "trusted", "trust_reason"})
#: A network is new for a week, when the secret had been known elsewhere for one.
NEW_SECONDS = FAMILIAR_SECONDS = 7 * DAY
#: Of a suggested name, so that a number fits behind it.
NAME_LENGTH = 90
SHOWN_CLONES = 10
LISTED = 50


class Shared(NamedTuple):
    """A secret that use comes back to from several networks: these."""

    secret: ApplicationSecret
    networks: list[SecretNetwork]


class Stray(NamedTuple):
    """A secret that was sent with another application's client ID."""

    misuse: MisusedSecret
    secret: ApplicationSecret
    #: The one whose secret it is, and the one that was named (None when it is deleted since).
    owner: Application
    named: Application | None
    #: Whether it came from a network that the secret itself is used from.
    at_home: bool

    @property
    def strangers(self) -> bool:
        """Whether the two applications have different owners."""
        return self.named is not None and self.named.owner.id != self.owner.owner.id


class Report(NamedTuple):
    """What is known of one application's secrets."""

    shared: list[Shared]
    #: Its own secrets, sent elsewhere; and secrets of others, sent as its own.
    lent: list[Stray]
    borrowed: list[Stray]
    #: The networks of each live secret, by its id, the latest first; empty when there is one only.
    networks: dict[int, list[SecretNetwork]]
    #: What was split from it, and what it was split from.
    clones: list[Application]
    origin: Application | None

    @property
    def is_flagged(self) -> bool:
        return bool(self.shared or self.lent or self.borrowed)


def report(application: Application) -> Report:
    """Everything that a page tells of one application."""
    live = {secret.id: secret for secret in application.live_secrets}
    networks = _networks(list(live))
    shared = [] if application.sharing_allowed_at else _shared(live, networks)
    clones = Application.select().where(Application.split_from == application.id)
    return Report(
        shared=shared,
        lent=_strays(ApplicationSecret.application == application.id, live_only=True),
        borrowed=_strays(MisusedSecret.named_id == application.id),
        networks=networks,
        clones=list(clones.order_by(Application.id.desc()).limit(SHOWN_CLONES)),
        origin=Application.get_or_none(Application.id == application.split_from),
    )


def _networks(secret_ids: list[int]) -> dict[int, list[SecretNetwork]]:
    """With `counts`: whether a network is one of those that make a secret a shared one.

    And `is_new`: whoever copied a secret and used it once shows as this, too.
    """
    it = SecretNetwork
    rows = (
        it.select(it, Case(None, [(_all(*is_shared(now())), 1)], 0).alias("counts"))
        .join(ApplicationSecret)
        .where(it.secret.in_(secret_ids))
        .order_by(it.last_at.desc(), it.id.desc())
    )
    found: dict[int, list[SecretNetwork]] = {}
    row: Any
    for row in rows.objects():
        found.setdefault(row.secret.id, []).append(row)
    for networks in found.values():
        familiar = min(row.first_at for row in networks) + FAMILIAR_SECONDS
        for row in networks:
            row.is_new = row.first_at >= max(familiar, now() - NEW_SECONDS)
    return found


def _all(first: Any, *others: Any) -> Any:
    for condition in others:
        first &= condition
    return first


def _shared(
    live: dict[int, ApplicationSecret], networks: dict[int, list[SecretNetwork]]
) -> list[Shared]:
    found = []
    for secret_id, rows in networks.items():
        counted = [row for row in rows if row.counts]  # type: ignore[attr-defined]
        # One host may have both an IPv4 and an IPv6 address.
        both = [[row for row in counted if row.version == version] for version in (4, 6)]
        if any(len(rows) > 1 for rows in both):
            found.append(Shared(live[secret_id], max(both, key=len)))
    return found


def _strays(which: Any, live_only: bool = False) -> list[Stray]:
    it, named = MisusedSecret, Application.alias()
    rows = (
        it.select(it, ApplicationSecret, Application, named)
        .join(ApplicationSecret)
        .join(Application)
        .join_from(it, named, JOIN.LEFT_OUTER, on=(named.id == it.named_id), attr="named")
        .where(which, it.last_at > now() - TOLD_SECONDS)
        .order_by(it.last_at.desc(), it.id.desc())
    )
    strays = []
    for row in rows:
        secret = row.secret
        if secret.is_live or not live_only:
            home = bool(row.network) and row.network in _homes(secret)
            named_one = getattr(row, "named", None)
            strays.append(Stray(row, secret, secret.application, named_one, home))
    return strays


def _homes(secret: ApplicationSecret) -> set[str]:
    rows = SecretNetwork.select().where(SecretNetwork.secret == secret.id)
    return {secret.last_used_from, *(row.network for row in rows)}


# Over all applications


def reused(moment: Any, *columns: Any, among: list[int] | None = None) -> Any:
    """A row with these columns for each application whose secret is shared, or sent elsewhere."""
    mine = () if among is None else (ApplicationSecret.application.in_(among),)
    shared = shared_secrets(moment, *columns).where(*mine)
    return shared.union_all(MisusedSecret.lately(moment, *columns).where(*mine))


def flagged() -> list[Application]:
    """The applications with a secret that is reused, by name; so many as a page shows."""
    found = reused(now(), ApplicationSecret.application)
    rows = Application.select(Application, User).join(User).where(Application.id.in_(found))
    return list(rows.order_by(Application.name_key, Application.id).limit(LISTED))


# What administrators do


def suggested_name(application: Application) -> str:
    """`Wiki (2)`, or the next number that no copy has."""
    base = re.sub(r" \(\d+\)$", "", application.name)[:NAME_LENGTH].rstrip()
    number = 2 + Application.select().where(Application.split_from == application.id).count()
    taken = f"{base} ({number})"
    return f"{base} ({number + 1})" if taken == application.name else taken


def split(application: Application, name: str, client_id: str) -> tuple[Application, str | None]:
    """Copy it, with an id and a secret of its own; returns the copy and its secret, which leaves
    once (None if public). Not the trust, and no secret. Raises IntegrityError for a used id."""
    with transaction():
        clone, secret = Application.register(
            name=name,
            owner=application.owner,
            client_id=client_id,
            split_from=application.id,
            **{setting: getattr(application, setting) for setting in COPIED},
        )
        audit.added(clone)
        audit.record(
            "application.split",
            application=application,
            after={"name": clone.name, "client_id": clone.client_id},
        )
    return clone, secret


def accept_networks(application: Application, person: User) -> None:
    """Its many networks are its own servers: do not tell again."""
    _say("application.networks_accepted", application, now(), person.username)


def watch_networks(application: Application) -> None:
    """Tell again."""
    _say("application.networks_watched", application, None, None)


def _say(event: str, application: Application, at: int | None, by: str | None) -> None:
    changes = {"sharing_allowed_at": at, "sharing_allowed_by": by}
    same = Application.sharing_allowed_at.is_null(at is not None)
    with transaction():
        update = Application.update(**changes).where(Application.id == application.id, same)
        if update.execute():
            networks = [
                row.network for rows in report(application).networks.values() for row in rows
            ]
            audit.record(event, application=application, after={"networks": sorted(set(networks))})


def settle(application: Application, misuse_id: int) -> bool:
    """Forget that a secret was sent elsewhere, until it happens again; False if there is none."""
    mine = ApplicationSecret.select(ApplicationSecret.id)
    mine = mine.where(ApplicationSecret.application == application.id)
    it = MisusedSecret
    which = (it.id == misuse_id) & ((it.named_id == application.id) | it.secret.in_(mine))
    with transaction():
        if it.delete().where(which).execute() != 1:
            return False
        audit.record("secret.misuse_settled", application=application)
    return True
