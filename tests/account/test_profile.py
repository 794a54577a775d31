"""One's own profile: what is kept, what is refused, and what applications see of it."""

import json

import pytest
import time_machine

from portal.clock import now
from portal.models import OneTimeLink, Throttle, User
from portal.models.throttle import TRIES
from tests.factories import PASSWORD, make_application, make_user, post
from tests.flows import RelyingApp

PAGE = "/account/profile"
#: What a person types, and the claim that it becomes.
EVERYTHING = {
    "name": ("Bob Baker-Lee", "Bob Baker-Lee"),
    "given_name": ("Bob", "Bob"),
    "family_name": ("Baker-Lee", "Baker-Lee"),
    "middle_name": ("Quentin", "Quentin"),
    "nickname": ("Bobby", "Bobby"),
    "profile": ("https://example.org/bob", "https://example.org/bob"),
    "picture": ("https://example.org/bob.png?s=200", "https://example.org/bob.png?s=200"),
    "website": (" https://bob.example.org ", "https://bob.example.org"),
    "gender": ("male", "male"),
    "birthdate": ("1990-04-23", "1990-04-23"),
    "zoneinfo": ("europe/london", "Europe/London"),
    "locale": ("EN_gb", "en-GB"),
    "phone_number": ("+44 (20) 7946-0018", "+442079460018"),
}
ADDRESS = {
    "street_address": "1 High Street\r\n\r\nFlat 2",
    "locality": "Ledbury",
    "region": "Herefordshire",
    "postal_code": "HR8 1AA",
    "country": "United Kingdom",
}


@pytest.fixture
def browser(browser_of, bob):
    return browser_of(bob)


def save(browser, **changes):
    return post(browser, PAGE, {"name": "Bob", "email": "bob@example.org", **changes})


def fresh(user: User) -> User:
    return User.get_by_id(user.id)


class TestWhatIsKept:
    def test_everything_reaches_an_application_that_may_see_it(self, app, browser, bob):
        typed = {claim: text for claim, (text, _) in EVERYTHING.items()}
        assert save(browser, **typed, **ADDRESS).location == PAGE

        scopes = ["openid", "profile", "email", "address", "phone"]
        application, secret = make_application(scopes=scopes)
        relying = RelyingApp(app.test_client(), application, secret)
        token = relying.sign_in(browser, ticked=scopes, scope=" ".join(scopes))
        told = relying.http.get(
            "/oauth/userinfo", headers={"Authorization": f"Bearer {token['access_token']}"}
        ).get_json()

        for claim, (_, value) in EVERYTHING.items():
            assert told[claim] == value, claim
        assert told["address"] == {
            **ADDRESS,
            "street_address": "1 High Street\nFlat 2",
            "formatted": ("1 High Street\nFlat 2\nLedbury\nHerefordshire\nHR8 1AA\nUnited Kingdom"),
        }
        assert told["email_verified"] is False
        assert told["phone_number_verified"] is False
        assert told["updated_at"] == fresh(bob).profile_updated_at >= bob.created_at

    def test_the_page_shows_it_again(self, browser):
        save(browser, **{claim: text for claim, (text, _) in EVERYTHING.items()}, **ADDRESS)

        page = browser.get(PAGE).text
        for claim, (_, value) in EVERYTHING.items():
            assert f'value="{value}"' in page, claim
        assert "1 High Street\nFlat 2</textarea>" in page
        assert '<details class="more" open>' in page
        assert "Your profile is saved." in page

    def test_what_is_emptied_is_gone(self, browser, bob):
        save(browser, nickname="Bobby", phone_number="+442079460018", **ADDRESS)
        empty = {"nickname": "", "phone_number": " ", **dict.fromkeys(ADDRESS, "")}
        save(browser, name="", **empty)

        after = fresh(bob)
        assert (after.name, after.claims) == ("", {})
        assert after.display_name == "bob"

    def test_saving_nothing_new_changes_no_moment(self, browser, bob):
        save(browser)
        assert fresh(bob).profile_updated_at is None

        save(browser, nickname="Bobby")
        assert fresh(bob).profile_updated_at

    def test_only_these_fields_count(self, browser, bob):
        save(browser, is_admin="y", username="eve", sub="x", email_verified="y", profile_="x")

        after = fresh(bob)
        assert (after.is_admin, after.username, after.sub) == (False, "bob", bob.sub)
        assert after.email_verified_at is None

    def test_it_is_in_the_menu(self, browser):
        assert (
            '<a class="menu-item" href="/account/profile">' in browser.get("/account/sessions").text
        )


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("field", "text", "sentence"),
        [
            ("name", "x" * 201, "Shorten the name to at most 200 characters."),
            ("name", "a\0b", "control characters out of the name."),
            ("name", "Wiki\u202eecila", "control characters out of the name."),
            ("name", "\u200b\u200b", "Enter a name that can be seen, or none."),
            ("name", "\u3164 \u2800", "Enter a name that can be seen, or none."),
            ("given_name", "a\tb", "control characters out of the given name."),
            ("nickname", "a\u2028b", "control characters out of the nickname."),
            ("family_name", "x" * 201, "Shorten the family name to at most 200 characters."),
            ("email", "", "Enter an e-mail address."),
            ("email", "bob", "Enter an e-mail address such as"),
            ("email", "bob@example.org\0", "Enter an e-mail address such as"),
            ("email", "bob@exam\x7fple.org", "Enter an e-mail address such as"),
            ("website", "http://example.org", "starts with https:// for the website"),
            ("website", "javascript:alert(1)", "starts with https:// for the website"),
            ("website", "https://", "starts with https:// for the website"),
            ("website", "https://a b.example.org", "starts with https:// for the website"),
            ("website", "https://bank.org@evil.org", "starts with https:// for the website"),
            ("website", "https://[::1", "starts with https:// for the website"),
            ("website", "https://example.org:x", "starts with https:// for the website"),
            ("website", "https://evil.org\\@bank.org", "starts with https:// for the website"),
            ("website", 'https://example.org/"onload=', "starts with https:// for the website"),
            ("picture", "data:image/png;base64,AAAA", "starts with https:// for the picture"),
            ("profile", "//example.org", "starts with https:// for the profile page"),
            ("profile", "https://e.org/" + "x" * 500, "at most 500 characters"),
            ("birthdate", "23.4.1990", "Enter the date of birth as year-month-day"),
            ("birthdate", "1990-4-23", "Enter the date of birth as year-month-day"),
            ("birthdate", "1990-04", "Enter the date of birth as year-month-day"),
            ("birthdate", "١٩٩٠", "Enter the date of birth as year-month-day"),
            ("birthdate", "1990-02-29", "There is no day 1990-02-29"),
            ("birthdate", "0000", "Enter a year of birth"),
            ("birthdate", "9999-01-01", "must not be in the future"),
            ("zoneinfo", "Middle-earth/Shire", "Choose a time zone from the list"),
            ("zoneinfo", "../../etc/passwd", "Choose a time zone from the list"),
            ("locale", "english", "Enter the language as a code"),
            ("locale", "en-GB\0", "Enter the language as a code"),
            ("locale", "-", "Enter the language as a code"),
            ("phone_number", "020 7946 0018", "with its country code"),
            ("phone_number", "+44", "with its country code"),
            ("phone_number", "+4420794600181234", "with its country code"),
            ("phone_number", "+44 20 CALL ME", "with its country code"),
            ("phone_number", "+٤٤٢٠٧٩٤٦٠٠١٨", "with its country code"),
            ("postal_code", "x" * 41, "Shorten the postcode to at most 40 characters."),
            ("street_address", "x" * 501, "Shorten the street address to at most 500"),
            ("street_address", "High\0Street", "control characters out of the street address."),
            ("country", "a\x85b", "control characters out of the country."),
        ],
    )
    def test_it_is_explained_and_nothing_is_lost(self, browser, bob, field, text, sentence):
        typed = {"region": "Kept Region", "gender": "kept", field: text}
        response = save(browser, **typed)

        assert response.status_code == 422
        assert sentence in response.text
        assert "<title>Error: " in response.text
        assert f'href="#{field}"' in response.text
        assert f'aria-describedby="{field}' in response.text or f"{field}-error" in response.text
        assert 'value="Kept Region"' in response.text
        assert fresh(bob).claims == {}
        assert fresh(bob).email == "bob@example.org"

    @pytest.mark.parametrize(
        ("field", "text"),
        [
            ("birthdate", "0000-02-29"),
            ("birthdate", "1990"),
            ("birthdate", "2000-02-29"),
            ("locale", "zh-Hant-TW"),
            ("locale", "cy"),
            ("locale", "ca-ES-valencia"),
            ("zoneinfo", "America/Argentina/Buenos_Aires"),
            ("phone_number", "+15551234567"),
            ("website", "https://bücher.example/ä?q=1#top"),
            ("website", "https://example.org:8443/"),
            ("given_name", "Zoë 👩‍💻 محمد"),
            ("gender", "non-binary"),
        ],
    )
    def test_what_is_odd_but_right_is_kept(self, browser, bob, field, text):
        assert save(browser, **{field: text}).status_code == 303
        assert fresh(bob).claims == {field: text}

    def test_a_wrong_rare_field_is_not_hidden(self, browser):
        assert '<details class="more">' in browser.get(PAGE).text
        assert '<details class="more" open>' in save(browser, birthdate="soon").text

    def test_hostile_text_is_escaped_everywhere(self, browser, browser_of, alice, bob):
        bad = "<script>alert(1)</script>\"'{{7*7}}"
        assert save(browser, name=bad, nickname=bad, street_address=bad).status_code == 303

        pages = (browser.get(PAGE), browser_of(alice).get("/admin/users/bob"))
        for page in (*pages, browser_of(alice).get("/admin/users/bob/edit")):
            assert page.status_code == 200
            assert "<script>alert" not in page.text
            assert "{{7*7}}" in page.text
        assert fresh(bob).claims["nickname"] == bad


class TestTheEmailAddress:
    def test_a_new_one_needs_the_current_password(self, browser, bob):
        response = save(browser, email="new@example.org", nickname="Kept")

        assert response.status_code == 422
        assert "Enter your current password to change your e-mail address." in response.text
        assert 'value="new@example.org"' in response.text
        assert 'value="Kept"' in response.text
        assert fresh(bob).email == "bob@example.org"
        assert fresh(bob).claims == {}

    def test_a_mistake_elsewhere_does_not_swallow_the_password(self, browser, bob):
        fields = {"email": "new@example.org", "website": "nonsense", "current_password": PASSWORD}
        response = save(browser, **fields)
        assert response.status_code == 422
        assert 'href="#website"' in response.text
        assert 'href="#current_password"' in response.text
        assert User.get_by_id(bob.id).email != "new@example.org"

    def test_a_wrong_password_is_not_enough(self, browser, bob):
        response = save(browser, email="new@example.org", current_password="wrong")

        assert response.status_code == 422
        assert "The current password is wrong." in response.text
        assert 'value="wrong"' not in response.text
        assert fresh(bob).email == "bob@example.org"

    def test_it_changes_and_is_not_verified_any_more(self, browser, bob, client):
        User.update(email_verified_at=now(), email_link="x").where(User.id == bob.id).execute()
        OneTimeLink.make(bob)

        answer = save(browser, email="New@example.org", current_password=PASSWORD, nickname="B")

        assert answer.location == PAGE
        after = fresh(bob)
        assert (after.email, after.email_key) == ("New@example.org", "new@example.org")
        assert (after.email_verified_at, after.email_link) == (None, None)
        assert after.claims == {"nickname": "B"}
        assert not OneTimeLink.select().count()
        assert "Your e-mail address is New@example.org now." in browser.get(PAGE).text
        data = {"username": "new@EXAMPLE.org", "password": PASSWORD}
        assert post(client, "/login", data).status_code == 303

    def test_a_verified_one_stays_so_when_something_else_changes(self, browser, bob):
        User.update(email_verified_at=7).where(User.id == bob.id).execute()
        save(browser, name="Robert")
        assert fresh(bob).email_verified_at == 7

    @pytest.mark.parametrize("taken", ["charlie@example.org", "CHARLIE@Example.ORG", "pat@work"])
    def test_it_must_be_nobody_elses(self, browser, bob, charlie, taken):
        make_user("pat@work", email="pat@example.org")
        response = save(browser, email=taken, current_password=PASSWORD)

        assert response.status_code == 422
        assert "Somebody has this e-mail address already." in response.text
        assert fresh(bob).email == "bob@example.org"

    def test_who_has_an_account_is_not_told_without_the_password(self, browser, charlie):
        response = save(browser, email=charlie.email, current_password="wrong")
        assert "Somebody has this" not in response.text

    def test_one_that_is_taken_at_the_same_moment(self, browser, bob, charlie, monkeypatch):
        monkeypatch.setattr(User, "named", classmethod(lambda cls, text: None))
        response = save(browser, email=charlie.email, current_password=PASSWORD, nickname="Kept")

        assert response.status_code == 422
        assert "Somebody has this e-mail address already." in response.text
        assert fresh(bob).claims == {}

    def test_guessing_is_throttled_together_with_the_sign_in_page(self, browser, client, bob):
        with time_machine.travel(bob.session.created_at + 1, tick=False):
            for _ in range(TRIES):
                save(browser, email="new@example.org", current_password="wrong")

            refused = save(browser, email="new@example.org", current_password=PASSWORD)
            assert refused.status_code == 429
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            assert "Too many wrong passwords" in refused.text
            data = {"username": "bob", "password": PASSWORD}
            assert post(client, "/login", data).status_code == 429

    def test_without_mail_nothing_is_offered_or_counted(self, browser):
        page = browser.get(PAGE).text
        assert "Send a link" not in page
        assert "confirmed" not in page
        save(browser, email="new@example.org", current_password=PASSWORD)
        assert not Throttle.select().count()


class TestWhoMay:
    def test_a_stranger_is_sent_to_sign_in_and_back(self, client):
        assert client.get(PAGE).location == "/login?next=%2Faccount%2Fprofile"

    def test_a_stranger_may_not_save(self, client):
        response = post(client, PAGE, {"name": "Eve"}, page="/login")
        assert response.status_code == 303
        assert response.location.startswith("/login")

    def test_saving_needs_the_forms_token(self, browser, bob):
        response = browser.post(PAGE, data={"name": "Eve", "email": bob.email})

        assert response.status_code == 400
        assert fresh(bob).name == "Bob"

    def test_it_is_kept_out_of_caches_and_frames(self, browser):
        headers = browser.get(PAGE).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Frame-Options"] == "DENY"
        assert "form-action 'self'" in headers["Content-Security-Policy"]

    def test_claims_are_text_in_the_database(self, browser, bob):
        save(browser, given_name="Zoë")
        assert json.loads(fresh(bob).profile) == {"given_name": "Zoë"}


@pytest.mark.parametrize("path", ["/account", "/account/"])
def test_the_short_address_leads_to_the_profile(browser_of, bob, path):
    assert browser_of(bob).get(path, follow_redirects=True).request.path == "/account/profile"
