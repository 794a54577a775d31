"""Trust is asked for by one administrator, approved by another, as it is, and for a time."""

import re
import time
from html import unescape

import pytest

from portal import approval, clock, sweep, trust
from portal.models import Application, AuditEvent, Trust, User
from portal.models.application import AUTHORIZATION_CODE
from tests.engines import on_both_engines
from tests.factories import (
    REDIRECT_URI,
    approve_trust,
    csrf_token,
    make_application,
    make_scope,
    make_user,
    save_anyway,
)
from tests.flows import RelyingApp

pytestmark = on_both_engines
DAY = 86400
PARTIAL = {"HX-Request-Type": "partial"}
EVIL = "https://evil.example.org/callback"


@pytest.fixture
def tom(app) -> User:
    """A second administrator."""
    return make_user("tom", is_admin=True)


@pytest.fixture
def wiki(app, alice) -> RelyingApp:
    application, secret = make_application(alice, name="Wiki")
    return RelyingApp(app.test_client(), application, secret)


def fresh(wiki) -> Application:
    return Application.with_client_id(wiki.application.client_id)


def hidden(text: str, name: str) -> str:
    return unescape(re.search(rf'name="{name}"[^>]*value="([^"]*)"', text)[1])


def save(browser, wiki, **changes):
    """Send the Edit form with everything that the page held."""
    it, path = fresh(wiki), f"/admin/applications/{wiki.application.client_id}/edit"
    text = browser.get(path).text
    fields = {
        "csrf_token": hidden(text, "csrf_token"),
        "seen": hidden(text, "seen"),
        "trust_until": hidden(text, "trust_until"),
        "name": it.name,
        "owner": it.owner.username,
        "grants": [AUTHORIZATION_CODE],
        "redirect_uris": "\n".join(it.redirect_uris),
        "scopes": it.scopes,
        "confidential": "y",
        "require_pkce": ["", "y"],
        "refresh_tokens": "y",
        "trusted": "y",
        "trust_reason": it.trust_reason or "We run it.",
        "trust_confirm": it.name,
        **changes,
    }
    response = browser.post(path, data={k: v for k, v in fields.items() if v is not None})
    response = save_anyway(browser, response)
    assert response.status_code == 303, response.text
    return response


def page(wiki) -> str:
    return f"/admin/trust/{wiki.application.client_id}"


def act(browser, wiki, what: str, seen: str | None = None, **data):
    text = browser.get(page(wiki)).text
    data |= {"csrf_token": csrf_token(browser, page(wiki)), "seen": seen or hidden(text, "seen")}
    return browser.post(f"{page(wiki)}/{what}", data=data)


def asks(wiki, browser) -> bool:
    """Whether people see the consent page."""
    return wiki.authorize(browser).status_code == 200


def events() -> list[str]:
    rows = AuditEvent.select(AuditEvent.event).order_by(AuditEvent.id)
    return [row.event for row in rows if row.event.startswith("application.trust")]


def end(wiki, moment: int) -> None:
    """As if the approved end, and one that is asked for, were then."""
    fresh(wiki).change(trust_ends_at=moment)
    asked = Trust.asked_at.is_null(False)
    Trust.update(asked_until=moment).where(asked).execute()


def test_people_are_asked_until_another_administrator_approves(wiki, browser_of, alice, tom, bob):
    person, asker, approver = browser_of(bob), browser_of(alice), browser_of(tom)
    save(asker, wiki)
    assert asks(wiki, person)
    assert "another administrator decides: Tom" in asker.get(page(wiki)).text
    assert "1 application waits for approval" in approver.get("/admin/applications").text
    assert "Trust waits for approval" in approver.get("/admin/applications?chip=attention").text
    assert "Waiting for approval" in approver.get("/admin/trust").text
    assert act(approver, wiki, "approve").status_code == 303
    assert not asks(wiki, person)
    assert events() == ["application.trust_asked", "application.trust_approved"]
    assert "Nothing waits" in approver.get("/admin/trust").text


def test_who_asked_does_not_approve(wiki, browser_of, alice, tom, bob):
    asker = browser_of(alice)
    save(asker, wiki)
    assert act(asker, wiki, "approve").status_code == 403
    assert act(asker, wiki, "refuse").status_code == 403
    assert asks(wiki, browser_of(bob))


@pytest.mark.parametrize("people", ["alone", "with one disabled", "with one demoted"])
def test_the_only_administrator_approves_by_asking(wiki, browser_of, alice, bob, people):
    if people != "alone":
        other = make_user("tom", is_admin=True)
        other.disable() if people == "with one disabled" else other.set_admin(False)
    browser = browser_of(alice)
    edit = browser.get(f"/admin/applications/{wiki.application.client_id}/edit").text
    assert "You are the only administrator" in edit
    save(browser, wiki)
    assert not asks(wiki, browser_of(bob))
    assert Trust.of(wiki.application.id).approved_by == "alice, the only administrator"


def test_who_becomes_the_only_administrator_may_approve_what_waits(
    wiki, browser_of, alice, tom, bob
):
    browser = browser_of(alice)
    save(browser, wiki)
    tom.disable()
    assert "you may approve it yourself" in browser.get(page(wiki)).text
    assert act(browser, wiki, "approve").status_code == 303
    assert not asks(wiki, browser_of(bob))


GOING = {
    "demoted": lambda person: person.set_admin(False),
    "disabled": lambda person: person.disable(),
    "deleted": lambda person: person.remove(),
}


@pytest.mark.parametrize("go", GOING.values(), ids=GOING)
def test_nobody_decides_alone_on_what_somebody_gone_asked_for(
    wiki, browser_of, alice, tom, bob, go
):
    eve = make_user("eve", is_admin=True)
    save(browser_of(eve), wiki)
    go(eve)
    browser = browser_of(tom)
    text = browser.get(page(wiki)).text
    assert "eve asked for it, who is not an administrator any more" in text
    assert "trust takes two administrators" in text
    assert ">Approve</button>" not in text
    assert "Ask again" in browser.get("/admin/trust").text
    response = act(browser, wiki, "approve")
    assert response.status_code == 403
    assert "Ask again first" in response.text
    assert asks(wiki, browser_of(bob))
    # One press: the day that was asked for stands there already.
    assert act(browser, wiki, "ask", trust_until=hidden(text, "trust_until")).status_code == 303
    assert Trust.of(wiki.application.id).asked_by == "tom"
    assert act(browser, wiki, "approve").status_code == 403
    assert act(browser_of(alice), wiki, "approve").status_code == 303
    assert not asks(wiki, browser_of(bob))


def test_one_who_asked_with_others_and_is_gone_is_missed_too(wiki, browser_of, alice, tom):
    eve = make_user("eve", is_admin=True)
    save(browser_of(eve), wiki)
    save(browser_of(tom), wiki, redirect_uris=f"{REDIRECT_URI}\n{EVIL}")
    eve.set_admin(False)
    assert "not all of them are administrators any more" in browser_of(alice).get(page(wiki)).text
    assert act(browser_of(alice), wiki, "approve").status_code == 403
    eve.set_admin(True)
    assert act(browser_of(alice), wiki, "approve").status_code == 303


def test_who_is_left_alone_decides_and_the_log_says_so(wiki, browser_of, alice, tom, bob):
    save(browser_of(alice), wiki)
    browser = browser_of(tom)
    alice.set_admin(False)
    assert act(browser, wiki, "approve").status_code == 303
    assert not asks(wiki, browser_of(bob))
    assert Trust.of(wiki.application.id).approved_by == "tom, the only administrator"


def test_the_queue_turns_its_pages(wiki, browser_of, alice, tom):
    for number in range(60):
        it, _ = make_application(alice, name=f"Waits {number:02}")
        it.change(trusted=True)
        Trust.keep(it.id, asked_at=1000 + number, asked_by="alice", asked_until=10**10)
    browser, seen, url, pages = browser_of(tom), [], "/admin/trust", []
    while url:
        text = browser.get(url).text
        seen += re.findall(r'class="name"[^>]*>(Waits \d\d)<', text)
        pages.append(re.search(r"<p>(\d+–\d+ of \d+)</p>", text)[1])
        found = re.search(r'href="([^"]*)" rel="next"', text)
        url = found and unescape(found[1])
    assert seen == [f"Waits {number:02}" for number in range(60)]
    assert pages == ["1–25 of 60", "26–50 of 60", "51–60 of 60"]
    last = browser.get("/admin/trust?list=waiting&page=99").text
    assert "51–60 of 60" in last
    assert "page=2" in last
    part = browser.get("/admin/trust?list=waiting&page=2", headers=PARTIAL).text
    assert "26–50 of 60" in part
    assert "<html" not in part
    for odd in ("?list=x&page=2", "?list=waiting&page=-1", "?list=ended&page=7", "?page=x"):
        assert browser.get(f"/admin/trust{odd}").status_code == 200


CHANGES = {
    "another address": {"redirect_uris": f"{REDIRECT_URI}\n{EVIL}"},
    "one scope more": {"scopes": ["openid", "profile", "email", "phone"]},
    "one scope less": {"scopes": ["openid", "profile"]},
    "another owner": {"owner": "bob"},
    "a public one": {"confidential": None},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_change_asks_people_again_until_it_is_approved(
    wiki, browser_of, alice, tom, bob, changes
):
    person = browser_of(bob)
    approve_trust(wiki.application)
    assert not asks(wiki, person)
    save(browser_of(alice), wiki, **changes)
    assert asks(wiki, person)
    text = browser_of(tom).get(page(wiki)).text
    assert ">− " in text or ">+ " in text
    act(browser_of(tom), wiki, "approve")
    assert not asks(wiki, person)


def test_what_is_no_part_of_it_keeps_the_trust(wiki, browser_of, alice, tom, bob):
    approve_trust(wiki.application)
    save(browser_of(alice), wiki, name="Team Wiki", scopes=["email", "profile", "openid"])
    assert not asks(wiki, browser_of(bob))
    assert events() == []


def test_a_change_that_is_taken_back_needs_no_approval(wiki, browser_of, alice, tom, bob):
    approve_trust(wiki.application)
    save(browser_of(alice), wiki, redirect_uris=f"{REDIRECT_URI}\n{EVIL}")
    save(browser_of(alice), wiki, redirect_uris=REDIRECT_URI)
    assert not asks(wiki, browser_of(bob))
    assert "Nothing waits" in browser_of(tom).get("/admin/trust").text


def test_the_difference_is_shown_and_nothing_else_is_marked(wiki, browser_of, alice, tom):
    approve_trust(wiki.application)
    save(browser_of(alice), wiki, redirect_uris=EVIL)
    text = browser_of(tom).get(page(wiki)).text
    assert f"Removed: </span>− {REDIRECT_URI}</del>" in text
    assert f"Added: </span>+ {EVIL}</ins>" in text
    assert len(re.findall("<ins>|<del>", text)) == 2


def test_a_page_that_is_out_of_date_approves_nothing(wiki, browser_of, alice, tom, bob):
    save(browser_of(alice), wiki)
    approver = browser_of(tom)
    seen = hidden(approver.get(page(wiki)).text, "seen")
    save(browser_of(alice), wiki, redirect_uris=f"{REDIRECT_URI}\n{EVIL}")
    for old in (seen, "0"):
        response = act(approver, wiki, "approve", seen=old)
        assert response.status_code == 409
        assert EVIL in response.text
        assert "Nothing was decided" in response.text
    token = csrf_token(approver, page(wiki))
    bare = approver.post(f"{page(wiki)}/approve", data={"csrf_token": token})
    assert bare.status_code == 409
    assert asks(wiki, browser_of(bob))


def test_a_new_end_makes_the_page_out_of_date_too(wiki, browser_of, alice, tom):
    save(browser_of(alice), wiki)
    approver = browser_of(tom)
    seen = hidden(approver.get(page(wiki)).text, "seen")
    save(browser_of(alice), wiki, trust_until=trust.day(clock.now() + 500 * DAY))
    assert act(approver, wiki, "approve", seen=seen).status_code == 409


def test_everybody_who_had_a_hand_in_it_leaves_it_to_others(wiki, browser_of, alice, tom, bob):
    """Else a second administrator's harmless change would let the first approve their own."""
    approve_trust(wiki.application)
    save(browser_of(alice), wiki, redirect_uris=f"{REDIRECT_URI}\n{EVIL}")
    save(browser_of(tom), wiki, scopes=["openid", "profile"])
    assert act(browser_of(alice), wiki, "approve").status_code == 403
    assert act(browser_of(tom), wiki, "approve").status_code == 403
    # Who asks for all of it, on the page that shows it, takes it on.
    until = trust.day(clock.now() + 90 * DAY)
    assert act(browser_of(tom), wiki, "ask", trust_until=until).status_code == 303
    assert act(browser_of(alice), wiki, "approve").status_code == 303
    assert not asks(wiki, browser_of(bob))


def test_refusing_says_why_and_asking_again_is_possible(wiki, browser_of, alice, tom, bob):
    save(browser_of(alice), wiki)
    assert act(browser_of(tom), wiki, "refuse", note="Not that host <b>").status_code == 303
    text = browser_of(alice).get(page(wiki)).text
    assert "tom refused it" in text
    assert "Not that host &lt;b&gt;" in text
    assert asks(wiki, browser_of(bob))
    assert act(browser_of(tom), wiki, "approve").status_code == 409
    save(browser_of(alice), wiki, name="Other name")
    assert Trust.of(wiki.application.id).refused_by == "tom"
    until = trust.day(clock.now() + 90 * DAY)
    act(browser_of(alice), wiki, "ask", trust_until=until)
    act(browser_of(tom), wiki, "approve")
    assert not asks(wiki, browser_of(bob))
    assert events()[-4:] == [
        "application.trust_asked",
        "application.trust_refused",
        "application.trust_asked",
        "application.trust_approved",
    ]


def test_trust_ends_by_its_date_and_is_renewed(wiki, browser_of, alice, tom, bob):
    approve_trust(wiki.application, clock.now() + 12 * DAY + 60)
    browser, person = browser_of(alice), browser_of(bob)
    for path in (
        "/admin/applications?chip=attention",
        f"/admin/applications/{wiki.application.client_id}",
    ):
        assert "in 12 days" in browser.get(path).text
    assert not asks(wiki, person)
    until = trust.day(clock.now() + 200 * DAY)
    act(browser, wiki, "ask", trust_until=until)
    assert not asks(wiki, person)  # it goes on while the renewal waits
    act(browser_of(tom), wiki, "approve")
    assert trust.day(fresh(wiki).trust_ends_at) == until
    end(wiki, clock.now() - DAY)
    assert asks(wiki, person)
    text = browser_of(alice).get(page(wiki)).text
    assert "Its trust ended on" in text
    assert "Ask to renew" in text
    assert "Ended" in browser_of(alice).get("/admin/trust").text


def test_the_end_needs_no_change_of_the_row_to_work(wiki, browser_of, bob):
    """The application stays in memory; only the clock goes on."""
    person = browser_of(bob)
    approve_trust(wiki.application, clock.now() + 2)
    assert not asks(wiki, person)
    time.sleep(2.1)
    assert asks(wiki, person)


def test_the_end_is_logged_once(app, wiki):
    approve_trust(wiki.application, clock.now() - DAY)
    with app.app_context():
        assert (approval.sweep(), approval.sweep()) == (1, 0)
    assert events() == ["application.trust_ended"]
    assert AuditEvent.get().actor == "the portal"


def test_the_sweep_tells_the_end(app, wiki):
    approve_trust(wiki.application, clock.now() - DAY)
    sweep.once(app)
    assert events() == ["application.trust_ended"]


@pytest.mark.parametrize(
    ("days", "words"), [(-1, "today or a later day"), (733, "within two years"), (None, "last day")]
)
def test_a_bad_end_says_what_to_change(wiki, browser_of, alice, tom, days, words):
    approve_trust(wiki.application)
    until = trust.day(clock.now() + days * DAY) if days else ""
    response = act(browser_of(alice), wiki, "ask", trust_until=until)
    assert response.status_code == 422
    assert words in response.text
    path = f"/admin/applications/{wiki.application.client_id}/edit"
    text = browser_of(alice).get(path).text
    data = {"csrf_token": hidden(text, "csrf_token"), "trusted": "y", "trust_until": until}
    refused = browser_of(alice).post(path, data={**data, "trust_reason": "x"})
    assert refused.status_code in (400, 422)


def test_trust_without_a_date_lasts_a_year(wiki, browser_of, alice, tom):
    save(browser_of(alice), wiki, trust_until=None)
    act(browser_of(tom), wiki, "approve")
    assert fresh(wiki).trust_ends_at == trust.usual_end()


def test_an_end_that_comes_while_it_waits_is_not_approved(wiki, browser_of, alice, tom):
    save(browser_of(alice), wiki, trust_until=trust.day(clock.now() + DAY))
    end(wiki, clock.now() - 60)
    assert act(browser_of(tom), wiki, "approve").status_code == 409
    assert not fresh(wiki).skips_consent


def test_stopping_works_at_once_and_trust_does_not_come_back_by_a_tick(
    wiki, browser_of, alice, tom, bob
):
    approve_trust(wiki.application)
    assert act(browser_of(alice), wiki, "stop").status_code == 303
    assert asks(wiki, browser_of(bob))
    save(browser_of(alice), wiki)
    assert asks(wiki, browser_of(bob))


def test_the_approvers_fate_changes_nothing(wiki, browser_of, alice, tom, bob):
    save(browser_of(alice), wiki)
    act(browser_of(tom), wiki, "approve")
    tom.set_admin(False)
    tom.disable()
    assert not asks(wiki, browser_of(bob))


def test_an_heir_inherits_no_trust(wiki, browser_of, alice, tom, bob):
    dora = make_user("dora")
    wiki.application.change(owner=dora)
    approve_trust(fresh(wiki))
    browser, path = browser_of(alice), "/admin/users/dora/delete"
    token = csrf_token(browser, path)
    data = {"csrf_token": token, "confirm_username": "dora", "heir": "bob"}
    response = browser.post(path, data=data)
    assert response.status_code == 303, response.text
    assert asks(wiki, browser_of(bob))
    assert act(browser, wiki, "approve").status_code == 403
    text = browser_of(tom).get(page(wiki)).text
    assert "− owner</del>" in text
    assert "+ bob</ins>" in text


def test_a_scope_that_is_deleted_asks_for_approval(wiki, browser_of, alice, tom, bob):
    make_scope("reports:read")
    wiki.application.change(scopes=["openid", "profile", "email", "reports:read"])
    approve_trust(wiki.application)
    browser, path = browser_of(alice), "/admin/scopes/reports:read/delete"
    data = {"csrf_token": csrf_token(browser, path), "confirm_name": "reports:read"}
    assert browser.post(path, data=data).status_code == 303
    assert asks(wiki, browser_of(bob))
    assert "Waiting for approval" in browser_of(tom).get("/admin/trust").text


@pytest.mark.parametrize("what", ["approve", "refuse", "ask", "stop"])
def test_only_administrators_with_a_token_act(wiki, browser_of, alice, charlie, what):
    approve_trust(wiki.application)
    stranger = browser_of(charlie)
    assert stranger.get(page(wiki)).status_code == 403
    token = csrf_token(stranger, "/account/password")
    refused = stranger.post(f"{page(wiki)}/{what}", data={"csrf_token": token, "seen": "1"})
    assert refused.status_code == 403
    assert browser_of(alice).post(f"{page(wiki)}/{what}").status_code == 400
    assert fresh(wiki).skips_consent


@pytest.mark.parametrize("client_id", ["nobody", "%00", "x" * 300])
def test_a_page_of_nothing_is_not_found(browser_of, alice, client_id):
    assert browser_of(alice).get(f"/admin/trust/{client_id}").status_code == 404


def test_deciding_costs_people_no_statement(wiki, browser_of, bob, statements):
    approve_trust(wiki.application)
    person = browser_of(bob)
    asks(wiki, person)
    with statements() as seen:
        assert not asks(wiki, person)
    assert not [sql for sql in seen if '"trust"' in sql]


def test_the_queue_reads_no_whole_table(app, wiki, browser_of, alice, statements):
    """With an index, whatever the number of applications."""
    from portal.database import database, on_sqlite

    if not on_sqlite():
        pytest.skip("PostgreSQL plans by how much there is")
    browser = browser_of(alice)
    plans = []

    def explain(event) -> None:
        if '"trust"' in event.sql and "EXPLAIN" not in event.sql and "SELECT" in event.sql:
            plans.append((event.sql, event.params))

    database.obj.query_hooks.append(explain)
    try:
        browser.get("/admin/trust")
    finally:
        database.obj.query_hooks.remove(explain)
    assert len(plans) == 5
    for sql, params in plans:
        plan = [row[3] for row in database.obj.execute_sql(f"EXPLAIN QUERY PLAN {sql}", params)]
        assert not [step for step in plan if step.startswith("SCAN") and "INDEX" not in step], plan
