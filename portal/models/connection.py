"""Connections: what a person's consents and live tokens let each application do, together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from peewee import Case, fn

from portal.clock import now
from portal.models.application import Application
from portal.models.consent import Consent
from portal.models.scope import Scope
from portal.models.token import TokenFamily
from portal.models.user import User


@dataclass
class Connection:
    """One application that may act for a person. Read only: removing is `Consent.withdraw`."""

    application_id: int
    scopes: set[str] = field(default_factory=set)
    #: What the person left out, and is not asked about.
    left_out: set[str] = field(default_factory=set)
    since: int | None = None
    last_used_at: int | None = None
    application: Application | None = None

    @classmethod
    def of(cls, user_id: int) -> list[Self]:
        """A person's connections, the one used last first; four statements however many.

        Trusted applications and devices leave no consent, only tokens; a consent stays when its
        tokens have run out.
        """
        found: dict[int, Self] = {}
        for consent in Consent.select().where(Consent.user_id == user_id):
            if consent.scopes:
                found[consent.application_id] = cls(
                    consent.application_id,
                    set(consent.scopes),
                    consent.left_out,
                    consent.granted_at,
                )
        families = list(cls._families(user_id))
        for family in sorted(families, key=lambda it: -it.live):
            if not family.live and family.application_id not in found:
                continue
            it = found.setdefault(family.application_id, cls(family.application_id))
            it.last_used_at = max(it.last_used_at or 0, family.used_at)
            if family.live:
                it.scopes.update(family.scopes)
                it.since = min(it.since or family.live_since, family.live_since)
        owned = Application.select(Application, User).join(User)
        for application in owned.where(Application.id.in_(list(found))):
            found[application.id].application = application
        # An application deleted between the statements has no name to show.
        rows = [it for it in found.values() if it.application]
        return sorted(rows, key=lambda it: -(it.last_used_at or 0))

    @staticmethod
    def _families(user_id: int) -> Iterable[Any]:
        """The person's token families, one row for each application and set of scopes.

        Dead ones still tell when the application was last used.
        """
        live = (
            TokenFamily.ended_at.is_null()
            & (TokenFamily.expires_at > now())
            & (TokenFamily.epoch == Application.epoch)
        )
        return (
            TokenFamily.select(
                TokenFamily.application_id,
                TokenFamily.scopes,
                fn.MAX(TokenFamily.last_used_at).alias("used_at"),
                fn.MIN(Case(None, [(live, TokenFamily.created_at)])).alias("live_since"),
                fn.MAX(Case(None, [(live, 1)], 0)).alias("live"),
            )
            .join(Application, on=(Application.id == TokenFamily.application_id))
            .where(TokenFamily.user_id == user_id)
            .group_by(TokenFamily.application_id, TokenFamily.scopes)
        )

    def described(self, catalogue: list[Scope]) -> list[Scope]:
        """Its scopes in the catalogue's order; read the catalogue once for a whole page."""
        return [scope for scope in catalogue if scope.name in self.scopes]

    def refused(self, catalogue: list[Scope]) -> list[Scope]:
        """The same of what the person left out."""
        return [scope for scope in catalogue if scope.name in self.left_out - self.scopes]
