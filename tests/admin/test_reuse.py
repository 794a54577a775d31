"""The reuse radar: a secret in several places, or sent under another id, and the split."""

import json
import re

import pytest
import time_machine

from portal.clock import now
from portal.models import Application, ApplicationSecret, AuditEvent, MisusedSecret, SecretNetwork
from portal.models.application import AUTHORIZATION_CODE, CLIENT_CREDENTIALS
from portal.models.secret_network import ROWS_EACH
from tests.engines import on_both_engines
from tests.factories import make_application, post, sign_in
from tests.flows import basic

HOUR, DAY = 3600, 86400
OFFICE, CLOUD, OTHER = "203.0.113.77", "198.51.100.9", "192.0.2.33"
SECRET = re.compile(r"pcs_[A-Za-z0-9_-]{43}")
SHARED = "networks at the same time"


class Radar:
    """An application whose secret gets around, and an administrator who looks."""

    def __init__(self, app, owner) -> None:
        self.app, self.owner = app, owner
        self.wiki, self.secret = make_application(
            owner, name="Wiki", grants=[CLIENT_CREDENTIALS], scopes=["public"]
        )
        self.http = app.test_client()
        self.url = f"/admin/secrets/{self.wiki.client_id}"

    def ask(self, address: str, client_id: str = "", secret: str = "") -> int:
        return self.http.post(
            "/oauth/token",
            data={"grant_type": CLIENT_CREDENTIALS},
            headers=basic(client_id or self.wiki.client_id, secret or self.secret),
            environ_overrides={"REMOTE_ADDR": address},
        ).status_code

    def take_turns(self, clock, *addresses: str, times: int = 5, every: int = HOUR) -> None:
        """Each address uses the secret, one after the other, so many times."""
        for _ in range(times):
            for address in addresses:
                assert self.ask(address) == 200
                clock.shift(5)
            clock.shift(every)

    @property
    def browser(self):
        return sign_in(self.app.test_client(), self.owner)

    def page(self, url: str = "") -> str:
        self.app.extensions["portal.oauth"].uses.write()
        return " ".join(self.browser.get(url or self.url).text.split())

    def listed(self) -> bool:
        return "Secret reused" in self.page("/admin/applications?chip=attention")


@pytest.fixture
def clock():
    with time_machine.travel(1_800_000_000, tick=False) as made:
        yield made


@pytest.fixture
def radar(clock, app, alice) -> Radar:
    return Radar(app, alice)


@on_both_engines
def test_two_services_that_share_a_secret_are_seen(clock, radar):
    radar.take_turns(clock, OFFICE, CLOUD)
    page = radar.page()
    assert f"is used from 2 {SHARED}" in page
    assert "203.0.113.0/24" in page
    assert "198.51.100.0/24" in page
    assert "First used" in page
    assert SHARED in radar.page(f"/admin/applications/{radar.wiki.client_id}")
    assert SHARED in radar.page("/admin/reuse")
    assert SHARED in radar.page(f"/account/applications/{radar.wiki.client_id}")
    assert radar.listed()
    clock.shift(8 * DAY)  # one of them is stopped
    assert radar.ask(OFFICE) == 200
    assert SHARED not in radar.page()
    assert not radar.listed()
    assert "No secret is reused" in radar.page("/admin/reuse")


def test_two_jobs_that_run_once_a_day_are_seen_too(clock, radar):
    radar.take_turns(clock, OFFICE, CLOUD, every=DAY)
    assert SHARED in radar.page()


@on_both_engines
def test_a_server_that_moves_is_no_sharing(clock, radar):
    radar.take_turns(clock, OFFICE, times=30)
    assert SecretNetwork.select().count() == 0
    radar.take_turns(clock, OFFICE, CLOUD, times=10, every=60)  # while it is rolled out
    radar.take_turns(clock, CLOUD, times=30)
    assert SHARED not in radar.page()
    assert not radar.listed()
    assert "Used from 2 networks" in radar.page()
    office = SecretNetwork.get(SecretNetwork.network == "203.0.113.0/24")
    assert office.first_at == radar.wiki.live_secrets[0].created_at
    assert now() - office.last_at > 29 * HOUR


def test_a_move_that_is_rolled_back_and_made_again_is_no_sharing(clock, radar):
    for address in (OFFICE, CLOUD, OFFICE, CLOUD):
        radar.take_turns(clock, address, times=4)
    assert SHARED not in radar.page()


@on_both_engines
def test_one_host_with_ipv4_and_ipv6_is_no_sharing(clock, radar):
    radar.take_turns(clock, OFFICE, "2001:db8:7::1", times=20)
    assert SHARED not in radar.page()
    radar.take_turns(clock, OFFICE, "2001:db8:7::1", "2001:db8:8::1")
    assert f"is used from 2 {SHARED}" in radar.page()


def test_many_hosts_of_one_network_are_one_place(clock, radar):
    radar.take_turns(clock, *(f"203.0.113.{n}" for n in range(1, 30)))
    assert SecretNetwork.select().count() == 0


@on_both_engines
def test_a_secret_used_from_everywhere_keeps_a_bounded_memory(clock, radar):
    for number in range(250):
        assert radar.ask(f"10.0.{number}.1") == 200
        clock.shift(1)
    radar.page()
    rows = SecretNetwork.select().order_by(SecretNetwork.last_at)
    assert rows.count() == ROWS_EACH
    assert rows[-1].network == "10.0.249.0/24"


@on_both_engines
def test_networks_are_seen_also_by_processes_that_know_one_each(clock, app, radar):
    """Connections that are kept open tie each service to one worker."""
    from portal.oauth.server import make_server

    first = app.extensions["portal.oauth"]
    second = make_server(app.extensions["portal.settings"])
    for _ in range(5):
        for server, address in ((first, OFFICE), (second, CLOUD)):
            app.extensions["portal.oauth"] = server
            assert radar.ask(address) == 200
            server.uses.write()
            clock.shift(30)
        clock.shift(HOUR)
    assert SHARED in radar.page()


def test_one_use_from_a_new_network_is_marked_for_a_week(clock, radar):
    radar.take_turns(clock, OFFICE, every=2 * DAY)
    assert "New</span>" not in radar.page()
    assert radar.ask(CLOUD) == 200
    clock.shift(300)
    page = radar.page()
    assert page.count("New</span>") == 1
    assert "2 networks, 1 of them new" in page
    assert '<details class="more" open>' in page
    assert "5 minutes ago" in page.partition('"mono">198.51.100.0/24')[2].partition("last used")[0]
    assert "somebody has a copy" in page
    assert not radar.listed()
    clock.shift(8 * DAY)
    assert "New</span>" not in radar.page()


def test_where_a_young_secret_is_used_first_is_not_called_new(clock, radar):
    radar.take_turns(clock, OFFICE, CLOUD, every=DAY)
    assert "Used from 2 networks" in radar.page()
    assert "New</span>" not in radar.page()


def test_a_retired_secret_is_not_told_of(clock, radar):
    radar.take_turns(clock, OFFICE, CLOUD)
    radar.wiki.add_secret()
    old = next(it for it in radar.wiki.live_secrets if it.prefix == radar.secret[:8])
    radar.wiki.retire_secret(old.id)
    assert SHARED not in radar.page()
    assert not radar.listed()


@on_both_engines
def test_the_administrator_may_say_that_these_are_one_applications_servers(clock, radar):
    radar.take_turns(clock, OFFICE, CLOUD)
    address = f"/admin/reuse/{radar.wiki.client_id}"
    assert post(radar.browser, f"{address}/accept", page=radar.url).location == radar.url
    page = radar.page()
    assert SHARED not in page
    assert "alice said <time" in page
    assert "that these are one application’s servers: nobody is told" in page
    assert "Used from 2 networks" in page
    assert not radar.listed()
    radar.take_turns(clock, OFFICE, OTHER, times=1)
    assert "New since you were not told" in radar.page()
    assert post(radar.browser, f"{address}/watch", page=radar.url).status_code == 303
    assert SHARED in radar.page()
    assert radar.listed()
    rows = AuditEvent.select().order_by(AuditEvent.id)
    assert [(row.event, row.actor) for row in rows] == [
        ("application.networks_accepted", "alice"),
        ("application.networks_watched", "alice"),
    ]
    assert json.loads(rows[0].after)["networks"] == ["198.51.100.0/24", "203.0.113.0/24"]


# A secret under another's id


@on_both_engines
def test_a_secret_sent_for_another_application_is_told_on_both_pages(door, radar, bob, alice):
    reports, _ = make_application(bob, name="Reports", grants=[CLIENT_CREDENTIALS])
    for _ in range(3):
        assert radar.ask(CLOUD, client_id=reports.client_id) == 401
    mine = radar.page(f"/admin/applications/{radar.wiki.client_id}")
    assert f"<code>{radar.secret[:8]}…</code> was sent for Reports 3 times" in mine
    assert "198.51.100.0/24" in mine
    assert "Whoever runs Reports has it." in mine
    assert "Reports belongs to Bob, not to Alice." in mine
    assert f'href="/admin/secrets/{reports.client_id}"' in mine
    theirs = radar.page(f"/admin/secrets/{reports.client_id}")
    assert "was sent with this client ID 3 times" in theirs
    assert "Wiki belongs to Alice, not to Bob." in theirs
    for page in (mine, theirs):
        assert radar.secret not in page
    assert radar.listed()
    assert "was sent for Reports 3 times" in radar.page("/admin/reuse")
    # Once the secret is retired its owner need not care; the other one still sends it.
    radar.wiki.add_secret()
    old = next(it for it in radar.wiki.live_secrets if it.prefix == radar.secret[:8])
    radar.wiki.retire_secret(old.id)
    assert "was sent for Reports" not in radar.page()
    assert not radar.listed()
    assert "was sent with this client ID 3 times" in radar.page(
        f"/admin/secrets/{reports.client_id}"
    )


def test_the_notice_goes_when_an_administrator_is_done_and_comes_back_when_it_happens(
    clock, radar, bob
):
    reports, _ = make_application(bob, name="Reports", grants=[CLIENT_CREDENTIALS])
    stranger, _ = make_application(bob, name="Stranger")
    assert radar.ask(CLOUD, client_id=reports.client_id) == 401
    radar.page()
    row = MisusedSecret.get()
    wrong = f"/admin/reuse/{stranger.client_id}/{row.id}/done"
    assert post(radar.browser, wrong, page=radar.url).status_code == 404
    done = f"/admin/reuse/{radar.wiki.client_id}/{row.id}/done"
    assert post(radar.browser, done, page=radar.url).status_code == 303
    assert "was sent for Reports" not in radar.page()
    assert radar.ask(CLOUD, client_id=reports.client_id) == 401
    assert "was sent for Reports 1 time" in radar.page()
    clock.shift(8 * DAY)
    assert "was sent for Reports" not in radar.page()


def test_a_mixed_up_client_id_is_told_from_a_secret_that_got_away(clock, radar, bob):
    reports, _ = make_application(bob, name="Reports", grants=[CLIENT_CREDENTIALS])
    assert radar.ask(OFFICE) == 200
    assert radar.ask(OFFICE, client_id=reports.client_id) == 401
    assert "perhaps only the client ID was mixed up" in radar.page()


def test_the_notice_outlives_the_application_that_was_named(clock, radar, bob):
    reports, _ = make_application(bob, name="Reports", grants=[CLIENT_CREDENTIALS])
    assert radar.ask(CLOUD, client_id=reports.client_id) == 401
    reports.remove()
    assert "was sent for an application that is deleted since" in radar.page()
    radar.wiki.remove()
    assert MisusedSecret.select().count() == SecretNetwork.select().count() == 0


# Splitting


def ticket_of(page: str) -> str:
    tag = next(tag for tag in re.findall(r"<input[^>]*>", page) if 'name="ticket"' in tag)
    return re.search(r'value="([^"]*)"', tag)[1]


def split(radar: Radar, name: str = "Wiki (2)", **fields: str):
    address = f"/admin/reuse/{radar.wiki.client_id}/split"
    fields = {"ticket": ticket_of(radar.browser.get(address).text), "name": name, **fields}
    return post(radar.browser, address, fields), fields


@on_both_engines
def test_the_copy_takes_over_and_the_flag_goes(clock, radar):
    radar.take_turns(clock, OFFICE, CLOUD)
    page = radar.page(f"/admin/reuse/{radar.wiki.client_id}/split")
    assert 'value="Wiki (2)"' in page
    answer, _ = split(radar)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    new = SECRET.search(answer.text)[0]
    clone = Application.get(Application.name == "Wiki (2)")
    assert clone.client_id in answer.text
    assert "198.51.100.0/24" in answer.text
    assert "not used yet. Give its client ID and secret to one of the services" in radar.page()
    for _ in range(3):  # the cloud has changed over
        assert radar.ask(OFFICE) == 200
        assert radar.ask(CLOUD, clone.client_id, new) == 200
        clock.shift(200)
    assert SHARED not in radar.page()
    assert not radar.listed()
    overview = radar.page(f"/admin/applications/{radar.wiki.client_id}")
    assert "Wiki (2)</a> was split from it" in overview
    copy = radar.page(f"/admin/applications/{clone.client_id}")
    assert "Split from <a" in copy
    # Somebody there still has the old one.
    radar.take_turns(clock, OFFICE, CLOUD, times=2)
    assert SHARED in radar.page()


def test_a_copy_has_everything_but_the_trust_and_the_secrets(clock, app, alice, bob):
    radar = Radar(app, alice)
    radar.wiki.change(
        name="Wiki",
        owner=bob,
        grants=[AUTHORIZATION_CODE, "refresh_token"],
        redirect_uris=["https://wiki.example.org/callback"],
        post_logout_redirect_uris=["https://wiki.example.org/"],
        scopes=["openid", "email"],
        require_pkce=False,
        id_token_alg="ES256",
        token_format="jwt",
        subject_type="pairwise",
        trusted=True,
        trust_reason="Ours.",
    )
    answer, _ = split(radar, "Wiki for partners")
    assert "Wiki is trusted, Wiki for partners is not" in answer.text
    clone = Application.get(Application.name == "Wiki for partners")
    wiki = Application.get_by_id(radar.wiki.id)
    for name in [
        "owner",
        "grants",
        "redirect_uris",
        "post_logout_redirect_uris",
        "scopes",
        "confidential",
        "require_pkce",
        "id_token_alg",
        "token_format",
        "subject_type",
        "resources",
        "backchannel_logout_uri",
        "resource_server",
    ]:
        assert getattr(clone, name) == getattr(wiki, name), name
    assert (clone.trusted, clone.trust_reason) == (False, "")
    assert clone.client_id != wiki.client_id
    hashes = {row.hash for row in ApplicationSecret.select()}
    assert len(hashes) == 2
    events = [row.event for row in AuditEvent.select().order_by(AuditEvent.id)]
    assert events == ["application.added", "application.split"]
    told = AuditEvent.get(AuditEvent.event == "application.split")
    assert json.loads(told.after) == {"name": "Wiki for partners", "client_id": clone.client_id}
    assert SECRET.search(answer.text)[0] not in "".join(r.after for r in AuditEvent.select())


def test_a_form_sent_twice_splits_once(clock, radar):
    answer, fields = split(radar)
    assert answer.status_code == 200
    again = post(radar.browser, f"/admin/reuse/{radar.wiki.client_id}/split", fields)
    assert again.status_code == 303
    assert Application.select().count() == 2
    assert 'value="Wiki (3)"' in radar.page(f"/admin/reuse/{radar.wiki.client_id}/split")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "x" * 101}, "Shorten the name to at most 100 characters."),
        ({"name": " "}, "Enter"),
        ({"ticket": "made up"}, "Send it again."),
    ],
)
def test_what_cannot_be_split_is_said_and_nothing_is_made(clock, radar, fields, sentence):
    answer, _ = split(radar, **fields)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert Application.select().count() == 1


def test_a_public_application_is_split_without_a_secret(clock, app, alice):
    radar = Radar(app, alice)
    radar.wiki.change(grants=["authorization_code"], confidential=False)
    answer, _ = split(radar)
    assert answer.status_code == 200
    assert not SECRET.search(answer.text)
    assert Application.get(Application.name == "Wiki (2)").live_secrets == []


def test_splitting_a_service_speaks_of_no_people_and_of_no_notice_that_is_not_there(clock, radar):
    url = f"/admin/reuse/{radar.wiki.client_id}/split"
    assert "<dd>The secrets, and tokens</dd>" in radar.page(url)
    answer, _ = split(radar)
    assert "The notice goes" not in answer.text
    radar.take_turns(clock, OFFICE, CLOUD)
    answer, _ = split(radar, "Wiki again")
    assert "The notice goes" in answer.text


def test_only_administrators_enter(clock, app, radar, bob, browser_of):
    one = f"/admin/reuse/{radar.wiki.client_id}"
    for path in ("/admin/reuse", one, f"{one}/split"):
        assert browser_of(bob).get(path).status_code == 403
        assert app.test_client().get(path).status_code == 303
    for path in (f"{one}/split", f"{one}/accept", f"{one}/watch", f"{one}/1/done"):
        assert post(browser_of(bob), path, page="/account/profile").status_code == 403
        assert radar.browser.post(path).status_code == 400  # without the form's token
    assert radar.browser.get("/admin/reuse/c_nobody/split").status_code == 404
    assert radar.browser.get(one).location == radar.url


def test_a_token_still_costs_one_statement(clock, radar, statements):
    radar.take_turns(clock, OFFICE, CLOUD, times=2)
    with statements() as seen:
        assert radar.ask(OTHER) == 200
    # What is noted is written apart, for many at once.
    apart = ("BEGIN", "COMMIT", "SET LOCAL lock_timeout")
    assert len([sql for sql in seen if not sql.startswith(apart)]) == 1


def test_the_list_finds_reused_secrets_by_their_indexes(clock, radar):
    from portal.database import database
    from portal.reuse import reused

    sql, values = reused(now(), ApplicationSecret.application).sql()
    if "sqlite" not in radar.app.extensions["portal.settings"].database_url:
        pytest.skip("SQLite's plan")
    plan = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert any("secret_network_shared" in step for step in plan), plan
    scans = [step for step in plan if step.startswith("SCAN") and "INDEX" not in step]
    assert scans == [], plan
