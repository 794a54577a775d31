"""Add and edit an application: what is refused, what is kept, the secret once."""

import re
from html import unescape

import pytest

from portal.database import database
from portal.models import Application, ApplicationSecret, Consent
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from tests.factories import REDIRECT_URI, make_application, make_scope, make_user, save_anyway

NEW = "/admin/applications/new"
SECRET = re.compile(r"pcs_[A-Za-z0-9_-]{43}")
HOSTILE = '"><script>alert(1)</script>'
GOOD = {
    "name": "Wiki",
    "owner": "alice",
    "grants": [AUTHORIZATION_CODE],
    "redirect_uris": REDIRECT_URI,
    "scopes": ["openid", "email"],
    "confidential": "y",
    "require_pkce": ["", "y"],
    "refresh_tokens": "y",
}
TRUST = {"trusted": "y", "trust_reason": "We run it.", "trust_confirm": "Wiki"}


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


def hidden(text: str, name: str) -> str:
    return unescape(re.search(rf'name="{name}"[^>]*value="([^"]*)"', text)[1])


def add(browser, **changes):
    """Send the Add form as a browser does."""
    text = browser.get(NEW).text
    ticket = {"csrf_token": hidden(text, "csrf_token"), "ticket": hidden(text, "ticket")}
    fields = {**ticket, **GOOD, **changes}
    return browser.post(NEW, data={k: v for k, v in fields.items() if v is not None})


def edit(browser, application, **changes):
    """Send the Edit form with everything that the page held."""
    path = f"/admin/applications/{application.client_id}/edit"
    text = browser.get(path).text
    kept = {
        "csrf_token": hidden(text, "csrf_token"),
        "seen": hidden(text, "seen"),
        "name": application.name,
        "owner": application.owner.username,
        "grants": [g for g in application.grants if g != REFRESH_TOKEN],
        "redirect_uris": "\n".join(application.redirect_uris),
        "scopes": application.scopes,
        "confidential": "y" if application.confidential else None,
        "require_pkce": ["", "y"],
        "trusted": "y" if application.trusted else None,
        "trust_reason": application.trust_reason,
        "refresh_tokens": "y" if REFRESH_TOKEN in application.grants else None,
    }
    fields = {**kept, **changes}
    sent = browser.post(path, data={k: v for k, v in fields.items() if v is not None})
    return save_anyway(browser, sent)


def errors(response) -> str:
    """The error summary's words."""
    found = re.search(r'class="summary".*?</div>', response.text, re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", " ", found[0])) if found else ""


def only() -> Application:
    return Application.select().get()


# Add


def test_the_form_offers_flows_and_scopes_in_plain_words(browser, alice):
    make_scope("reports:read")
    text = browser.get(NEW).text
    for words in (
        "People sign in through their browser.",
        "A service acts as itself",
        "For televisions, terminals and kiosks.",
        "See your e-mail address",
        "Read your reports",
        "Skips the consent page",
    ):
        assert words in text
    assert 'value="alice"' in text


def test_adding_shows_the_client_id_and_the_secret_once(browser):
    response = add(browser)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    application = only()
    secret = SECRET.search(response.text)[0]
    assert response.text.count(secret) == 1
    assert application.client_id in response.text
    assert application.live_secrets[0].prefix == secret[:8]
    assert secret not in str(response.headers)
    page = browser.get(f"/admin/applications/{application.client_id}")
    assert not SECRET.search(page.text)
    assert secret[:8] in page.text


def test_the_secret_is_stored_nowhere_in_clear(browser, tmp_path):
    secret = SECRET.search(add(browser).text)[0]
    if database.obj.__class__.__name__ == "SqliteDatabase":
        stored = b"".join(p.read_bytes() for p in tmp_path.iterdir() if p.is_file())
        assert secret.encode() not in stored
        assert secret[12:].encode() not in stored
    row = ApplicationSecret.get()
    assert len(bytes(row.hash)) == 32


def test_what_was_typed_is_what_is_saved(browser, bob):
    make_scope("reports:read")
    add(
        browser,
        name="  Team Wiki ",
        owner=" BOB@example.org ",
        grants=[DEVICE_CODE, AUTHORIZATION_CODE, CLIENT_CREDENTIALS],
        redirect_uris=f" {REDIRECT_URI} \r\n\r\nhttp://localhost:9000/cb\r\n{REDIRECT_URI}",
        post_logout_redirect_uris="https://app.example.org/bye",
        scopes=["reports:read", "openid"],
        resource_server="y",
    )
    made = only()
    assert made.name == "Team Wiki"
    assert made.owner == bob
    assert set(made.grants) == {AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN}
    assert made.redirect_uris == [REDIRECT_URI, "http://localhost:9000/cb"]
    assert made.post_logout_redirect_uris == ["https://app.example.org/bye"]
    assert set(made.scopes) == {"openid", "reports:read"}
    assert made.resource_server
    assert made.require_pkce
    assert not made.trusted


@pytest.mark.parametrize("owner", ["alice", "ALICE", "alice@example.org", "Alice", " alice "])
def test_plain_text_finds_the_owner(browser, alice, owner):
    add(browser, owner=owner)
    assert only().owner == alice


def test_a_public_application_has_no_secret(browser):
    response = add(browser, confidential=None)
    assert response.status_code == 303
    assert ApplicationSecret.select().count() == 0
    assert not only().confidential
    assert "Wiki was added." in browser.get(response.location).text


def test_pkce_stays_on_when_a_form_leaves_it_out(browser):
    add(browser, require_pkce=None)
    assert only().require_pkce


def test_pkce_is_switched_off_for_a_confidential_one_only(browser):
    response = add(browser, require_pkce="")
    assert response.status_code == 200
    assert not only().require_pkce
    assert "Without PKCE a stolen code can be used" in response.text
    refused = add(browser, require_pkce="", confidential=None)
    assert "always needs PKCE" in errors(refused)


def test_scopes_about_people_are_pointed_out_where_nobody_signs_in(browser):
    told = "No token will have openid, email: that is about a person"
    alone = add(browser, grants=[CLIENT_CREDENTIALS], scopes=["openid", "public", "email"])
    assert told in alone.text
    assert told in browser.get(f"/admin/applications/{only().client_id}").text
    assert told not in add(browser, name="Two", grants=[CLIENT_CREDENTIALS], scopes=["public"]).text
    both = [CLIENT_CREDENTIALS, AUTHORIZATION_CODE]
    assert told not in add(browser, name="Three", grants=both).text


def test_a_hidden_field_does_not_count(browser):
    add(browser, grants=[CLIENT_CREDENTIALS], redirect_uris="not an address", scopes=[])
    made = only()
    assert made.redirect_uris == []
    assert REFRESH_TOKEN not in made.grants


REFUSED = [
    ({"name": None}, "Enter a name"),
    ({"name": "  "}, "Enter a name"),
    ({"name": "x" * 101}, "Shorten the name"),
    ({"name": "Wi\0ki"}, "invisible characters"),
    ({"name": "Wi\u202eki"}, "invisible characters"),
    *[
        ({"name": name}, "that can be seen")
        for name in ("\u200b", "\xad", "\u2800 \u3164", "\u0301")
    ],
    ({"owner": None}, "Enter the owner"),
    ({"owner": ""}, "Enter the owner"),
    ({"owner": "nobody"}, "Nobody here is called nobody"),
    ({"owner": "ali\0ce"}, "Nobody here is called"),
    ({"owner": "x" * 9000}, "Nobody here is called"),
    ({"owner": "%"}, "Nobody here is called"),
    ({"grants": None}, "Choose at least one grant flow"),
    ({"grants": ["password"]}, "There is no grant flow 'password'"),
    ({"grants": [AUTHORIZATION_CODE, "implicit"]}, "There is no grant flow 'implicit'"),
    ({"grants": [REFRESH_TOKEN]}, "Choose at least one grant flow"),
    ({"redirect_uris": ""}, "Enter at least one redirect URI"),
    ({"redirect_uris": None}, "Enter at least one redirect URI"),
    ({"redirect_uris": "http://a.example.org/"}, "Start it with https://"),
    ({"redirect_uris": f"{REDIRECT_URI}\njavascript:alert(1)"}, "Use https:// instead"),
    ({"redirect_uris": "/callback"}, "Write the whole address"),
    ({"redirect_uris": "https://a.example.org/#x"}, "Remove the #"),
    ({"redirect_uris": "https://me@a.example.org/"}, "Remove the user name"),
    ({"redirect_uris": "https://*.example.org/"}, "Remove the *"),
    ({"redirect_uris": "https://a.example.org/a b"}, "no spaces"),
    ({"redirect_uris": "com.example.app:/cb"}, "untick Confidential"),
    ({"redirect_uris": "\n".join(f"https://a.org/{n}" for n in range(51))}, "at most 50"),
    ({"post_logout_redirect_uris": "ftp://a.example.org"}, "Start it with https://"),
    ({"scopes": ["root"]}, "Not in the catalogue: root"),
    ({"scopes": ["openid", "<b>"]}, "Not in the catalogue: <b>"),
    ({"confidential": None, "grants": [CLIENT_CREDENTIALS]}, "cannot keep"),
    ({"confidential": None, "resource_server": "y"}, "proves who it is with a secret"),
    ({**TRUST, "trust_reason": ""}, "Say why"),
    ({**TRUST, "trust_reason": "x" * 501}, "Shorten the reason"),
    ({**TRUST, "trust_confirm": ""}, "to confirm that you trust it"),
    ({**TRUST, "trust_confirm": "Wikipedia"}, "to confirm that you trust it"),
    (
        {**TRUST, "confidential": None, "redirect_uris": "http://127.0.0.1/cb"},
        "cannot be trusted",
    ),
    (
        {**TRUST, "confidential": None, "redirect_uris": "com.example.app:/cb"},
        "cannot be trusted",
    ),
    ({"ticket": "forged"}, "The form was changed on its way"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_a_bad_form_says_what_to_change_and_keeps_what_was_typed(browser, changes, words):
    kept = {"name": "Kept name"} if "name" not in changes and "trusted" not in changes else {}
    response = add(browser, **kept, **changes)
    assert response.status_code == 422
    assert "There is a problem" in response.text
    assert "<title>Error: Add application" in response.text
    assert words in errors(response)
    assert Application.select().count() == 0
    if kept:
        assert 'value="Kept name"' in response.text
    text = unescape(response.text)
    for name in ("redirect_uris", "trust_reason"):
        assert (changes.get(name) or "").strip() in text.replace("\r\n", "\n")
    assert "<b>" not in response.text


def test_a_bad_field_is_named_where_it_stands(browser):
    text = add(browser, redirect_uris="http://a.example.org/").text
    assert 'href="#redirect_uris"' in text
    assert re.search(r'id="redirect_uris"[^>]*|aria-invalid="true"', text)
    assert 'aria-describedby="redirect_uris-hint redirect_uris-error"' in text
    assert 'href="#grants-0"' in add(browser, grants=None).text


def test_each_bad_address_has_a_line_of_its_own(browser):
    bad = [f"http://{number}.example.org/" for number in range(22)]
    lines = errors(add(browser, redirect_uris="\n".join(bad[:10]))).split("\n")
    for uri in bad[:10]:
        assert sum(line.strip().startswith(f"{uri}: Start it with") for line in lines) == 1
    assert "more problem" not in "\n".join(lines)
    assert "And 2 more problems." in errors(add(browser, redirect_uris="\n".join(bad)))


def test_the_ticked_boxes_stay_ticked(browser):
    text = add(browser, name="", scopes=["email"], grants=[DEVICE_CODE]).text
    assert re.search(r'value="email"[^>]*checked', text)
    assert not re.search(r'value="openid"[^>]*checked', text)
    assert re.search(rf'value="{DEVICE_CODE}"[^>]*checked', text)
    assert not re.search(r'value="authorization_code"[^>]*checked', text)


def test_hostile_text_comes_back_as_text(browser):
    fields = ("name", "owner", "redirect_uris", "trust_reason", "post_logout_redirect_uris")
    response = add(browser, **dict.fromkeys(fields, HOSTILE), trusted="y")
    assert response.status_code == 422
    assert "<script>alert" not in response.text


def test_several_people_of_one_name_are_not_guessed(browser):
    make_user("sam1", name="Sam Lee")
    make_user("sam2", name="Sam Lee")
    assert "Several people are called Sam Lee" in errors(add(browser, owner="Sam Lee"))


def test_a_disabled_person_cannot_become_an_owner(browser, bob):
    bob.disable()
    assert "is disabled" in errors(add(browser, owner="bob"))


def test_fields_that_are_no_fields_are_ignored(browser, alice):
    forged = {
        "client_id": "mine",
        "id": "1",
        "version": "99",
        "epoch": "99",
        "disabled_at": "1",
        "last_used_at": "1",
        "created_at": "1",
        "name_key": "x",
        "owner_id": "1",
        "secret": "known",
    }
    assert add(browser, **forged).status_code == 200
    made = only()
    assert made.client_id.startswith("c_")
    assert (made.version, made.epoch) != (99, 99)
    assert made.disabled_at is None
    assert made.last_used_at == 0
    assert made.name_key == "wiki"
    edit(browser, made, **forged)
    assert only().client_id == made.client_id
    assert only().version != 99


def test_a_form_sent_twice_adds_one_application(browser):
    text = browser.get(NEW).text
    fields = {name: hidden(text, name) for name in ("csrf_token", "ticket")}
    first = browser.post(NEW, data={**GOOD, **fields})
    again = browser.post(NEW, data={**GOOD, **fields})
    assert first.status_code == 200
    assert again.status_code == 303
    assert Application.select().count() == 1
    assert ApplicationSecret.select().count() == 1
    page = browser.get(again.location).text
    assert "nothing was added twice" in page
    assert not SECRET.search(page)
    other = browser.post(NEW, data={**GOOD, **fields, "name": "Another"})
    assert other.status_code == 422
    assert "already added Wiki" in errors(other)
    assert 'value="Another"' in other.text
    fields["ticket"] = hidden(other.text, "ticket")
    assert browser.post(NEW, data={**GOOD, **fields, "name": "Another"}).status_code == 200


def test_a_ticket_belongs_to_one_administrator(browser, browser_of):
    ticket = hidden(browser.get(NEW).text, "ticket")
    eve = browser_of(make_user("eve", is_admin=True))
    assert add(eve, ticket=ticket).status_code == 422


# Trust


def test_trust_needs_a_reason_and_the_name(browser):
    add(browser, **{**TRUST, "trust_confirm": " wiki "})
    made = only()
    assert made.trusted
    assert made.trust_reason == "We run it."


def test_a_confidential_application_on_loopback_is_trusted_with_a_warning(browser):
    response = add(browser, **TRUST, redirect_uris="http://localhost:9000/cb")
    assert response.status_code == 200
    assert only().trusted
    assert "Trust it only while you develop" in response.text


def test_a_reason_without_trust_is_not_kept(browser):
    add(browser, trust_reason="Just because")
    assert only().trust_reason == ""


def test_an_application_that_is_trusted_need_not_be_confirmed_again(browser, alice):
    sure, _ = make_application(alice, trusted=True, trust_reason="We run it.")
    assert edit(browser, sure, scopes=["openid"]).status_code == 303
    assert only().trusted
    assert edit(browser, only(), trusted=None).status_code == 303
    assert not only().trusted


# Edit


def test_the_form_is_filled_in(browser, alice):
    acme, _ = make_application(alice, post_logout_redirect_uris=["https://app.example.org/bye"])
    text = browser.get(f"/admin/applications/{acme.client_id}/edit").text
    assert 'value="Acme Reports"' in text
    assert REDIRECT_URI in text
    assert "https://app.example.org/bye" in text
    assert re.search(r'name="refresh_tokens"[^>]*checked', text)
    assert re.search(r'name="require_pkce"[^>]*value="y"[^>]*checked', text)
    assert "Save changes" in text


def test_changes_are_saved_and_everything_else_stays(browser, alice, bob):
    acme, _ = make_application(alice)
    Consent.give(bob.id, acme.id, ["openid"], ["openid"])
    response = edit(browser, acme, name="Acme 2", owner="bob", scopes=["openid"])
    assert response.status_code == 303
    changed = only()
    assert (changed.name, changed.name_key) == ("Acme 2", "acme 2")
    assert changed.owner == bob
    assert changed.scopes == ["openid"]
    assert changed.grants == acme.grants
    assert changed.client_id == acme.client_id
    assert changed.version > acme.version
    assert len(changed.live_secrets) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "Enter a name"),
        ({"redirect_uris": "x"}, "Write the whole address"),
        ({"trusted": "y", "trust_reason": "yes"}, "to confirm that you trust it"),
        ({"owner": "nobody"}, "Nobody here is called"),
    ],
)
def test_a_bad_change_changes_nothing(browser, alice, changes, words):
    acme, _ = make_application(alice)
    response = edit(browser, acme, **changes)
    assert response.status_code == 422
    assert words in errors(response)
    assert only().version == acme.version


def test_an_owner_who_is_disabled_by_now_may_stay(browser, bob):
    acme, _ = make_application(bob)
    bob.disable()
    assert edit(browser, acme, name="New name").status_code == 303


def test_a_secret_dies_when_the_application_becomes_public(browser, alice):
    acme, _ = make_application(alice)
    edit(browser, acme, confidential=None)
    assert only().live_secrets == []


def test_two_who_edit_do_not_overwrite_each_other_unseen(browser, alice):
    acme, _ = make_application(alice)
    seen = acme.version
    acme.change(name="By another")
    response = edit(browser, acme, seen=seen, name="By me")
    assert response.status_code == 422
    assert "changed by somebody else" in errors(response)
    assert 'value="By me"' in response.text
    assert only().name == "By another"
    again = edit(browser, acme, seen=hidden(response.text, "seen"), name="By me")
    assert again.status_code == 303
    assert only().name == "By me"


@pytest.mark.parametrize("seen", ["0", "-1", "x", "9" * 40, "\0"])
def test_an_odd_version_changes_nothing(browser, alice, seen):
    acme, _ = make_application(alice)
    assert edit(browser, acme, seen=seen, name="Other").status_code == 422
    assert only().name == acme.name


# Parts


def test_the_preview_shows_what_people_will_see(browser, alice):
    text = browser.get(NEW).text
    token = hidden(text, "csrf_token")
    response = browser.post(
        "/admin/applications/preview",
        data={**GOOD, "csrf_token": token, "name": HOSTILE},
        headers={"HX-Request-Type": "partial"},
    )
    assert response.status_code == 200
    assert "asks for access to your account" in response.text
    assert "See your e-mail address" in response.text
    assert "<html" not in response.text
    assert HOSTILE not in response.text
    assert Application.select().count() == 0


def test_the_preview_warns_while_the_form_is_filled_in(browser):
    token = hidden(browser.get(NEW).text, "csrf_token")
    fields = {**GOOD, **TRUST, "redirect_uris": "http://localhost/cb", "csrf_token": token}
    response = browser.post("/admin/applications/preview", data=fields)
    assert "Trust it only while you develop" in response.text


@pytest.mark.parametrize("query", ["bo", "BOB", "bob@ex", "Bob"])
def test_the_owner_box_finds_people(browser, bob, query):
    response = browser.get("/admin/applications/owners", query_string={"owner": query})
    assert 'data-value="bob"' in response.text
    assert "<html" not in response.text


@pytest.mark.parametrize("query", ["", " ", "\0", "\u3000", "%", "_", "zzz", "x" * 5000])
def test_the_owner_box_offers_nobody_for_nothing(browser, bob, query):
    response = browser.get("/admin/applications/owners", query_string={"owner": query})
    assert response.status_code == 200
    assert "data-value" not in response.text
    # And says so, once there is something to find.
    assert ("Nobody who can sign in" in response.text) is (query not in ("", " ", "\0", "\u3000"))


def test_the_owner_box_leaves_disabled_people_out(browser, bob):
    bob.disable()
    assert "bob" not in browser.get("/admin/applications/owners?owner=bob").text
