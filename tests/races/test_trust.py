"""Trust that several administrators decide on, or lose the right to, at the same moment."""

from collections import Counter

from portal import approval, audit, trust
from portal.approval import NotYours, Stale
from portal.database import transaction
from portal.models import Application, AuditEvent, Trust
from tests.engines import on_both_engines
from tests.factories import csrf_token, make_application, make_user
from tests.races.crowd import together

pytestmark = on_both_engines
ROUNDS = 8


def asked_by(person, name="Wiki") -> Application:
    """An application for which this administrator asks for trust."""
    it, _ = make_application(person, name=name)
    it.change(trusted=True)
    fields = {"asked_by": person.username, "asker_ids": [str(person.id)]}
    fields |= {"asked_until": trust.usual_end(), "asked_subject": it.trust_subject}
    Trust.keep(it.id, asked_at=1, **fields)
    return Application.get_by_id(it.id)


def events(application) -> list[str]:
    rows = AuditEvent.select().where(AuditEvent.application_id == application.id)
    return [row.event for row in rows.order_by(AuditEvent.id)]


def test_many_approve_at_once_and_one_is_written(app, browser_of, alice):
    application = asked_by(alice)
    page = f"/admin/trust/{application.client_id}"
    browsers = [browser_of(make_user(f"admin{n}", is_admin=True)) for n in range(8)]
    tokens = [csrf_token(browser, page) for browser in browsers]
    seen = str(application.version)
    answers = together(
        8,
        lambda n: browsers[n].post(f"{page}/approve", data={"csrf_token": tokens[n], "seen": seen}),
    )
    assert Counter(answer.status_code for answer in answers) == {303: 1, 409: 7}
    assert events(application) == ["application.trust_approved"]
    assert Application.get_by_id(application.id).skips_consent


def test_approving_and_refusing_at_once_is_one_decision(app, alice):
    tom, ann = (make_user(name, is_admin=True) for name in ("tom", "ann"))
    for _ in range(ROUNDS):
        application = asked_by(alice)
        seen = str(application.version)

        def act(number, it=application, seen=seen):
            with app.app_context():
                try:
                    if number:
                        approval.refuse(it, tom, seen, "")
                    else:
                        approval.approve(it, ann, seen)
                except Stale:
                    return False
                return True

        approved, refused = together(2, act)
        assert approved != refused
        assert Application.get_by_id(application.id).skips_consent == approved


def test_approving_while_the_asker_is_stopped_is_before_or_not_at_all(app, alice):
    """In the order of the audit log, nothing is approved after its asker was stopped."""
    make_user("ann", is_admin=True)
    tom = make_user("tom", is_admin=True)
    for number in range(ROUNDS):
        eve = make_user(f"eve{number}", is_admin=True)
        application = asked_by(eve)
        seen = str(application.version)

        def act(turn, it=application, eve=eve, seen=seen, demote=number % 2):
            with app.app_context():
                if turn:
                    with transaction():
                        eve.set_admin(False) if demote else eve.disable()
                        return audit.record("person.changed", person=eve)
                try:
                    approval.approve(it, tom, seen)
                except NotYours:
                    return False
                return True

        approved, _ = together(2, act)
        assert Application.get_by_id(application.id).skips_consent == approved
        stopped = AuditEvent.get(AuditEvent.person_id == eve.id)
        said = AuditEvent.select().where(AuditEvent.application_id == application.id)
        assert [row.id < stopped.id for row in said] == ([True] if approved else [])
