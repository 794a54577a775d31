"""The audit log: rows are added with what they tell, and a changed or missing one is named."""

import pytest

from portal import audit
from portal.database import transaction
from portal.models import AuditEvent
from tests import factories
from tests.engines import on_both_engines

pytestmark = on_both_engines


@pytest.fixture
def wiki(app, alice):
    return factories.make_application(alice, name="Wiki")[0]


@pytest.fixture
def log(app, alice, wiki) -> bytes:
    """Three events; returns the key of the chain."""
    with app.app_context():
        for event in ("application.added", "application.changed", "application.disabled"):
            audit.record(event, actor=alice, application=wiki, after={"name": "Wíki"})
        return audit.seal_key()


def test_an_event_says_who_did_what_to_what(log, alice, wiki):
    row = AuditEvent.get_by_id(2)
    assert (row.event, row.actor, row.subject) == ("application.changed", "alice", "Wiki")
    assert (row.actor_id, row.application_id) == (alice.id, wiki.id)
    assert row.after == '{"name": "Wíki"}'


def test_the_chain_is_whole(log):
    assert AuditEvent.check(log).broken == []


@pytest.mark.parametrize("column", ["event", "actor", "subject", "after", "address", "at"])
def test_a_changed_row_is_named(log, column):
    AuditEvent.update({column: 7 if column == "at" else "forged"}).where(
        AuditEvent.id == 2
    ).execute()
    assert AuditEvent.check(log).broken == [(2, 2)]


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_row_is_named(log, missing):
    AuditEvent.delete().where(AuditEvent.id == missing).execute()
    assert AuditEvent.check(log).broken == [(missing, missing + 1)]


def test_another_key_fits_nothing(log):
    assert AuditEvent.check(b"another key").broken == [(1, 3)]


def test_an_act_that_fails_leaves_no_event(app, alice, wiki):
    def fail_after_recording() -> None:
        with app.app_context(), transaction():
            audit.record("application.disabled", actor=alice, application=wiki)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_recording()
    assert AuditEvent.select().count() == 0


@pytest.mark.parametrize(
    ("column", "broken"), [(None, []), ("subject", [(4, 4)]), ("actor_id", [(4, 4)])]
)
def test_a_burst_that_was_sealed_the_old_way_still_fits_unless_it_is_forged(log, column, broken):
    row = AuditEvent.append(log, "application.refused_often", actor=audit.PORTAL, subject="Wiki")
    old = row.sealed(log, bytes(AuditEvent.get_by_id(3).hash), whole=False)
    AuditEvent.update(hash=old, **({column: 7} if column else {})).where(
        AuditEvent.id == 4
    ).execute()
    assert AuditEvent.check(log).broken == broken
