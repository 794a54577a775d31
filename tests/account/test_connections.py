"""What each application may do, and taking it away."""

import pytest
import time_machine

from portal.clock import now
from portal.database import database
from portal.models import AccessToken, AuthorizationCode, Consent, DeviceCode, TokenFamily
from portal.models.connection import Connection
from portal.models.scope import Scope
from tests.factories import make_application, make_scope, make_user, post

PAGE = "/account/connections"


def make_family(application, user, scopes=("openid",), **fields):
    defaults = {"epoch": application.epoch, "auth_time": now(), "expires_at": now() + 3600}
    return TokenFamily.create(
        application_id=application.id, user_id=user.id, scopes=scopes, **{**defaults, **fields}
    )


def allow(application, user, *scopes):
    Consent.give(user.id, application.id, list(scopes), list(scopes))


@pytest.fixture
def wiki(app):
    return make_application(make_user("owner", name="Olga Owner"), name="Wiki")[0]


def remove(browser, application, **more):
    return post(browser, f"{PAGE}/{application.client_id}/remove", page=PAGE, **more)


class TestTheList:
    def test_nobody_connected_yet(self, browser_of, bob):
        assert "No connected apps" in browser_of(bob).get(PAGE).text

    def test_it_says_what_in_words_since_when_and_who_runs_it(self, browser_of, bob, wiki):
        make_scope("reports:read", title="Read your reports", sensitive=True)
        with time_machine.travel("2026-11-02T10:00:00Z", tick=False):
            allow(wiki, bob, "openid", "reports:read")
        with time_machine.travel("2026-11-23T10:00:00Z", tick=False):
            make_family(wiki, bob, ["openid"], last_used_at=now() - 240)
            text = browser_of(bob).get(PAGE).text

        assert "Wiki" in text
        assert "Run by Olga Owner" in text
        assert "Sign you in" in text
        assert "Read your reports" in text
        assert "Sensitive" in text
        assert "2 November 2026" in text
        assert "4 minutes ago" in text

    def test_a_consent_without_tokens_was_never_used(self, browser_of, bob, wiki):
        allow(wiki, bob, "email")

        assert "last used: Never" in browser_of(bob).get(PAGE).text

    def test_tokens_that_have_run_out_still_tell_the_last_use(self, bob, wiki):
        allow(wiki, bob, "email")
        make_family(wiki, bob, ["profile"], expires_at=now() - 1, last_used_at=1_700_000_000)
        (it,) = Connection.of(bob.id)

        assert (it.last_used_at, it.scopes) == (1_700_000_000, {"email"})

    def test_trusted_applications_and_devices_are_listed_without_a_consent(self, browser_of, bob):
        trusted, _ = make_application(name="HR Connect", trusted=True)
        make_family(trusted, bob, ["email"])

        text = browser_of(bob).get(PAGE).text
        assert "HR Connect" in text
        assert "Trusted" in text
        assert "See your e-mail address" in text

    @pytest.mark.parametrize(
        "fields", [{"ended_at": 1}, {"expires_at": 1}, {"epoch": 0}], ids=["ended", "old", "epoch"]
    )
    def test_dead_tokens_alone_are_no_connection(self, bob, wiki, fields):
        make_family(wiki, bob, **fields)

        assert Connection.of(bob.id) == []

    def test_a_consent_to_nothing_is_no_connection(self, bob, wiki):
        allow(wiki, bob)

        assert Connection.of(bob.id) == []

    def test_scopes_of_all_tokens_add_up(self, bob, wiki):
        first = make_family(wiki, bob, ["openid"], created_at=100, last_used_at=500)
        make_family(wiki, bob, ["email"], created_at=200, last_used_at=400)
        make_family(wiki, bob, ["phone"], ended_at=1, created_at=1, last_used_at=900)
        (it,) = Connection.of(bob.id)

        assert it.scopes == {"openid", "email"}
        assert (it.since, it.last_used_at) == (first.created_at, 900)

    def test_the_latest_used_comes_first(self, bob):
        for name, used in (("One", 10), ("Two", 30), ("Three", 20)):
            make_family(make_application(name=name)[0], bob, last_used_at=used)

        names = [it.application.name for it in Connection.of(bob.id)]
        assert names == ["Two", "Three", "One"]

    def test_other_peoples_connections_are_not_shown(self, browser_of, bob, charlie, wiki):
        allow(wiki, bob, "email")
        make_family(wiki, bob)

        assert "Wiki" not in browser_of(charlie).get(PAGE).text

    def test_a_disabled_application_is_marked(self, browser_of, bob, wiki):
        allow(wiki, bob, "email")
        wiki.disable()

        assert "Disabled" in browser_of(bob).get(PAGE).text

    def test_a_scope_that_left_the_catalogue_is_not_a_problem(self, browser_of, bob, wiki):
        make_family(wiki, bob, ["gone:for-good"])

        assert browser_of(bob).get(PAGE).status_code == 200

    def test_hostile_names_are_escaped(self, browser_of, bob):
        application, _ = make_application(name="<script>alert(1)</script>")
        allow(application, bob, "email")

        assert "<script>alert" not in browser_of(bob).get(PAGE).text

    def test_the_number_of_statements_does_not_grow(self, browser_of, bob):
        browser, statements = browser_of(bob), []

        def count():
            statements.clear()
            database.obj.query_hooks = [lambda *args: statements.append(args)]
            try:
                assert browser.get(PAGE).status_code == 200
            finally:
                database.obj.query_hooks = []
            return len(statements)

        def connect(number):
            application, _ = make_application(name=f"App {number}")
            allow(application, bob, "email")
            make_family(application, bob)

        if not hasattr(database.obj, "query_hooks"):
            pytest.skip("this Peewee has no query hooks")
        connect(1)
        few = count()
        for number in range(2, 12):
            connect(number)
        assert count() == few


class TestRemoving:
    def test_everything_issued_is_dead_at_once(self, browser_of, bob, wiki):
        allow(wiki, bob, "email")
        family = make_family(wiki, bob)
        token = AccessToken.create(
            hash=b"x",
            application_id=wiki.id,
            epoch=wiki.epoch,
            family_id=family.id,
            user_id=bob.id,
            scopes=["openid"],
            created_at=now(),
            expires_at=now() + 900,
        )
        code = AuthorizationCode.create(
            hash=b"y",
            application_id=wiki.id,
            epoch=wiki.epoch,
            user_id=bob.id,
            scopes=["openid"],
            auth_time=now(),
            expires_at=now() + 60,
        )
        device, _ = DeviceCode.start(wiki.id, wiki.epoch, ["openid"], 600)
        device.decide(bob.id, now(), 1, ["openid"])
        browser = browser_of(bob)

        response = remove(browser, wiki)

        assert (response.status_code, response.location) == (303, PAGE)
        assert TokenFamily.get_by_id(family.id).ended_reason == "withdrawn"
        # An access token lives no longer than its family.
        assert AccessToken.get_by_id(token.id).family_id == family.id
        assert AuthorizationCode.get_by_id(code.id).used_at or not AuthorizationCode.get_or_none(
            AuthorizationCode.id == code.id
        )
        assert DeviceCode.get_by_id(device.id).used_at
        assert not Consent.select().count()
        text = browser.get(PAGE).text
        assert "Wiki can no longer use your account." in text
        assert "No connected apps" in text

    def test_the_form_is_on_the_page_and_works_without_scripts(self, browser_of, bob, wiki):
        allow(wiki, bob, "email")

        text = browser_of(bob).get(PAGE).text
        assert f'method="post" action="{PAGE}/{wiki.client_id}/remove"' in text
        assert "Remove Wiki?" in text

    def test_other_peoples_and_other_applications_tokens_live_on(self, browser_of, bob, charlie):
        wiki, other = make_application(name="Wiki")[0], make_application(name="Other")[0]
        for application, user in ((wiki, bob), (wiki, charlie), (other, bob)):
            allow(application, user, "email")
            make_family(application, user)
        remove(browser_of(bob), wiki)

        assert [it.application.name for it in Connection.of(bob.id)] == ["Other"]
        assert [it.application.name for it in Connection.of(charlie.id)] == ["Wiki"]

    def test_removing_twice_is_harmless(self, browser_of, bob, wiki):
        browser = browser_of(bob)
        allow(wiki, bob, "email")
        remove(browser, wiki)

        assert remove(browser, wiki).status_code == 303
        assert "had no access" in browser.get(PAGE).text

    @pytest.mark.parametrize("client_id", ["nobody", "%00", "%ff", "'", "c" * 3000])
    def test_an_unknown_application_is_not_found(self, browser_of, bob, client_id):
        response = post(browser_of(bob), f"{PAGE}/{client_id}/remove", page=PAGE)

        assert response.status_code == 404

    def test_without_the_token_nothing_is_removed(self, browser_of, bob, wiki):
        allow(wiki, bob, "email")

        response = browser_of(bob).post(f"{PAGE}/{wiki.client_id}/remove")
        assert response.status_code == 400
        assert Consent.select().count() == 1


def test_scopes_are_described_in_the_catalogues_order(app):
    it = Connection(1, {"email", "openid", "unheard:of"})

    assert [scope.name for scope in it.described(Scope.catalogue())] == ["openid", "email"]
