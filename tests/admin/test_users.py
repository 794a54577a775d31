"""Admin > People: list, add, disable, rights, one-time links, delete."""

import re
from html import unescape

import pytest

from portal.clock import now
from portal.models import Application, Consent, OneTimeLink, Session, TokenFamily, User
from tests.factories import PASSWORD, csrf_token, make_application, make_user, post

LIST = "/admin/users"
NEW = {"username": "dora", "email": "dora@example.org", "name": "Dora Dean"}
ACTIONS = ("disable", "enable", "make-admin", "remove-admin", "reset-password", "delete")


@pytest.fixture
def admin(browser_of, alice):
    return browser_of(alice)


def act(browser, user, action, data=None):
    """Press a button on a person's page."""
    return post(browser, f"{LIST}/{user.username}/{action}", data, f"{LIST}/{user.username}")


def link_in(response) -> str:
    return re.search(r"http://localhost:8000(/reset/[\w-]{43})", response.text).group(1)


def hidden(text: str, name: str) -> str:
    return unescape(re.search(rf'name="{name}"[^>]*value="([^"]*)"', text)[1])


def names(response) -> list[str]:
    return re.findall(r'<a class="name" href="/admin/users/[^"]+">([^<]+)</a>', response.text)


class TestTheGate:
    @pytest.fixture
    def routes(self, app, bob):
        rules = [r for r in app.url_map.iter_rules() if r.rule.startswith(LIST)]
        assert len(rules) >= 9
        return [
            (method, rule.rule.replace("<username>", "bob"))
            for rule in rules
            for method in rule.methods - {"OPTIONS", "HEAD"}
        ]

    def test_a_stranger_is_sent_to_sign_in(self, client, routes):
        token = csrf_token(client, "/login")
        for method, path in routes:
            response = client.open(path, method=method, data={"csrf_token": token})
            assert response.status_code == 303, (method, path)
            assert response.location.startswith("/login?next=")

    def test_a_person_without_rights_may_nothing(self, browser_of, charlie, routes, bob):
        browser = browser_of(charlie)
        token = csrf_token(browser, "/account/password")
        for method, path in routes:
            data = {"csrf_token": token, "confirm_username": "bob", **NEW}
            response = browser.open(path, method=method, data=data)
            assert response.status_code == 403, (method, path)
        after = User.get_by_id(bob.id)
        assert (after.is_active, after.is_admin) == (True, False)
        assert User.named("dora") is None
        assert not OneTimeLink.select().count()

    def test_even_an_administrator_needs_the_forms_token(self, admin, routes, bob):
        for method, path in routes:
            if method == "POST":
                assert admin.post(path, data={"confirm_username": "bob"}).status_code == 400, path
        assert User.get_by_id(bob.id).is_active

    def test_looking_at_an_action_does_nothing(self, admin, bob):
        for action in set(ACTIONS) - {"delete"}:
            assert admin.get(f"{LIST}/bob/{action}").status_code == 405

    def test_a_htmx_request_without_a_session_leaves_the_page(self, client):
        response = client.get(LIST, headers={"HX-Request-Type": "partial"})

        assert response.status_code == 401
        assert response.headers["HX-Redirect"].startswith("/login")

    def test_rights_end_with_the_next_request(self, admin, alice):
        assert admin.get(LIST).status_code == 200
        alice.set_admin(False)
        assert admin.get(LIST).status_code == 403


class TestTheList:
    def test_it_shows_everybody_by_username(self, admin, bob, charlie):
        User.register("fresh", "fresh@example.org")
        charlie.disable()
        response = admin.get(LIST)

        assert names(response) == ["Alice", "Bob", "Charlie", "fresh"]
        for text in ("Administrator", "Disabled", "No password yet", "1–4 of 4"):
            assert text in response.text

    def test_htmx_gets_the_part(self, admin):
        page = admin.get(LIST)
        part = admin.get(LIST, headers={"HX-Request-Type": "partial"})

        assert "<html" in page.text
        assert "<html" not in part.text
        assert names(part) == ["Alice"]
        for response in (page, part):
            assert "HX-Request-Type" in response.headers["Vary"]

    @pytest.mark.parametrize("query", ["bob", "BOB", "ob@exam", " bob ", "Builder", "bo"])
    def test_search_looks_at_username_address_and_name(self, admin, charlie, query):
        make_user("bob", email="bob@example.com", name="Bob Builder")

        assert names(admin.get(LIST, query_string={"q": query})) == ["Bob Builder"]

    @pytest.mark.parametrize("query", ["%", "_", "\\", "'", "\0", "zzz", "<b>", "x" * 5000])
    def test_odd_searches_find_nobody(self, admin, query):
        response = admin.get(LIST, query_string={"q": query})

        assert response.status_code == 200
        assert names(response) == []
        assert "Nobody matches" in response.text
        assert "<b>’" not in response.text

    def test_chips_filter_and_count(self, admin, bob, charlie):
        charlie.disable()

        assert names(admin.get(f"{LIST}?chip=administrators")) == ["Alice"]
        assert names(admin.get(f"{LIST}?chip=disabled")) == ["Charlie"]
        assert len(names(admin.get(f"{LIST}?chip=unheard-of"))) == 3
        assert re.search(r"Disabled <span>1</span>", admin.get(LIST).text)
        assert "q=bob&amp;chip=disabled" in admin.get(f"{LIST}?q=bob").text

    def test_an_empty_chip_says_so(self, admin):
        assert "Nobody here" in admin.get(f"{LIST}?chip=disabled").text

    def test_fifty_a_page(self, admin):
        for number in range(60):
            User.register(f"p{number:02}", f"p{number:02}@example.org")
        first = admin.get(LIST)
        second = admin.get(f"{LIST}?page=2")

        assert len(names(first)) == 50
        assert "1–50 of 61" in first.text
        assert 'href="/admin/users?page=2"' in first.text
        assert "51–61 of 61" in second.text
        assert 'href="/admin/users"' in second.text
        assert not set(names(first)) & set(names(second))

    @pytest.mark.parametrize("page", ["0", "-1", "x", "9", "²", "9" * 30, "\0", ""])
    def test_odd_page_numbers_show_a_page(self, admin, page):
        response = admin.get(LIST, query_string={"page": page})

        assert names(response) == ["Alice"]

    def test_hostile_names_are_escaped(self, admin):
        make_user("mallory", name='<script>alert("x")</script>')

        for path in (LIST, f"{LIST}/mallory", f"{LIST}/mallory/delete"):
            assert "<script>alert" not in admin.get(path).text


class TestAdding:
    def add(self, browser, **fields):
        return post(browser, f"{LIST}/new", {**NEW, **fields})

    def test_a_person_is_added_and_the_link_is_shown_once(self, admin, client):
        response = self.add(admin)

        assert response.status_code == 201
        assert response.headers["Cache-Control"] == "no-store"
        dora = User.named("dora")
        assert (dora.name, dora.is_admin, dora.password_hash) == ("Dora Dean", False, None)
        link = link_in(response)
        assert "/reset/" not in admin.get(f"{LIST}/dora").text
        assert post(client, "/login", {"username": "dora", "password": "x"}).status_code == 422
        assert "Welcome to Portal" in client.get(link).text
        post(client, link)
        assert post(client, "/reset", {"password": PASSWORD}).status_code == 303
        assert client.get("/account/sessions").status_code == 200

    def test_the_link_is_stored_as_a_hash_and_kept_out_of_cookies(self, admin):
        response = self.add(admin)

        secret = link_in(response).removeprefix("/reset/").encode()
        assert secret not in bytes(OneTimeLink.get().hash)
        assert secret.decode() not in str(response.headers)

    def test_an_administrator_may_be_added(self, admin):
        self.add(admin, is_admin="y")

        assert User.named("dora").is_admin

    def test_fields_that_the_form_does_not_show_are_ignored(self, admin):
        self.add(admin, id="7", sub="mine", password_hash="x", password="y", disabled_at="1")

        dora = User.named("dora")
        assert dora.id != 7
        assert dora.sub != "mine"
        assert dora.password_hash is None
        assert dora.is_active

    def test_sending_the_form_again_adds_nobody(self, admin):
        self.add(admin)

        assert self.add(admin).status_code == 422
        assert User.select().where(User.username_key == "dora").count() == 1

    def test_reloading_the_link_adds_nobody_and_keeps_the_link(self, admin, client):
        form = self.form(admin)
        link = link_in(admin.post(f"{LIST}/new", data=form))
        again = admin.post(f"{LIST}/new", data=form)

        assert again.status_code == 303
        assert again.location == f"{LIST}/dora"
        page = admin.get(again.location).text
        assert "Dora Dean was added already; nobody was added twice." in page
        assert "reset the password if you did not send it" in page
        assert "/reset/" not in page
        assert User.select().where(User.username_key == "dora").count() == 1
        assert client.get(link).status_code == 200

    def test_the_form_of_somebody_who_was_added_adds_another_when_sent_again(self, admin):
        form = self.form(admin)
        admin.post(f"{LIST}/new", data=form)
        form |= {"username": "dan", "email": "dan@example.org"}
        refused = admin.post(f"{LIST}/new", data=form)

        assert refused.status_code == 422
        assert "This page already added dora. Send it again to add another." in refused.text
        assert 'value="dan"' in refused.text
        form["ticket"] = hidden(refused.text, "ticket")
        assert admin.post(f"{LIST}/new", data=form).status_code == 201
        assert User.named("dan").sub != User.named("dora").sub

    def test_a_ticket_belongs_to_one_administrator(self, admin, browser_of):
        form = self.form(admin)
        eve = browser_of(make_user("eve", is_admin=True))
        refused = post(eve, f"{LIST}/new", {**NEW, "ticket": form["ticket"]})

        assert refused.status_code == 422
        assert "The form was changed on its way here. Send it again." in refused.text
        assert User.named("dora") is None

    def form(self, browser) -> dict[str, str]:
        """What the filled-in form sends."""
        text = browser.get(f"{LIST}/new").text
        return {**NEW, **{name: hidden(text, name) for name in ("csrf_token", "ticket")}}

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"username": " "}, "Enter a username."),
            ({"username": "a/b"}, "Use letters a to z"),
            ({"username": ".."}, "Use letters a to z"),
            ({"username": "<b>"}, "Use letters a to z"),
            ({"username": "dora\n"}, None),
            ({"username": "do\nra"}, "Use letters a to z"),
            ({"username": "new"}, "is reserved"),
            ({"username": "ALICE"}, "This username is taken."),
            ({"username": "alice@example.org"}, "This username is taken."),
            ({"email": ""}, "Enter an e-mail address."),
            ({"email": "dora"}, "such as sam@example.org"),
            ({"email": "Alice@Example.org"}, "Somebody has this e-mail address already."),
            ({"name": "x" * 201}, "Shorten the name"),
            ({"name": "a\tb"}, "control characters"),
        ],
    )
    def test_bad_input_is_explained_and_kept(self, admin, fields, sentence):
        response = self.add(admin, **fields)

        if sentence is None:  # white space around a name is nobody's intention
            assert response.status_code == 201
            return
        assert response.status_code == 422
        assert sentence in response.text
        assert "<title>Error: " in response.text
        assert "name" in fields or 'value="Dora Dean"' in response.text
        assert User.select().count() == 1


class TestOnePerson:
    def test_the_page_shows_what_they_own(self, admin, bob):
        make_application(bob, name="Wiki")
        text = admin.get(f"{LIST}/BOB").text

        for fact in ("bob@example.org", "Wiki", bob.sub, "Make administrator"):
            assert fact in text

    @pytest.mark.parametrize("username", ["nobody", "%00", "%ff", "bob@example.org", "b" * 3000])
    def test_an_unknown_person_is_not_found(self, admin, bob, username):
        assert admin.get(f"{LIST}/{username}").status_code == 404
        for action in ACTIONS:
            response = post(admin, f"{LIST}/{username}/{action}", page=LIST)
            assert response.status_code == 404, action

    def test_resetting_shows_a_link_once_and_changes_nothing_yet(self, admin, bob):
        first = link_in(act(admin, bob, "reset-password"))
        response = act(admin, bob, "reset-password")

        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert link_in(response) != first
        assert admin.get(first).status_code == 410
        assert admin.get(link_in(response)).status_code == 200
        assert User.get_by_id(bob.id).password_fits(PASSWORD)

    @pytest.mark.parametrize("page", [LIST, f"{LIST}/bob"])
    def test_reloading_the_link_makes_no_other(self, admin, client, bob, page):
        form = self.button(admin.get(page).text)
        shown = admin.post(f"{LIST}/bob/reset-password", data=form)
        again = admin.post(f"{LIST}/bob/reset-password", data=form)

        assert again.status_code == 303
        assert again.location == f"{LIST}/bob"
        told = admin.get(again.location).text
        assert "a link for Bob was made and shown, once" in told
        assert "Reset the password if you need another" in told
        assert "/reset/" not in told
        assert client.get(link_in(shown)).status_code == 200
        # The button of the page that shows a link makes another, as it says.
        other = admin.post(f"{LIST}/bob/reset-password", data=self.button(shown.text))
        assert client.get(link_in(other)).status_code == 200
        assert client.get(link_in(shown)).status_code == 410

    def test_reloading_makes_no_other_after_the_link_was_used(self, admin, client, bob):
        form = self.button(admin.get(f"{LIST}/bob").text)
        post(client, link_in(admin.post(f"{LIST}/bob/reset-password", data=form)))
        assert post(client, "/reset", {"password": "another good one"}).status_code == 303

        assert admin.post(f"{LIST}/bob/reset-password", data=form).status_code == 303
        assert not OneTimeLink.select().count()

    def button(self, text: str) -> dict[str, str]:
        """What Bob's button to reset the password sends."""
        form = text.split('action="/admin/users/bob/reset-password"')[1].split("</form>")[0]
        return {name: hidden(form, name) for name in ("csrf_token", "seen")}

    def test_a_disabled_person_gets_no_link(self, admin, bob):
        bob.disable()

        assert act(admin, bob, "reset-password").location == f"{LIST}/bob"
        assert "Enable them first" in admin.get(LIST).text
        assert not OneTimeLink.select().count()

    def test_disabling_ends_everything(self, admin, browser_of, bob):
        browser = browser_of(bob)
        application, _ = make_application()
        family = TokenFamily.create(
            application_id=application.id,
            user_id=bob.id,
            epoch=1,
            scopes=["openid"],
            auth_time=now(),
            expires_at=now() + 900,
        )
        OneTimeLink.make(bob)

        assert act(admin, bob, "disable").location == f"{LIST}/bob"

        assert browser.get("/account/sessions").status_code == 303
        assert TokenFamily.get_by_id(family.id).ended_reason == "user"
        assert not OneTimeLink.select().count()
        data = {"username": "bob", "password": PASSWORD}
        assert post(browser, "/login", data).status_code == 422
        assert "is disabled and signed out everywhere" in admin.get(LIST).text

        act(admin, bob, "enable")
        assert post(browser, "/login", data).status_code == 303

    def test_rights_are_given_and_taken(self, admin, browser_of, bob):
        browser = browser_of(bob)
        act(admin, bob, "make-admin")
        assert browser.get(LIST).status_code == 200
        act(admin, bob, "remove-admin")
        assert browser.get(LIST).status_code == 403
        assert browser.get("/account/sessions").status_code == 200


class TestTheLastAdministrator:
    @pytest.mark.parametrize("action", ["disable", "remove-admin", "delete"])
    def test_they_cannot_lock_everybody_out(self, admin, alice, bob, action):
        make_user("off", is_admin=True).disable()
        response = act(admin, alice, action, {"confirm_username": "alice"})

        assert response.status_code == 303
        assert "You are the last administrator." in admin.get(f"{LIST}/alice").text
        after = User.get_by_id(alice.id)
        assert (after.is_admin, after.is_active) == (True, True)

    @pytest.mark.parametrize("action", ["disable", "remove-admin", "delete"])
    def test_one_of_two_may_go(self, admin, alice, action):
        make_user("anna", is_admin=True)
        response = act(admin, alice, action, {"confirm_username": "alice"})

        assert response.status_code == 303
        assert User.administrators() == 1
        assert admin.get(LIST).status_code in (303, 403)

    def test_an_ordinary_person_is_never_the_last(self, admin, bob):
        act(admin, bob, "disable")

        assert not User.get_by_id(bob.id).is_active


class TestDeleting:
    def delete(self, browser, user, confirm="bob", heir=""):
        page = f"{LIST}/{user.username}/delete"
        return post(browser, page, {"confirm_username": confirm, "heir": heir})

    def test_a_person_goes_with_everything_of_theirs(self, admin, browser_of, bob):
        browser = browser_of(bob)
        application, _ = make_application()
        Consent.give(bob.id, application.id, ["email"], ["email"])
        OneTimeLink.make(bob)
        assert "Type the username to confirm" in admin.get(f"{LIST}/bob/delete").text

        assert self.delete(admin, bob).location == LIST

        assert User.named("bob") is None
        assert not Consent.select().count()
        assert not Session.of(bob.id)
        assert not OneTimeLink.select().count()
        assert browser.get("/account/sessions").status_code == 303
        assert "Bob is deleted." in admin.get(LIST).text

    @pytest.mark.parametrize("heir", ["charlie", " CHARLIE@example.org"])
    def test_an_heir_gets_the_applications(self, admin, bob, charlie, heir):
        application, _ = make_application(bob)
        assert "owns 1 application" in admin.get(f"{LIST}/bob/delete").text
        self.delete(admin, bob, heir=heir)

        assert Application.get_by_id(application.id).owner == charlie
        assert "Charlie owns their 1 application now." in admin.get(LIST).text

    @pytest.mark.parametrize(
        ("confirm", "heir", "sentence"),
        [
            ("", "charlie", "Type bob to confirm."),
            ("alice", "charlie", "Type bob to confirm."),
            ("bob@example.org", "charlie", "Type bob to confirm."),
            ("bob", "", "Enter the username or e-mail address of the new owner."),
            ("bob", "nobody", "Nobody has this username"),
            ("bob", "x\0", "Nobody has this username"),
            ("bob", "BOB", "Name somebody else"),
            ("bob", "off", "is disabled"),
        ],
    )
    def test_what_is_missing_is_explained(self, admin, bob, charlie, confirm, heir, sentence):
        make_user("off").disable()
        make_application(bob)
        response = self.delete(admin, bob, confirm, heir)

        assert response.status_code == 422
        assert sentence in response.text
        assert User.named("bob")

    def test_without_applications_no_heir_is_asked_for(self, admin, bob):
        assert "New owner" not in admin.get(f"{LIST}/bob/delete").text

        self.delete(admin, bob, " BOB ", "nobody")
        assert User.named("bob") is None
