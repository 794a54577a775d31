"""The sign-in page: who gets in, how often one may try, and where one lands."""

import re
from urllib.parse import quote

import pytest
import time_machine

from portal import credentials
from portal.models import Session, Throttle, User
from portal.models.throttle import TRIES
from tests.factories import PASSWORD, csrf_token, make_application, make_user, post

WRONG = "The username or password is wrong."


def log_in(client, username="bob", password=PASSWORD, **more):
    return post(client, "/login", {"username": username, "password": password, **more})


def alert(response) -> str:
    found = re.search(r'role="alert".*?<div>(.*?)</div>', response.text, re.S)
    return found.group(1).strip() if found else ""


def cookie(client) -> str:
    return client.get_cookie("portal_session").value


class TestThePage:
    def test_it_is_a_plain_form_with_the_agreed_names(self, client):
        response = client.get("/login")

        assert response.status_code == 200
        for name in ("username", "password", "csrf_token", "next"):
            assert f'name="{name}"' in response.text
        assert "hx-post" not in response.text
        assert "HX-Request-Type" in response.headers["Vary"]

    def test_its_policy_lets_the_redirect_chain_leave(self, client):
        assert "form-action" not in client.get("/login").headers["Content-Security-Policy"]

    def test_it_says_which_application_comes_next(self, client):
        application, _ = make_application(name="Wiki & <Friends>")
        target = f"/oauth/authorize?client_id={application.client_id}&response_type=code"

        text = client.get("/login?next=" + quote(target)).text

        assert "to continue to <strong>Wiki &amp; &lt;Friends&gt;</strong>" in text

    @pytest.mark.parametrize(
        "target",
        ["/oauth/authorize?client_id=nobody", "/oauth/authorize?client_id=%00", "/oauth/authorize"],
    )
    def test_an_unknown_application_is_not_named(self, client, target):
        response = client.get("/login?next=" + quote(target))

        assert response.status_code == 200
        assert "to continue to" not in response.text

    def test_it_tells_how_to_make_the_first_administrator_while_there_is_none(self, client):
        assert "setup-link" in client.get("/login").text
        make_user("alice", is_admin=True)
        assert "setup-link" not in client.get("/login").text

    def test_hostile_text_is_escaped(self, client, bob):
        response = log_in(client, "<script>alert(1)</script>", "x", next='/"><script>')

        assert "<script>alert" not in response.text
        assert '"><script>' not in response.text


class TestSigningIn:
    @pytest.mark.parametrize(
        "name", ["bob", "BOB", " bob ", "ｂｏｂ", "bob@example.org", "Bob@Example.ORG"]
    )
    def test_a_username_or_an_address_in_any_spelling_works(self, client, bob, name):
        response = log_in(client, name)

        assert response.status_code == 303
        assert client.get("/account/sessions").status_code == 200

    def test_it_notes_the_time_and_the_browser(self, client, bob):
        token = csrf_token(client, "/login")
        data = {"csrf_token": token, "username": "bob", "password": PASSWORD}
        client.post("/login", data=data, headers={"User-Agent": "Firefox/133.0 Linux"})

        assert User.get_by_id(bob.id).last_sign_in_at
        row = Session.get(Session.user_id == bob.id)
        assert (row.browser, row.address) == ("Firefox on Linux", "127.0.0.1")

    def test_the_cookie_changes_so_that_a_planted_one_is_worth_nothing(self, client, app, bob):
        client.get("/login")
        with client.session_transaction() as session:
            session["planted"] = "by mallory"
        planted = cookie(client)
        log_in(client)

        assert cookie(client) != planted
        with client.session_transaction() as session:
            assert "planted" not in session
        other = app.test_client()
        other.set_cookie("portal_session", planted)
        assert other.get("/account/sessions").status_code == 303

    def test_a_planted_live_session_is_not_taken_over(self, client, browser_of, bob, charlie):
        mallory = browser_of(charlie)
        client.set_cookie("portal_session", cookie(mallory))
        post(client, "/login", {"username": "bob", "password": PASSWORD}, "/login?reauth=1")

        assert "charlie@example.org" not in client.get("/account/sessions").text
        assert mallory.get("/account/sessions").status_code == 303

    def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(self, client, bob):
        flags = log_in(client).headers["Set-Cookie"]

        assert "HttpOnly" in flags
        assert "SameSite=Lax" in flags
        assert "Secure" not in flags  # the issuer is http://localhost

    def test_without_a_csrf_token_nothing_happens(self, client, bob):
        response = client.post("/login", data={"username": "bob", "password": PASSWORD})

        assert response.status_code == 400
        assert not Session.of(bob.id)

    def test_a_form_from_before_another_tab_signed_in_goes_on(self, client, bob):
        stale = csrf_token(client, "/login")
        log_in(client)
        data = {"username": "bob", "password": PASSWORD, "next": "/account/sessions"}
        response = client.post("/login", data={"csrf_token": stale, **data})

        assert (response.status_code, response.location) == (303, "/account/sessions")

    def test_a_form_from_before_another_tab_signed_out_can_be_sent_again(self, browser_of, bob):
        browser = browser_of(bob)
        stale = csrf_token(browser, "/login?reauth=1")
        post(browser, "/logout", page="/account/sessions")
        data = {"username": "bob", "password": PASSWORD, "next": "/account/sessions"}
        page = browser.post("/login", data={"csrf_token": stale, **data})

        assert "Sign in again." in alert(page)
        assert 'value="bob"' in page.text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]
        response = browser.post("/login", data={"csrf_token": token, **data})
        assert (response.status_code, response.location) == (303, "/account/sessions")

    def test_an_old_hash_moves_to_todays_parameters(self, client, bob):
        old = credentials.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        User.update(password_hash=old.hash(PASSWORD)).where(User.id == bob.id).execute()

        assert log_in(client).status_code == 303

        moved = User.get_by_id(bob.id).password_hash
        assert "m=19456,t=2,p=1" in moved
        assert log_in(client.application.test_client()).status_code == 303


class TestWhereOneLands:
    def test_administrators_land_at_the_applications(self, client, alice):
        assert log_in(client, "alice").location == "/admin/applications"
        assert client.get("/").location == "/admin/applications"

    def test_others_land_at_their_connected_apps(self, client, bob):
        assert log_in(client).location == "/account/connections"
        assert client.get("/").location == "/account/connections"

    def test_strangers_start_at_the_sign_in_page(self, client):
        assert client.get("/").location == "/login"

    def test_next_is_kept_through_a_mistake(self, client, bob):
        page = "/login?next=" + quote("/oauth/authorize?client_id=x&state=a b")
        target = "/oauth/authorize?client_id=x&amp;state=a b"
        assert f'name="next" value="{target}"' in client.get(page).text

        wrong = log_in(client, password="x", next="/oauth/authorize?client_id=x&state=a b")
        assert f'name="next" value="{target}"' in wrong.text

    def test_it_goes_on_to_next(self, client, bob):
        response = log_in(client, next="/oauth/authorize?client_id=x&state=y")

        assert response.status_code == 303
        assert response.location == "/oauth/authorize?client_id=x&state=y"

    @pytest.mark.parametrize(
        "target",
        [
            "https://evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "evil.example",
            "http:evil.example",
            "http:/evil.example",
            "@evil.example",
            "/x\r\nSet-Cookie: a=b",
            "/\0/evil.example",
            "http://localhost:8000@evil.example/",
        ],
    )
    def test_next_never_leads_to_another_site(self, client, bob, target):
        assert log_in(client, next=target).location == "/account/connections"
        signed_in = client.get("/login", query_string={"next": target})
        assert signed_in.location == "/account/connections"

    def test_whoever_is_signed_in_goes_on_at_once(self, browser_of, bob):
        browser = browser_of(bob)

        assert browser.get("/login").location == "/account/connections"
        target = "/oauth/authorize?client_id=x"
        assert browser.get("/login?next=" + quote(target)).location == target


class TestSigningInAgain:
    def test_the_form_shows_although_one_is_signed_in(self, browser_of, bob):
        response = browser_of(bob).get("/login?reauth=1&next=/device")

        assert response.status_code == 200
        assert 'name="password"' in response.text
        assert "You are signed in as <strong>bob</strong>." in response.text
        assert 'value="bob"' in response.text

    def test_the_application_may_name_somebody_else(self, browser_of, bob):
        page = browser_of(bob).get("/login?reauth=1&login_hint=charlie").text
        assert 'value="charlie"' in page
        assert 'value="bob"' not in page

    def test_a_new_session_replaces_the_old_one(self, browser_of, bob):
        browser = browser_of(bob)
        old = Session.get(Session.user_id == bob.id)

        data = {"username": "bob", "password": PASSWORD, "next": "/device"}
        response = post(browser, "/login", data, "/login?reauth=1")

        assert response.location == "/device"
        assert [row.id != old.id for row in Session.of(bob.id)] == [True]

    def test_a_wrong_password_leaves_the_old_session_alone(self, browser_of, bob):
        browser = browser_of(bob)
        post(browser, "/login", {"username": "bob", "password": "x"}, "/login?reauth=1")

        assert browser.get("/account/sessions").status_code == 200


class TestWrongPasswords:
    def test_every_cause_gives_the_same_answer(self, client, bob):
        make_user("off").disable()
        User.register("fresh", "fresh@example.org")
        answers = []
        for name, password in (
            ("bob", "wrong"),
            ("nobody", "wrong"),
            ("off", PASSWORD),
            ("fresh", ""),
            ("fresh", "wrong"),
            ("x\0y", "wrong\0"),
            ("x" * 5000, "wrong"),
        ):
            response = log_in(client, name, password or " ")
            text = re.sub(r'value="[^"]*"', "", response.text)
            answers.append((response.status_code, alert(response), text))

        assert {(status, text) for status, text, _ in answers} == {(422, WRONG)}
        assert len({page for _, _, page in answers}) == 1

    def test_every_cause_costs_one_password_check(self, client, bob, monkeypatch):
        make_user("off").disable()
        User.register("fresh", "fresh@example.org")
        checks = []
        hasher = credentials._passwords

        class Counting:
            def verify(self, *args):
                checks.append(args)
                return hasher.verify(*args)

            def __getattr__(self, name):
                return getattr(hasher, name)

        monkeypatch.setattr(credentials, "_passwords", Counting())
        for name in ("bob", "nobody", "off", "fresh"):
            log_in(client, name, "wrong")

        assert len(checks) == 4

    @pytest.mark.parametrize("fields", [{"username": ""}, {"password": ""}, {"username": " "}])
    def test_an_empty_field_is_not_a_try(self, client, bob, fields):
        response = log_in(client, **{"username": "bob", "password": "x", **fields})

        assert response.status_code == 422
        assert alert(response) == "Enter your username and your password."
        assert not Throttle.select().count()

    def test_the_title_says_that_there_is_an_error(self, client, bob):
        assert "<title>Error: Sign in" in log_in(client, password="x").text

    def test_the_password_is_never_shown_again(self, client, bob):
        assert "hunter2-wrong" not in log_in(client, password="hunter2-wrong").text


class TestTheThrottle:
    def spend(self, client, name="bob", times=TRIES):
        return [log_in(client, name, "wrong").status_code for _ in range(times)]

    def test_after_ten_wrong_tries_even_the_right_password_waits(self, client, bob):
        with time_machine.travel(1_800_000_000, tick=False) as clock:
            assert self.spend(client) == [422] * TRIES

            refused = log_in(client)
            assert refused.status_code == 429
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            assert alert(refused).startswith("Too many wrong passwords")
            assert 'name="password"' in refused.text
            assert not Session.of(bob.id)

            clock.shift(61)
            assert log_in(client).status_code == 303

    def test_a_right_password_forgives(self, client, bob):
        self.spend(client, times=TRIES - 1)
        assert log_in(client).status_code == 303
        fresh = client.application.test_client()
        assert self.spend(fresh, times=TRIES) == [422] * TRIES

    def test_spelling_does_not_dodge_it(self, client, bob):
        names = ["bob", "BOB", "bob ", "ｂｏｂ", "bob@example.org", "BOB@example.org"] * 2
        codes = [log_in(client, name, "wrong").status_code for name in names]

        assert codes == [422] * TRIES + [429] * (len(names) - TRIES)

    def test_a_new_browser_or_address_does_not_dodge_it(self, app, client, bob):
        self.spend(client)
        other = app.test_client()
        token = csrf_token(other, "/login")
        response = other.post(
            "/login",
            data={"csrf_token": token, "username": "bob", "password": PASSWORD},
            environ_base={"REMOTE_ADDR": "192.0.2.9"},
            headers={"X-Forwarded-For": "203.0.113.7"},
        )

        assert response.status_code == 429

    def test_unknown_names_are_throttled_alike(self, client):
        names = ["nobody", "NOBODY", " nobody"] * 4
        codes = [log_in(client, name, "wrong").status_code for name in names]

        assert codes == [422] * TRIES + [429] * (len(names) - TRIES)

    def test_one_persons_throttle_is_nobody_elses(self, client, bob, charlie):
        self.spend(client)

        assert log_in(client, "charlie").status_code == 303

    def test_what_was_typed_as_a_name_is_not_stored(self, client):
        log_in(client, "my-secret-password", "x")

        assert "my-secret-password" not in Throttle.get().key


class TestSignedInBrowsers:
    def test_a_disabled_persons_sessions_die(self, browser_of, bob):
        browser = browser_of(bob)
        bob.disable()

        assert browser.get("/account/sessions").location.startswith("/login?")
        bob.enable()
        assert browser.get("/account/sessions").status_code == 303

    def test_a_deleted_persons_sessions_die(self, browser_of, bob):
        browser = browser_of(bob)
        bob.remove()

        assert browser.get("/account/sessions").status_code == 303

    def test_a_session_ends_after_a_day_of_silence(self, app, bob):
        from tests.factories import sign_in

        with time_machine.travel(1_800_000_000, tick=False) as clock:
            browser = sign_in(app.test_client(), bob)
            clock.shift(24 * 3600 - 1)
            assert browser.get("/account/sessions").status_code == 200
            clock.shift(24 * 3600)
            assert browser.get("/account/sessions").status_code == 303

    @pytest.mark.parametrize("text", ["", "x", "1", "é", "a" * 43])
    def test_a_made_up_session_is_nobodys(self, client, text):
        with client.session_transaction() as session:
            session["_user_id"] = text

        assert client.get("/account/sessions").status_code == 303

    def test_a_cookie_that_somebody_changed_is_nobodys(self, browser_of, app, bob):
        forged = app.test_client()
        forged.set_cookie("portal_session", cookie(browser_of(bob))[:-3] + "abc")

        assert forged.get("/account/sessions").status_code == 303
