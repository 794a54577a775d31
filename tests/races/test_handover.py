"""One application, and several who want to be, or to name, its owner at the same moment."""

from functools import partial

import pytest

from portal import handover
from portal.admin.user_form import DeleteForm
from portal.database import transaction
from portal.handover import CannotInherit
from portal.models import Application, AuditEvent, Offer, User
from portal.models.concern import OWNER_DISABLED
from portal.models.offer import OPEN, VOID
from tests.engines import on_both_engines
from tests.factories import csrf_token, make_application, make_user
from tests.races.crowd import together

OFFERS = "/account/offers"
ROUNDS = 8

pytestmark = on_both_engines


@pytest.fixture
def priya(app):
    return make_user("priya")


@pytest.fixture
def both(app):
    """Do two things at the same moment, as two requests would; the results in order."""

    def do(*acts):
        def act(number):
            with app.app_context():
                return acts[number]()

        return together(len(acts), act)

    return do


@pytest.fixture
def offered(app):
    """An application of somebody that is offered to somebody."""

    def make(owner, heir) -> Application:
        application, _ = make_application(owner, name="Payroll")
        with app.app_context():
            assert handover.offer([fresh(application)], heir) == 1
        return fresh(application)

    return make


def fresh(application) -> Application:
    return Application.get_by_id(application.id)


def test_accepting_twice_at_once_counts_once(browser_of, offered, priya, bob):
    application = offered(priya, bob)
    browsers = [browser_of(bob) for _ in range(8)]
    tokens = [csrf_token(browser, OFFERS) for browser in browsers]
    answers = together(
        8, lambda n: browsers[n].post(f"{OFFERS}/accept", data={"csrf_token": tokens[n]})
    )
    assert {answer.status_code for answer in answers} == {303}
    assert fresh(application).owner.username == "bob"
    accepted = AuditEvent.select().where(AuditEvent.event == "application.accepted")
    assert accepted.count() == 1


def test_accepting_and_declining_at_once_is_one_answer(both, offered, priya, bob):
    for _ in range(ROUNDS):
        it = offered(priya, bob)
        took, declined = both(partial(handover.accept, it, bob), partial(handover.decline, it, bob))
        assert took != declined
        assert (fresh(it).owner_id == bob.id) == took


def test_an_administrator_who_names_somebody_else_takes_nothing_from_an_heir(
    both, offered, priya, bob, charlie
):
    """Who comes first decides: what is accepted is no longer the leaver's to give away."""
    for _ in range(ROUNDS):
        it = offered(priya, bob)
        took, assigned = both(
            partial(handover.accept, it, bob), partial(handover.assign, [fresh(it)], charlie)
        )
        assert took != bool(assigned)
        assert fresh(it).owner.username == ("bob" if took else "charlie")
        assert Offer.of(it.id) is None


def test_an_offer_to_somebody_else_does_not_outlive_an_answer(both, offered, priya, bob, charlie):
    """Else the second heir could take from the first what nobody offered them."""
    for _ in range(ROUNDS):
        it = offered(priya, bob)
        took, again = both(
            partial(handover.accept, it, bob), partial(handover.offer, [fresh(it)], charlie)
        )
        assert took != bool(again)
        left = Offer.of(it.id)
        assert (left is None) == took
        assert left is None or left.heir_id == charlie.id


def test_an_heir_who_is_disabled_meanwhile_owns_nothing_unseen(both, offered, priya, bob):
    """Either they took it before, and it is red now, or it was never theirs."""
    for _ in range(ROUNDS):
        it = offered(priya, bob)
        took, _ = both(partial(handover.accept, it, bob), bob.disable)
        it = fresh(it)
        if took:
            assert it.owner_id == bob.id
            assert it.concerns & OWNER_DISABLED
        else:
            assert it.owner_id == priya.id
            assert Offer.of(it.id).state == VOID
        bob.enable()
        Application.update(owner=priya).where(Application.owner == bob).execute()


def test_nobody_disabled_is_asked(both, priya, bob):
    def ask(it):
        try:
            with transaction():
                handover.hold(priya, bob)
                return handover.offer([it], bob)
        except CannotInherit:
            return 0

    for _ in range(ROUNDS):
        application, _ = make_application(priya, name="Payroll")
        both(partial(ask, fresh(application)), bob.disable)
        offer = Offer.of(application.id)
        assert offer is None or offer.state != OPEN
        bob.enable()


def test_an_heir_who_is_disabled_while_somebody_is_deleted_owns_nothing_unseen(
    app, both, browser_of, alice, bob
):
    admin = browser_of(alice)
    for number in range(ROUNDS):
        leaver = make_user(f"leaver{number}")
        it, _ = make_application(leaver, name="Payroll")
        page = f"/admin/users/{leaver.username}/delete"
        form = {"csrf_token": csrf_token(admin, page), "confirm_username": leaver.username}
        press = partial(admin.post, page, data={**form, "heir": "bob"})
        answer, _ = both(press, bob.disable)
        if answer.status_code == 303:
            assert fresh(it).owner_id == bob.id
            assert fresh(it).concerns & OWNER_DISABLED
        else:
            assert answer.status_code == 422
            assert "Bob is disabled. Name somebody else." in answer.text
            assert fresh(it).owner_id == leaver.id
        bob.enable()


def test_what_somebody_registers_while_they_are_deleted_is_not_lost(
    browser_of, alice, priya, monkeypatch
):
    admin, page = browser_of(alice), "/admin/users/priya/delete"
    form = {"csrf_token": csrf_token(admin, page), "confirm_username": "priya"}
    is_valid = DeleteForm.validate_on_submit

    def register_then(form):
        valid = is_valid(form)
        make_application(priya, name="Payroll")
        return valid

    monkeypatch.setattr(DeleteForm, "validate_on_submit", register_then)
    answer = admin.post(page, data=form)
    assert answer.status_code == 422
    assert "They own an application since a moment ago" in answer.text
    assert "Payroll" in answer.text
    assert User.named("priya")
