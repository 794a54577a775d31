"""Why people are signed out: what an old refresh token looked like, and who may read it."""

import time

import pytest
import time_machine

from portal.models import TokenFamily
from portal.story import Story, judge
from tests.engines import on_both_engines
from tests.factories import make_application, make_user
from tests.flows import RelyingApp

pytestmark = on_both_engines
HOME, HOME_NETWORK = "198.51.100.7", "198.51.100.0/24"
AWAY, AWAY_NETWORK = "203.0.113.9", "203.0.113.0/24"


@pytest.fixture
def wiki(app, client):
    owner = make_user("owner", name="Olga Owner")
    application, secret = make_application(owner, name="Wiki")
    return RelyingApp(client, application, secret)


@pytest.fixture
def tokens(wiki, browser_of, bob):
    return wiki.sign_in(browser_of(bob))


def refresh(wiki, token: str, address: str):
    wiki.http.environ_base["REMOTE_ADDR"] = address
    return wiki.refresh(token)


def replay(wiki, tokens, first=HOME, later=HOME, rotations=1):
    """Refresh, and two minutes later send the first token again."""
    with time_machine.travel(time.time(), tick=False) as clock:
        token = tokens["refresh_token"]
        for _ in range(rotations):
            token = refresh(wiki, token, first).get_json()["refresh_token"]
        clock.shift(120)
        assert refresh(wiki, tokens["refresh_token"], later).status_code == 400
    return TokenFamily.get()


def pages(wiki, browser_of, alice, bob):
    """What the administrator and the person read."""
    address = f"/admin/connections?application={wiki.client_id}"
    return browser_of(alice).get(address).text, browser_of(bob).get("/account/connections").text


def test_the_previous_token_from_the_same_network_was_retried_late(
    wiki, tokens, browser_of, alice, bob
):
    family = replay(wiki, tokens)
    assert (family.ended_verdict, family.ended_from, family.ended_late) == (
        "late",
        HOME_NETWORK,
        120,
    )
    for text in pages(wiki, browser_of, alice, bob):
        assert "Retried late" in text
        assert "2 minutes after the token had been replaced" in text
        assert HOME_NETWORK in text


def test_an_old_token_from_another_network_was_replayed_from_elsewhere(
    wiki, tokens, browser_of, alice, bob
):
    family = replay(wiki, tokens, later=AWAY)
    assert family.ended_verdict == "elsewhere"
    for text in pages(wiki, browser_of, alice, bob):
        assert "Replayed from elsewhere" in text
        assert AWAY_NETWORK in text


def test_an_older_token_from_the_same_network_is_not_said_to_come_from_elsewhere(wiki, tokens):
    assert replay(wiki, tokens, rotations=3).ended_verdict == "older"


@pytest.mark.parametrize(
    ("last", "sent", "verdict"),
    [
        (HOME_NETWORK, "2001:db8:7::/48", "unsure"),
        ("2001:db8:7::/48", "2001:db8:8::/48", "elsewhere"),
        ("", HOME_NETWORK, "unsure"),
        (HOME_NETWORK, "", "unsure"),
    ],
)
def test_ipv4_and_ipv6_alone_tell_nothing(app, last, sent, verdict):
    assert judge(f"code@{last} 100@{last}", 1, sent, 160) == (verdict, sent, 60)


def test_a_family_of_before_the_upgrade_is_judged_without_a_history(wiki, tokens):
    TokenFamily.update(history=None).execute()
    family = replay(wiki, tokens)
    assert family.ended_verdict == "late"
    assert [word.partition("@")[2] for word in family.history] == ["", HOME_NETWORK]


def test_ipv4_inside_ipv6_is_the_same_network(wiki, tokens):
    assert replay(wiki, tokens, later=f"::ffff:{HOME}").ended_verdict == "late"


def test_ten_refreshes_are_remembered_and_the_others_counted(wiki, tokens, browser_of, bob):
    token = tokens["refresh_token"]
    for _ in range(13):
        token = refresh(wiki, token, HOME).get_json()["refresh_token"]
    assert len(TokenFamily.get().history) == 11
    text = browser_of(bob).get("/account/connections").text
    assert "3 more refreshes" in text
    assert "You signed in" in text


@pytest.mark.parametrize(
    ("flow", "start"), [("code", "signed in"), ("device", "let a device in")], ids=str
)
def test_people_read_of_themselves_and_administrators_of_the_person(
    wiki, tokens, browser_of, alice, bob, flow, start
):
    family = TokenFamily.get()
    family.history = [f"{flow}@{HOME_NETWORK}"]
    family.save()
    own = browser_of(bob).get("/account/connections").text
    assert f"You {start}" in own
    assert "The person" not in own
    others = browser_of(alice).get("/admin/connections?person=bob").text
    assert f"The person {start}" in others
    assert "You " not in others.split("<main", 1)[1]


def test_the_end_is_told_to_people_of_themselves(app, wiki, tokens, bob):
    bobs = TokenFamily.user_id == bob.id
    TokenFamily.end_all("user", bobs)
    own, others = Story.latest(bobs, to_oneself=True)[0], Story.latest(bobs)[0]
    assert own.steps[-1].text.startswith("Ended. Your account was disabled")
    assert others.steps[-1].text.startswith("Ended. The person was disabled")


def test_the_end_stays_as_it_was_first_judged(wiki, tokens):
    replay(wiki, tokens)
    assert refresh(wiki, tokens["refresh_token"], AWAY).status_code == 400
    assert TokenFamily.get().ended_from == HOME_NETWORK


def test_nobody_reads_the_connections_of_others(wiki, tokens, browser_of, bob):
    replay(wiki, tokens, later=AWAY)
    other = browser_of(make_user("mallory"))
    assert AWAY_NETWORK not in other.get("/account/connections").text
    owner = browser_of(wiki.application.owner)
    assert AWAY_NETWORK not in owner.get(f"/account/applications/{wiki.client_id}").text
    for browser in (other, owner, browser_of(bob)):
        assert browser.get("/admin/connections?person=bob").status_code == 403


def test_the_refusal_and_the_person_lead_to_the_connections(
    wiki, tokens, browser_of, alice, client
):
    replay(wiki, tokens)
    admin = browser_of(alice)
    address = f'"/admin/connections?application={wiki.client_id}"'
    assert "See why" in (text := admin.get(f"/admin/applications/{wiki.client_id}").text)
    assert address in text
    assert '"/admin/connections?person=bob"' in admin.get("/admin/users/bob").text
    for page in ("/admin/connections", "/admin/connections?person=bob"):
        assert "Retried late" in admin.get(page).text
    for unknown in ("?person=nobody", "?application=nobody", "?person=a%00b"):
        assert admin.get(f"/admin/connections{unknown}").status_code == 404


def test_a_person_with_many_connections_sees_the_latest_twenty(
    wiki, tokens, browser_of, alice, bob
):
    row = TokenFamily.select().dicts().get()
    for number in range(1, 25):
        TokenFamily.create(**{**row, "id": row["id"] + number})
    text = browser_of(alice).get("/admin/connections?person=bob").text
    assert text.count("<details>") == 20
