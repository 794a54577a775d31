"""Which events of the audit log somebody wants to see; each filter is read from an index."""

from dataclasses import dataclass, field
from typing import Any, Self

from portal.models.application import Application
from portal.models.audit_event import AuditEvent
from portal.models.user import User


@dataclass(frozen=True)
class AuditSearch:
    """Events that meet all that is given; `nothing` when a name is nobody's."""

    #: Ids of a person who did it, or to whom it was done; more than one when a name was reused.
    people: list[int] = field(default_factory=list)
    applications: list[int] = field(default_factory=list)
    event: str = ""
    #: Moments: from, and up to but not including.
    since: int | None = None
    until: int | None = None
    nothing: bool = False

    @classmethod
    def named(cls, person: str = "", application: str = "", **more: Any) -> Self:
        """By a username or e-mail address and a client ID or name, of what is deleted, too."""
        people = _people(person) if person else []
        applications = _applications(application) if application else []
        nothing = bool((person and not people) or (application and not applications))
        return cls(people, applications, nothing=nothing, **more)

    def latest(self, count: int, before: int | None = None) -> list[AuditEvent]:
        """The events with the highest ids, below `before`; the newest first."""
        return self._some(
            AuditEvent.id.desc(), count, () if before is None else (AuditEvent.id < before,)
        )

    def next_newer(self, count: int, after: int) -> list[AuditEvent]:
        """The events that follow `after`; the newest first."""
        return self._some(AuditEvent.id, count, (AuditEvent.id > after,))[::-1]

    def _some(self, order: Any, count: int, place: tuple[Any, ...]) -> list[AuditEvent]:
        rules = self._rules()
        if rules is None:
            return []
        if not self.people:
            rows = (
                AuditEvent.select().where(*rules, *place) if rules or place else AuditEvent.select()
            )
            return list(rows.order_by(order).limit(count))
        # Each column has an index in this order; an OR of both would sort all of a person's rows.
        found = {
            row.id: row
            for column in (AuditEvent.actor_id, AuditEvent.person_id)
            for one in self.people
            for row in AuditEvent.select()
            .where(column == one, *rules, *place)
            .order_by(order)
            .limit(count)
        }
        newest_first = order is not AuditEvent.id
        return [found[key] for key in sorted(found, reverse=newest_first)][:count]

    def _rules(self) -> list[Any] | None:
        """The conditions but for people; None when nothing can meet them."""
        if self.nothing:
            return None
        rules = []
        if len(self.applications) == 1:
            rules.append(AuditEvent.application_id == self.applications[0])
        elif self.applications:
            rules.append(AuditEvent.application_id.in_(self.applications))
        if self.event:
            rules.append(AuditEvent.event == self.event)
        # Ids follow time: the index on time says where to begin and to stop.
        if self.since is not None:
            first = AuditEvent.select(AuditEvent.id).where(AuditEvent.at >= self.since)
            row = first.order_by(AuditEvent.at, AuditEvent.id).first()
            if row is None:
                return None
            rules.append(AuditEvent.id >= row.id)
        if self.until is not None:
            last = AuditEvent.select(AuditEvent.id).where(AuditEvent.at < self.until)
            row = last.order_by(AuditEvent.at.desc(), AuditEvent.id.desc()).first()
            if row is None:
                return None
            rules.append(AuditEvent.id <= row.id)
        return rules


def _people(text: str) -> list[int]:
    person = User.named(text)
    return [person.id] if person else _known_as(AuditEvent.person_id, text)


def _applications(text: str) -> list[int]:
    application = None if "\0" in text else Application.with_client_id(text)
    return [application.id] if application else _known_as(AuditEvent.application_id, text)


def _known_as(column: Any, name: str) -> list[int]:
    """Whose events bear this name: also of what was deleted or is called otherwise by now."""
    if "\0" in name:
        return []
    rows: Any = AuditEvent.select(column).where(AuditEvent.subject == name, column.is_null(False))
    return [row[0] for row in rows.distinct().order_by(column).limit(20).tuples()]
