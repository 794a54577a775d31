"""Somebody leaves: what they own is offered, accepted or declined, and never forgotten."""

import re
from dataclasses import replace

import pytest

from portal.models import Application, ApplicationSecret, AuditEvent, Offer, Trust, User
from portal.models.offer import DECLINED, VOID
from tests.engines import on_both_engines
from tests.factories import approve_trust, csrf_token, make_application, make_user, post
from tests.flows import RelyingApp
from tests.mail_server import running_mail_server

LEAVING = "/admin/leaving"
OFFERS = "/account/offers"


@pytest.fixture
def admin(browser_of, alice):
    return browser_of(alice)


@pytest.fixture
def priya(app):
    return make_user("priya")


@pytest.fixture
def payroll(priya):
    return make_application(priya, name="Payroll")[0]


def leave(browser, person, owner="bob", how="offer", disable="y", **more):
    page = f"{LEAVING}/{person.username}"
    return post(browser, page, {"owner": owner, "how": how, "disable": disable, **more})


def owner_of(application):
    return Application.get_by_id(application.id).owner.username


def events():
    return [row.event for row in AuditEvent.select().order_by(AuditEvent.id)]


@on_both_engines
def test_an_heir_accepts_and_is_the_owner(admin, browser_of, priya, bob, payroll):
    secrets = [it.hash for it in ApplicationSecret.select()]
    page = admin.get(f"{LEAVING}/priya").text
    assert "Payroll" in page
    assert "owns 1 application" in page
    assert leave(admin, priya).status_code == 303
    told = admin.get(f"/admin/applications/{payroll.client_id}").text
    assert "Its owner, Priya, has left." in told
    assert "Offered to Bob on" in told
    assert "not accepted yet" in told
    assert owner_of(payroll) == "priya"
    assert not User.get_by_id(priya.id).is_active

    heir = browser_of(bob)
    for start in ("/account/connections", "/account/applications"):
        assert "1 application is offered to you" in heir.get(start).text
    assert "Payroll" in heir.get(OFFERS).text
    answer = post(heir, f"{OFFERS}/accept", {"application": payroll.client_id}, page=OFFERS)
    assert answer.location == "/account/applications"
    assert "You own Payroll now." in heir.get("/account/applications").text
    assert owner_of(payroll) == "bob"
    assert [it.hash for it in ApplicationSecret.select()] == secrets
    assert "has left" not in admin.get(f"/admin/applications/{payroll.client_id}").text
    assert not Offer.select().count()
    assert events()[-3:] == ["person.disabled", "application.offered", "application.accepted"]


@on_both_engines
def test_who_declines_is_told_of_and_another_is_asked(
    admin, browser_of, priya, bob, charlie, payroll
):
    leave(admin, priya)
    heir = browser_of(bob)
    answer = {"application": payroll.client_id, "reason": "I do not know\0 <it>"}
    post(heir, f"{OFFERS}/decline", answer, page=OFFERS)
    assert Offer.of(payroll.id).state == DECLINED
    for page in (f"/admin/applications/{payroll.client_id}", f"{LEAVING}/priya"):
        told = admin.get(page).text
        assert "Bob declined on" in told
        assert "“I do not know &lt;it&gt;”" in told
    assert "1 application without an heir" in admin.get(LEAVING).text

    leave(admin, priya, owner="charlie")
    assert "Offered to Charlie" in admin.get(f"{LEAVING}/priya").text
    assert "Nothing is offered to you" in heir.get(OFFERS).text
    # An old page of his answers nothing any more.
    post(heir, f"{OFFERS}/accept", answer, page="/account/password")
    assert owner_of(payroll) == "priya"
    assert "application.declined" in events()


@on_both_engines
def test_all_at_once_and_only_what_the_page_told_of(admin, browser_of, priya, bob):
    made = [make_application(priya, name=f"Number {n:02}")[0] for n in range(25)]
    page = admin.get(f"{LEAVING}/priya").text
    assert "And 5 others." in page
    leave(admin, priya)
    heir = browser_of(bob)
    page = heir.get(OFFERS).text
    assert "Accept all 25" in page
    assert "And 5 others" in page
    last = Offer.update(offered_at=Offer.offered_at + 100)
    last.where(Offer.application_id == made[-1].id).execute()
    seen = page.split('name="seen" value="', 1)[1].split('"', 1)[0]
    post(heir, f"{OFFERS}/accept", {"seen": seen}, page=OFFERS)
    assert bob.applications.count() == 24
    assert owner_of(made[-1]) == "priya"
    post(heir, f"{OFFERS}/decline", {"seen": "x" * 20}, page=OFFERS)
    assert Offer.get().state == DECLINED


@on_both_engines
def test_nobody_else_can_answer(admin, browser_of, priya, bob, charlie, payroll):
    leave(admin, priya)
    stranger = browser_of(charlie)
    assert "Payroll" not in stranger.get(OFFERS).text
    for answer in ("accept", "decline"):
        data = {"application": payroll.client_id}
        post(stranger, f"{OFFERS}/{answer}", data, page="/account/password")
    assert owner_of(payroll) == "priya"
    assert Offer.of(payroll.id).heir_id == bob.id
    assert stranger.get(LEAVING).status_code == 403
    assert stranger.get(f"{LEAVING}/priya").status_code == 403


@on_both_engines
def test_whoever_comes_back_gets_back_what_nobody_accepted(admin, browser_of, priya, bob, payroll):
    other, _ = make_application(priya, name="Wiki")
    leave(admin, priya)
    heir = browser_of(bob)
    post(heir, f"{OFFERS}/accept", {"application": other.client_id}, page=OFFERS)
    post(admin, "/admin/users/priya/enable", page="/admin/users/priya")
    assert "is offered no more" in admin.get("/admin/users/priya").text
    assert "Nothing is offered to you" in heir.get(OFFERS).text
    assert (owner_of(payroll), owner_of(other)) == ("priya", "bob")


@on_both_engines
def test_an_heir_who_leaves_meanwhile_takes_nothing(admin, priya, bob, payroll):
    leave(admin, priya)
    bob.disable()
    assert Offer.of(payroll.id).state == VOID
    told = admin.get(f"/admin/applications/{payroll.client_id}").text
    assert "who has left since: choose somebody else" in told
    bob.enable()
    assert Offer.of(payroll.id).state == VOID


@on_both_engines
def test_offering_twice_asks_once_and_another_heir_replaces_the_first(
    admin, priya, bob, charlie, payroll
):
    leave(admin, priya)
    leave(admin, priya, which="all")
    assert events().count("application.offered") == 1
    assert "there was nothing left to offer to Bob" in admin.get(f"{LEAVING}/priya").text
    leave(admin, priya, owner="charlie", which="rest")  # nothing is left to offer
    assert Offer.of(payroll.id).heir_id == bob.id
    leave(admin, priya, owner="charlie", which="all")
    assert Offer.of(payroll.id).heir_id == charlie.id


def test_the_page_offers_those_that_nobody_was_asked_about_or_else_all(admin, priya, bob, payroll):
    leave(admin, priya)
    assert re.search(r'value="all"[^>]*checked', admin.get(f"{LEAVING}/priya").text)
    make_application(priya, name="Wiki")
    assert re.search(r'value="rest"[^>]*checked', admin.get(f"{LEAVING}/priya").text)


@pytest.mark.parametrize(
    ("owner", "sentence"),
    [
        ("", "Enter who takes over"),
        ("priya", "Name somebody else: this is the person who leaves."),
        ("off", "Off is disabled. Name somebody else."),
        ("nobody", "Nobody here is called nobody"),
        ("x\0", "Nobody here is called"),
    ],
)
def test_who_cannot_be_the_heir(admin, priya, payroll, owner, sentence):
    make_user("off").disable()
    answer = leave(admin, priya, owner=owner)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert User.get_by_id(priya.id).is_active
    assert not Offer.select().count()


def test_an_administrator_may_assign_at_once_or_leave_it(admin, priya, bob, payroll):
    other, _ = make_application(priya, name="Wiki")
    only = {"application": payroll.client_id}
    leave(admin, priya, how="assign", disable="", **only)
    assert (owner_of(payroll), owner_of(other)) == ("bob", "priya")
    assert User.get_by_id(priya.id).is_active
    assert leave(admin, priya, how="leave", disable="").status_code == 422
    leave(admin, priya, how="leave", owner="")
    assert not User.get_by_id(priya.id).is_active
    assert "Nobody is asked to take over yet" in (
        admin.get(f"/admin/applications/{other.client_id}").text
    )


def test_editing_the_owner_ends_the_offer(admin, priya, bob, charlie, payroll):
    leave(admin, priya)
    Application.get_by_id(payroll.id).change(owner=charlie)
    assert not Offer.select().count()


def test_orphans_are_found_in_the_list(admin, priya, payroll):
    make_application(name="Looked after")
    priya.disable()
    text = admin.get("/admin/applications?chip=orphaned").text
    assert "Payroll" in text
    assert "Has left" in text
    assert "Looked after" not in text


def test_the_last_administrator_cannot_leave(admin, alice, bob):
    leave(admin, alice)
    assert User.get_by_id(alice.id).is_active
    assert "the last administrator" in admin.get(f"{LEAVING}/alice").text


def test_whoever_waits_is_named_before_deleting(admin, priya, bob, payroll):
    leave(admin, priya)
    page = admin.get("/admin/users/priya/delete").text
    assert "Payroll" in page
    assert "Offered to Bob" in page
    assert "can be deleted once they own none" in page


def test_a_deleted_heir_and_a_deleted_application_leave_no_trouble(admin, priya, bob, payroll):
    leave(admin, priya)
    bob.remove()
    assert "Nobody is asked" in admin.get(f"/admin/applications/{payroll.client_id}").text
    leave(admin, priya, owner="alice")
    payroll.remove()
    assert not Offer.select().count()
    assert "Nothing is left to take over" in admin.get(f"{LEAVING}/priya").text
    assert "Every application has an owner" in admin.get(LEAVING).text


@pytest.mark.parametrize("username", ["nobody", "%00", "p" * 3000])
def test_an_unknown_person_is_not_found(admin, username):
    assert admin.get(f"{LEAVING}/{username}").status_code == 404


def test_the_command_offers_in_the_same_way(app, priya, bob, payroll):
    runner = app.test_cli_runner()
    for heir, sentence in (("priya", "their own heir"), ("ghost", "nobody called")):
        result = runner.invoke(args=["user", "disable", "priya", "--heir", heir])
        assert result.exit_code == 2
        assert sentence in result.output
    assert User.get_by_id(priya.id).is_active
    result = runner.invoke(args=["user", "disable", "priya"])
    assert "still owns 1 application" in result.output
    result = runner.invoke(args=["user", "disable", "priya", "--heir", "bob"])
    assert result.exit_code == 0
    assert "1 application newly offered to bob" in result.output
    assert Offer.of(payroll.id).heir_id == bob.id


def test_the_heir_is_told_by_mail(app, settings, admin, priya, bob, payroll):
    with running_mail_server() as server:
        app.extensions["portal.settings"] = replace(
            settings, smtp_url=server.url, mail_from="portal@example.org"
        )
        leave(admin, priya)
        (letter,) = server.letters
    assert letter.recipients == ["bob@example.org"]
    assert letter.message["Subject"] == "Priya leaves: 1 application is offered to you"
    assert "/account/offers" in server.text


def with_mail(app, settings, server):
    app.extensions["portal.settings"] = replace(
        settings, smtp_url=server.url, mail_from="portal@example.org"
    )


@on_both_engines
def test_who_offered_hears_the_answer(app, settings, admin, browser_of, priya, alice, bob, payroll):
    make_application(priya, name="Wiki")
    make_user("tom", is_admin=True)
    leave(admin, priya)
    heir = browser_of(bob)
    with running_mail_server() as server:
        with_mail(app, settings, server)
        post(heir, f"{OFFERS}/accept", {"application": payroll.client_id}, page=OFFERS)
        post(heir, f"{OFFERS}/decline", {"reason": "No time <b>"}, page=OFFERS)
        accepted, declined = server.letters
    assert accepted.recipients == declined.recipients == ["alice@example.org"]
    assert accepted.message["Subject"] == "Bob accepted Payroll"
    assert declined.message["Subject"] == "Bob declined Wiki"
    assert "Why: No time <b>" in declined.message.get_content()
    assert "/admin/leaving" in declined.message.get_content()
    listed = admin.get("/admin/applications").text
    assert "2 applications that you offered were accepted or declined" in listed
    page = admin.get(LEAVING).text
    assert "bob accepted it" in page
    assert "bob declined it" in page
    assert "No time &lt;b&gt;" in page
    # Nobody else is told what is none of their business.
    other = browser_of(User.named("tom"))
    assert "that you offered" not in other.get("/admin/applications").text
    assert "Answers to what you offered" not in other.get(LEAVING).text


def test_who_offered_last_hears_it_once_for_all(
    app, settings, admin, browser_of, priya, bob, charlie, payroll
):
    make_application(priya, name="Wiki")
    tom = make_user("tom", is_admin=True)
    leave(admin, priya, owner="charlie")
    leave(browser_of(tom), priya, which="all")
    heir = browser_of(bob)
    with running_mail_server() as server:
        with_mail(app, settings, server)
        post(heir, f"{OFFERS}/accept", page=OFFERS)
        (letter,) = server.letters
    assert letter.recipients == ["tom@example.org"]
    assert letter.message["Subject"] == "Bob accepted 2 applications"
    assert "- Payroll" in letter.message.get_content()
    assert "- Wiki" in letter.message.get_content()
    assert "that you offered" not in admin.get("/admin/applications").text


@pytest.mark.parametrize("what", ["demoted", "disabled", "the command line"])
def test_nobody_is_mailed_who_has_no_part_in_it_any_more(
    app, settings, admin, browser_of, priya, bob, payroll, what
):
    if what == "the command line":
        app.test_cli_runner().invoke(args=["user", "disable", "priya", "--heir", "bob"])
    else:
        tom = make_user("tom", is_admin=True)
        leave(browser_of(tom), priya)
        tom.set_admin(False) if what == "demoted" else tom.disable()
    with running_mail_server() as server:
        with_mail(app, settings, server)
        post(browser_of(bob), f"{OFFERS}/decline", page=OFFERS)
        assert server.letters == []
    assert Offer.of(payroll.id).state == DECLINED


def test_a_mail_server_that_is_away_stops_no_answer(
    app, settings, admin, browser_of, priya, bob, payroll
):
    leave(admin, priya)
    app.extensions["portal.settings"] = replace(
        settings, smtp_url="smtp://127.0.0.1:1", mail_from="portal@example.org"
    )
    assert post(browser_of(bob), f"{OFFERS}/accept", page=OFFERS).status_code == 303
    assert owner_of(payroll) == "bob"


# Trust holds for the owner who was approved


@pytest.fixture
def tom(app):
    return make_user("tom", is_admin=True)


@pytest.fixture
def hub(app, priya):
    application, secret = make_application(priya, name="Hub")
    approve_trust(application)
    return RelyingApp(app.test_client(), application, secret)


def hand_on(admin, browser_of, priya, heir) -> None:
    leave(admin, priya, owner=heir.username)
    answer = post(browser_of(heir), f"{OFFERS}/accept", {}, page=OFFERS)
    assert answer.status_code == 303


def trust_page(hub) -> str:
    return f"/admin/trust/{hub.application.client_id}"


def act_on_trust(browser, hub, what, **data):
    seen = str(Application.get_by_id(hub.application.id).version)
    data |= {"csrf_token": csrf_token(browser, trust_page(hub)), "seen": seen}
    return browser.post(f"{trust_page(hub)}/{what}", data=data)


@on_both_engines
def test_both_pages_say_beforehand_that_trust_ends(admin, browser_of, priya, bob, charlie, hub):
    assert hub.authorize(browser_of(charlie)).status_code == 303
    page = admin.get(f"{LEAVING}/priya").text
    assert "It skips the consent page now. Once the owner changes, people are asked" in page
    assert "the applications go on working" not in page
    leave(admin, priya)
    offers = browser_of(bob).get(OFFERS).text
    assert "It skips the consent page now" in offers
    assert "Once you accept, people are asked for consent" in offers
    assert "as it does" not in offers
    post(browser_of(bob), f"{OFFERS}/accept", {}, page=OFFERS)
    assert hub.authorize(browser_of(charlie)).status_code == 200


def test_where_nothing_skips_consent_both_pages_say_nothing_of_it(
    admin, browser_of, priya, bob, payroll
):
    assert "the applications go on working" in admin.get(f"{LEAVING}/priya").text
    leave(admin, priya)
    offers = browser_of(bob).get(OFFERS).text
    assert "it goes on working as it does" in offers
    assert "consent" not in offers


def test_among_several_the_pages_say_which(admin, browser_of, priya, bob, hub, payroll):
    page = admin.get(f"{LEAVING}/priya").text
    assert "Some of them skip the consent page now" in page
    assert page.count("Skips consent now") == 1
    one = admin.get(f"{LEAVING}/priya?application={payroll.client_id}").text
    assert "skip the consent page now" not in one
    leave(admin, priya)
    offers = browser_of(bob).get(OFFERS).text
    assert "Some skip the consent page now" in offers
    assert offers.count("Skips consent now") == 1


@on_both_engines
def test_an_heir_who_accepts_asks_for_nothing(admin, browser_of, priya, bob, charlie, tom, hub):
    hand_on(admin, browser_of, priya, bob)
    assert "application.trust_asked" not in events()
    approver = browser_of(tom)
    text = approver.get(trust_page(hub)).text
    assert "Its owner changed, and nobody has asked to trust it since" in text
    assert "asked for it" not in text
    assert "Asked by" not in text
    assert ">Approve</button>" not in text
    listed = approver.get("/admin/trust").text
    assert "Waiting for approval" not in listed
    assert "To be asked for again, since the owner changed" in listed
    assert "Ask again" in listed
    start = approver.get("/admin/applications").text
    assert "for approval to be trusted" not in start
    assert "The trust in 1 application must be asked for again." in start
    assert "Trust ended with its owner" in approver.get("/admin/applications?chip=attention").text
    shown = approver.get(f"/admin/applications/{hub.application.client_id}").text
    assert "Look and decide" not in shown
    assert "Look and ask again" in shown
    assert act_on_trust(approver, hub, "approve").status_code == 409
    # One asks and another decides, as ever.
    until = re.search(r'name="trust_until"[^>]*value="([^"]*)"', text)[1]
    assert act_on_trust(approver, hub, "ask", trust_until=until).status_code == 303
    assert Trust.of(hub.application.id).asked_by == "tom"
    assert "1 application waits for approval" in admin.get("/admin/applications").text
    assert act_on_trust(admin, hub, "approve").status_code == 303
    assert hub.authorize(browser_of(charlie)).status_code == 303


def test_what_was_asked_for_before_an_heir_accepted_is_asked_for_again(
    admin, browser_of, priya, bob, alice, tom, hub
):
    it = Application.get_by_id(hub.application.id)
    it.change(scopes=["openid"])
    Trust.keep(
        it.id,
        asked_at=1,
        asked_by="alice",
        asker_ids=[str(alice.id)],
        asked_until=10**10,
        asked_subject=it.trust_subject,
    )
    assert "1 application waits for approval" in browser_of(tom).get("/admin/applications").text
    hand_on(admin, browser_of, priya, bob)
    assert act_on_trust(browser_of(tom), hub, "approve").status_code == 409
    # Who had a hand in it before still leaves it to others.
    assert Trust.of(it.id).asker_ids == [str(alice.id)]


def test_an_edit_of_something_else_asks_for_nothing(admin, browser_of, priya, bob, tom, hub):
    hand_on(admin, browser_of, priya, bob)
    page = f"/admin/applications/{hub.application.client_id}/edit"
    it = Application.get_by_id(hub.application.id)
    fields = {
        "name": "Hub of today",
        "owner": "bob",
        "grants": [grant for grant in it.grants if grant != "refresh_token"],
        "redirect_uris": "\n".join(it.redirect_uris),
        "scopes": it.scopes,
        "confidential": "y",
        "require_pkce": ["", "y"],
        "refresh_tokens": "y",
        "trusted": "y",
        "trust_reason": "We run it.",
        "trust_confirm": "Hub of today",
    }
    text = admin.get(page).text
    fields["trust_until"] = re.search(r'name="trust_until"[^>]*value="([^"]*)"', text)[1]
    assert post(admin, page, fields).status_code == 303
    assert "application.trust_asked" not in events()
    assert Trust.of(it.id).nobody_asks


def test_nothing_waits_that_nobody_can_decide(admin, browser_of, priya, alice, tom, hub):
    eve = make_user("eve", is_admin=True)
    it = Application.get_by_id(hub.application.id)
    it.change(scopes=["openid"])
    asked = {"asked_at": 1, "asked_until": 10**10, "asked_subject": it.trust_subject}
    Trust.keep(it.id, **asked, asked_by="eve", asker_ids=[str(eve.id)])
    assert "1 application waits for approval" in admin.get("/admin/applications").text
    eve.set_admin(False)
    start = admin.get("/admin/applications").text
    assert "waits for approval to be trusted" not in start
    assert "must be asked for again" in start
    shown = admin.get(f"/admin/applications/{it.client_id}").text
    assert "Look and decide" not in shown
    Trust.keep(it.id, asker_ids=[str(alice.id), str(tom.id)])
    assert "waits for approval to be trusted" not in admin.get("/admin/applications").text
