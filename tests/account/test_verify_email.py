"""Confirming one's e-mail address: the letter, the link, and everybody who may not use it."""

import re
from dataclasses import replace
from urllib.parse import quote

import pytest
import time_machine

from portal.account.verify_email import LINK_SECONDS
from portal.clock import now
from portal.credentials import make_secret
from portal.models import OneTimeLink, User
from portal.models.throttle import TRIES
from tests.factories import PASSWORD, csrf_token, make_application, make_user, post, sign_in
from tests.flows import RelyingApp
from tests.mail_server import running_mail_server

PROFILE = "/account/profile"
SEND = "/account/verify-email"
SENDER = "Portal <login@example.org>"


@pytest.fixture
def server():
    with running_mail_server() as running:
        yield running


@pytest.fixture
def settings(settings, server):
    return replace(settings, smtp_url=server.url, mail_from=SENDER)


@pytest.fixture
def browser(browser_of, bob):
    return browser_of(bob)


def ask(browser):
    """Press "Send a link" on the profile."""
    return post(browser, SEND, page=PROFILE)


def link_in(server) -> str:
    return re.search(r"http://localhost:8000(/account/verify-email/\S+)", server.text)[1]


def confirm(browser, link: str):
    """Press the button of the link's page, or send what it would."""
    return browser.post(link, data={"csrf_token": csrf_token(browser, PROFILE)})


def fresh(user: User) -> User:
    return User.get_by_id(user.id)


class TestTheWholeWay:
    def test_from_the_button_to_the_application(self, app, browser, bob, server):
        page = browser.get(PROFILE).text
        assert "Confirm bob@example.org" in page
        assert "Not confirmed yet." in page

        assert ask(browser).location == PROFILE
        assert "A link is on its way to bob@example.org." in browser.get(PROFILE).text
        link = link_in(server)
        looked = browser.get(link)
        assert looked.status_code == 200
        assert "bob@example.org" in looked.text
        assert fresh(bob).email_verified_at is None

        assert post(browser, link).location == PROFILE
        page = browser.get(PROFILE).text
        assert "Your e-mail address bob@example.org is confirmed." in page
        assert "Send a link" not in page
        assert "Confirmed on " in page
        assert fresh(bob).email_verified_at

        application, secret = make_application()
        relying = RelyingApp(app.test_client(), application, secret)
        token = relying.sign_in(browser, scope="openid email")["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        told = relying.http.get("/oauth/userinfo", headers=headers).get_json()
        assert (told["email"], told["email_verified"]) == ("bob@example.org", True)

    def test_the_letter(self, browser, server):
        ask(browser)
        (got,) = server.letters
        assert (got.sender, got.recipients) == ("login@example.org", ["bob@example.org"])
        assert got.message["Subject"] == "Confirm your e-mail address"
        assert got.message.get_content_type() == "text/plain"
        text = server.text
        assert text.startswith("Hello bob,")
        assert "http://localhost:8000:" in text
        assert "within 1 day" in text

    def test_the_letter_has_no_words_of_the_persons_choice(self, browser, bob, server):
        User.update(name="Win a prize at evil.example").where(User.id == bob.id).execute()
        ask(browser)
        assert "evil" not in server.letters[0].message.as_string()

    def test_the_link_works_once(self, browser, bob, server):
        ask(browser)
        link = link_in(server)
        confirm(browser, link)
        User.update(email_verified_at=None).where(User.id == bob.id).execute()

        assert confirm(browser, link).status_code == 410
        assert browser.get(link).status_code == 410
        assert fresh(bob).email_verified_at is None

    def test_opening_it_again_says_that_all_is_well(self, browser, server):
        ask(browser)
        confirm(browser, link_in(server))
        response = browser.get(link_in(server))
        assert response.status_code == 410
        assert "bob@example.org is confirmed: there is nothing left to do." in response.text

    def test_looking_often_uses_nothing_up(self, browser, bob, server):
        ask(browser)
        for _ in range(3):
            assert browser.get(link_in(server)).status_code == 200
        assert browser.head(link_in(server)).status_code == 200
        assert confirm(browser, link_in(server)).status_code == 303

    def test_a_newer_link_replaces_it(self, browser, server, bob):
        with time_machine.travel(now(), tick=False) as clock:
            ask(browser)
            former = link_in(server)
            clock.shift(2)
            ask(browser)
            assert link_in(server) != former
            assert confirm(browser, former).status_code == 410
            assert fresh(bob).email_verified_at is None
            assert confirm(browser, link_in(server)).status_code == 303

    def test_it_lasts_a_day(self, browser, bob, server):
        with time_machine.travel(now(), tick=False) as clock:
            ask(browser)
            clock.shift(LINK_SECONDS - 1)
            sign_in(browser, bob)
            assert browser.get(link_in(server)).status_code == 200
            clock.shift(2)
            assert confirm(browser, link_in(server)).status_code == 410
        assert fresh(bob).email_verified_at is None

    def test_a_password_change_leaves_it_alone(self, browser, bob, server):
        ask(browser)
        bob.set_password("another long passphrase")
        OneTimeLink.make(bob)
        assert confirm(browser, link_in(server)).status_code == 303

    def test_the_link_shows_no_address_and_the_database_no_link(self, browser, bob, server):
        ask(browser)
        token = link_in(server).rpartition("/")[2]
        assert "bob" not in token
        assert fresh(bob).email_link not in (None, token)
        assert token not in str(fresh(bob).__data__)


class TestWhoseLinkItIs:
    def test_another_address_kills_it(self, browser, bob, server):
        ask(browser)
        link = link_in(server)
        change = {"name": "Bob", "current_password": PASSWORD}
        post(browser, PROFILE, {**change, "email": "victim@example.org"})
        assert confirm(browser, link).status_code == 410
        assert fresh(bob).email_verified_at is None

        post(browser, PROFILE, {**change, "email": "bob@example.org"})
        assert confirm(browser, link).status_code == 410
        assert fresh(bob).email_verified_at is None

    def test_another_person_cannot_use_it(self, browser, browser_of, bob, charlie, server):
        ask(browser)
        other = browser_of(charlie)
        looked = other.get(link_in(server))
        assert looked.status_code == 403
        assert "This link is for somebody else" in looked.text
        assert "bob" not in re.sub(r'value="[^"]*"', "", looked.text)

        assert confirm(other, link_in(server)).status_code == 403
        assert fresh(bob).email_verified_at is None
        assert fresh(charlie).email_verified_at is None
        assert confirm(browser, link_in(server)).status_code == 303

    def test_not_you_comes_back_to_the_link(self, browser, browser_of, charlie, server):
        ask(browser)
        link = link_in(server)
        looked = browser_of(charlie).get(link)
        assert f'name="next" value="{link}"' in looked.text

    def test_a_stranger_signs_in_first_and_comes_back(self, browser, client, bob, server):
        ask(browser)
        link = link_in(server)
        login = client.get(link).location
        assert login == "/login?next=" + quote(link, safe="")

        back = post(client, login, {"username": "bob", "password": PASSWORD})
        assert back.location == link
        assert confirm(client, link).status_code == 303

    def test_a_stranger_cannot_use_it(self, browser, client, bob, server):
        ask(browser)
        response = post(client, link_in(server), page="/login")
        assert response.location.startswith("/login")
        assert fresh(bob).email_verified_at is None

    def test_using_it_needs_the_pages_token(self, browser, bob, server):
        ask(browser)
        assert browser.post(link_in(server)).status_code == 400
        assert browser.post(SEND).status_code == 400
        assert fresh(bob).email_verified_at is None
        assert len(server.letters) == 1

    @pytest.mark.parametrize("token", ["x", "a.b.c", "..", "%00", "é", "x" * 5000, "W10.a.b"])
    def test_a_link_that_nobody_made(self, browser, bob, token):
        assert browser.get(f"{SEND}/{token}").status_code == 410
        assert confirm(browser, f"{SEND}/{token}").status_code == 410
        assert fresh(bob).email_verified_at is None

    def test_a_link_with_one_letter_changed(self, browser, bob, server):
        ask(browser)
        link = link_in(server)
        for place in (len(SEND) + 3, len(link) // 2, len(link) - 3):
            other = "A" if link[place] != "A" else "B"
            changed = link[:place] + other + link[place + 1 :]
            assert confirm(browser, changed).status_code == 410
        assert fresh(bob).email_verified_at is None

    def test_it_sets_no_password_and_a_password_link_confirms_nothing(self, browser, bob, server):
        ask(browser)
        token = link_in(server).rpartition("/")[2]
        assert browser.get(f"/reset/{token}").status_code == 410
        assert browser.get(f"{SEND}/{OneTimeLink.make(bob)}").status_code == 410
        assert browser.get(f"{SEND}/{make_secret()}").status_code == 410


class TestSending:
    def test_it_is_throttled(self, browser, bob, server):
        with time_machine.travel(bob.session.created_at + 1, tick=False) as clock:
            for _ in range(TRIES):
                assert ask(browser).status_code == 303
            refused = ask(browser)
            assert refused.status_code == 429
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            assert len(server.letters) == TRIES
            clock.shift(61)
            assert ask(browser).status_code == 303

    def test_changing_the_address_counts_too(self, browser, bob, server):
        with time_machine.travel(bob.session.created_at + 1, tick=False):
            for _ in range(TRIES):
                ask(browser)
            change = {"email": "victim@example.org", "current_password": PASSWORD}
            response = post(browser, PROFILE, change)
            assert response.status_code == 429
            assert 0 < int(response.headers["Retry-After"]) <= 60
            assert "changed too often" in response.text
            assert fresh(bob).email == "bob@example.org"
            assert len(server.letters) == TRIES

    def test_a_confirmed_address_gets_no_letter(self, browser, bob, server):
        token = csrf_token(browser, PROFILE)
        User.update(email_verified_at=7).where(User.id == bob.id).execute()
        assert browser.post(SEND, data={"csrf_token": token}).location == PROFILE
        assert "is confirmed already" in browser.get(PROFILE).text
        assert not server.letters

    def test_a_failure_is_said_and_nothing_secret_is_logged(self, browser, server, caplog):
        server.refuses["RCPT"] = "550 no such person"
        assert ask(browser).location == PROFILE
        page = browser.get(PROFILE).text
        assert "The e-mail could not be sent. Try again later" in page
        assert "on its way" not in page
        assert "refused the recipient (550)" in caplog.text
        assert "verify-email" not in caplog.text
        assert "bob@" not in caplog.text

    def test_an_address_that_no_mail_can_reach(self, browser_of, server):
        for address in ("zoë@example.org", "a" * 64 + "@" + "x" * 189, "a@[x", "a@é.\u00ad"):
            odd = make_user(f"odd{len(address)}{ord(address[0])}", email=address)
            browser = browser_of(odd)
            assert ask(browser).status_code == 303
            assert browser.get(PROFILE).status_code == 200

    def test_looking_sends_nothing(self, browser, server):
        assert browser.get(SEND).status_code == 405
        assert not server.letters


class TestTheFormerAddress:
    def test_it_is_told(self, browser, bob, server):
        change = {"name": "Bob", "email": "new@example.org", "current_password": PASSWORD}
        assert post(browser, PROFILE, change).status_code == 303

        (got,) = server.letters
        assert got.recipients == ["bob@example.org"]
        assert got.message["Subject"] == "Your e-mail address was changed"
        assert server.text.startswith("Hello bob,")
        assert "If you did not, somebody else knows your password." in server.text
        assert "new@example.org" not in server.text

    def test_other_changes_send_nothing(self, browser, server):
        post(browser, PROFILE, {"name": "Robert", "email": "bob@example.org"})
        post(browser, PROFILE, {"email": "new@example.org", "current_password": "wrong"})
        assert not server.letters

    def test_a_failure_does_not_undo_the_change(self, browser, bob, server, caplog):
        server.refuses["MAIL"] = "451 later"
        change = {"name": "Bob", "email": "new@example.org", "current_password": PASSWORD}
        assert post(browser, PROFILE, change).status_code == 303
        assert fresh(bob).email == "new@example.org"
        assert "the former address of bob was not told" in caplog.text


class TestWithoutMail:
    @pytest.fixture
    def settings(self, settings):
        return replace(settings, smtp_url="", mail_from="")

    def test_there_is_no_button_and_no_way(self, browser):
        assert "Send a link" not in browser.get(PROFILE).text
        assert ask(browser).status_code == 404
