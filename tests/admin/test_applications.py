"""The application pages: who may enter, the list, secrets, refusals, life and death."""

import re
from contextlib import contextmanager
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from portal.clock import now
from portal.database import database
from portal.models import Application, ApplicationSecret, Consent, Refusal, Scope
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from portal.models.concern import SCOPES_UNUSED
from tests.factories import REDIRECT_URI, csrf_token, make_application, make_user, post

LIST = "/admin/applications"
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}
SECRET = re.compile(r"pcs_[A-Za-z0-9_-]{43}")
HOSTILE = '<script>alert("x")</script>'
DAY = 86400

ROUTES = [
    ("GET", ""),
    ("GET", "/new"),
    ("POST", "/new"),
    ("POST", "/preview"),
    ("GET", "/owners"),
    ("GET", "/{id}"),
    ("GET", "/{id}/edit"),
    ("POST", "/{id}/edit"),
    ("POST", "/{id}/rotate-secret"),
    ("POST", "/{id}/secrets/1/retire"),
    ("POST", "/{id}/disable"),
    ("POST", "/{id}/enable"),
    ("GET", "/{id}/delete"),
    ("POST", "/{id}/delete"),
]


@pytest.fixture
def acme(alice):
    application, _ = make_application(alice)
    return application


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


def page_of(application: Application) -> str:
    return f"{LIST}/{application.client_id}"


def send(browser, path, **fields):
    """Post a form with the token that the list carries."""
    token = csrf_token(browser, f"{LIST}/new")
    return browser.post(path, data={"csrf_token": token, **fields})


def names(response) -> list[str]:
    return [unescape(n) for n in re.findall(r'class="name" href="[^"]*">([^<]*)', response.text)]


def link(response, rel: str) -> str | None:
    found = re.search(rf'href="([^"]*)" rel="{rel}"', response.text)
    return unescape(found[1]) if found else None


# Who may enter


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_stranger_is_sent_to_sign_in(client, acme, method, path):
    client.application.config["WTF_CSRF_ENABLED"] = False
    response = client.open(LIST + path.format(id=acme.client_id), method=method)
    assert response.status_code == 303
    assert response.location.startswith("/login?next=")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_charlie_may_not_enter(app, browser_of, charlie, acme, method, path):
    app.config["WTF_CSRF_ENABLED"] = False
    response = browser_of(charlie).open(LIST + path.format(id=acme.client_id), method=method)
    assert response.status_code == 403
    assert acme.name not in response.text
    assert Application.get_by_id(acme.id).is_enabled


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_an_owner_without_rights_may_not_enter_either(app, browser_of, bob, method, path):
    app.config["WTF_CSRF_ENABLED"] = False
    mine, _ = make_application(bob)
    response = browser_of(bob).open(LIST + path.format(id=mine.client_id), method=method)
    assert response.status_code == 403


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "POST"])
def test_a_post_without_the_token_changes_nothing(browser, acme, path):
    response = browser.post(LIST + path.format(id=acme.client_id), data={"name": "Stolen"})
    assert response.status_code == 400
    same = Application.get_by_id(acme.id)
    assert (same.name, same.version) == (acme.name, acme.version)
    assert Application.select().count() == 1


@pytest.mark.parametrize("path", [path for _, path in ROUTES if path.startswith("/{id}")])
@pytest.mark.parametrize("client_id", ["c_nobody", "%00", "..%2f..", "a" * 3000, "%ff", "'--"])
def test_an_unknown_client_id_is_not_found(browser, acme, path, client_id):
    method = "GET" if ("GET", path) in ROUTES else "POST"
    token = csrf_token(browser, f"{LIST}/new")
    response = browser.open(
        LIST + path.replace("{id}", client_id), method=method, data={"csrf_token": token}
    )
    assert response.status_code == 404


def test_htmx_without_a_session_leaves_the_page(client):
    response = client.get(LIST, headers=PARTIAL)
    assert response.status_code == 401
    assert response.headers["HX-Redirect"].startswith("/login")


# The list


@pytest.mark.parametrize("path", ["/admin", "/admin/"])
def test_the_short_address_leads_to_it(browser, acme, path):
    response = browser.get(path, follow_redirects=True)
    assert response.request.path == LIST
    assert acme.name in response.text


def test_the_empty_list_invites_to_add(browser):
    response = browser.get(LIST)
    assert response.status_code == 200
    assert "No applications yet" in response.text
    assert f'href="{LIST}/new"' in response.text


def test_the_list_shows_what_an_operator_wants_to_know(browser, acme):
    text = browser.get(LIST).text
    assert "Acme Reports" in text
    assert "Authorisation Code" in text
    assert "Never" in text
    assert re.search(r'class="button button-primary" href="/admin/applications/new"', text)


def test_htmx_gets_the_table_and_a_browser_the_page(browser, acme):
    page, part = browser.get(LIST), browser.get(LIST, headers=PARTIAL)
    for response in (page, part):
        assert response.status_code == 200
        assert "HX-Request-Type" in response.headers["Vary"]
        assert "Acme Reports" in response.text
    assert "<!doctype html>" in page.text
    assert "<html" not in part.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("wiki", ["Wiki"]),
        ("WIKI", ["Wiki"]),
        ("wi", ["Wiki"]),
        ("iki", ["Wiki"]),
        ("  wiki ", ["Wiki"]),
        ("100%", ["100% Tested"]),
        ("0% ", []),
        ("0% T", ["100% Tested"]),
        ("%", []),
        ("a_b", []),
        ("\\", []),
        ("'", []),
        ("dora", ["100% Tested"]),
        ("dora@example.org", ["100% Tested"]),
        ("Dora", ["100% Tested"]),
        ("nothing", []),
        ("\0wiki", ["Wiki"]),
        ("x" * 5000, []),
        ("Straße", []),
    ],
)
def test_search_finds_names_and_owners_and_nothing_by_wildcard(browser, alice, query, found):
    # Client IDs are searched, too, and random ones may say anything.
    make_application(alice, name="Wiki", client_id="c_1111111111")
    make_application(make_user("dora"), name="100% Tested", client_id="c_2222222222")
    response = browser.get(LIST, query_string={"q": query})
    assert response.status_code == 200
    assert names(response) == found


def test_search_finds_a_client_id(browser, acme):
    make_application(name="Wiki")
    assert names(browser.get(LIST, query_string={"q": acme.client_id[4:]})) == ["Acme Reports"]


def test_a_search_without_match_says_so_and_can_be_cleared(browser, acme):
    response = browser.get(LIST, query_string={"q": HOSTILE})
    assert "No application matches" in response.text
    assert "Clear the search" in response.text
    assert HOSTILE not in response.text


def test_chips_filter_and_count(browser, alice):
    make_application(alice, name="Plain", last_used_at=now())
    make_application(alice, name="Sure", trusted=True, last_used_at=now())
    make_application(alice, name="Phone", confidential=False, last_used_at=now())
    make_application(alice, name="Idle")
    off, _ = make_application(alice, name="Off", last_used_at=now())
    off.disable()
    Refusal.note(off.id, "secret_wrong")  # which is no news of a disabled one
    sick, _ = make_application(alice, name="Sick", last_used_at=now())
    Refusal.note(sick.id, "secret_wrong")
    broken, _ = make_application(alice, name="Broken", last_used_at=now() - DAY)
    Refusal.note(broken.id, "secret_wrong")
    old, _ = make_application(alice, name="Old", last_used_at=now())
    Refusal.note(old.id, "secret_wrong")
    Refusal.update(last_at=now() - DAY - 5).where(Refusal.application_id == old.id).execute()
    Application.update(concerns=SCOPES_UNUSED).where(Application.id == old.id).execute()

    def shown(chip):
        return names(browser.get(LIST, query_string={"chip": chip}))

    assert len(shown("")) == 8
    assert shown("attention") == ["Broken", "Sick"]
    assert shown("broken") == ["Broken"]
    assert shown("trusted") == ["Sure"]
    assert shown("public") == ["Phone"]
    assert shown("never") == ["Idle"]
    assert shown("unused_scopes") == ["Old"]
    assert shown("disabled") == ["Off"]
    assert len(shown("nonsense")) == 8
    text = browser.get(LIST).text
    counts = dict(re.findall(r'id="chip-(\w+)".*?<span>([^<]+)</span>', text))
    assert counts == {
        "all": "8",
        "attention": "2",
        "broken": "1",
        "trusted": "1",
        "public": "1",
        "never": "1",
        "unused_scopes": "1",
        "disabled": "1",
        "orphaned": "0",
    }


def test_a_chip_keeps_the_search_and_the_order(browser, alice):
    make_application(alice, name="Wiki", trusted=True)
    make_application(alice, name="Mail", trusted=True)
    text = browser.get(LIST, query_string={"q": "wiki", "sort": "-name"}).text
    url = unescape(re.search(r'id="chip-trusted" href="([^"]+)"', text)[1])
    assert names(browser.get(url)) == ["Wiki"]
    assert parse_qs(urlsplit(url).query)["sort"] == ["-name"]


def test_counts_stop_at_a_thousand(browser, acme, monkeypatch):
    monkeypatch.setattr("portal.admin.application_filters.MOST_COUNTED", 2)
    for number in range(3):
        make_application(acme.owner, name=f"More {number}")
    assert "2+" in browser.get(LIST).text


@pytest.mark.parametrize("sort", ["name", "-name", "last_used", "-last_used"])
def test_pages_turn_forward_and_back_over_sixty_applications(browser, alice, sort):
    same = now() - 500
    for number in range(60):
        # Equal names and times: the id decides.
        used = 0 if number % 3 == 0 else same + number // 10
        make_application(alice, name=f"Name {number // 4:02}", last_used_at=used)
    rows = list(Application.select())
    by_name = sort.endswith("name")
    key = (lambda a: (a.name_key, a.id)) if by_name else (lambda a: (a.last_used_at, a.id))
    wanted = [a.client_id for a in sorted(rows, key=key, reverse=sort.startswith("-"))]

    def ids(response):
        return re.findall(r'class="name" href="/admin/applications/(c_\w+)"', response.text)

    first = browser.get(LIST, query_string={"sort": sort})
    second = browser.get(link(first, "next"))
    third = browser.get(link(second, "next"))
    assert ids(first) + ids(second) + ids(third) == wanted
    assert "1–25 of 60" in first.text
    assert "26–50 of 60" in second.text
    assert "51–60 of 60" in third.text
    assert link(first, "prev") is None
    assert link(third, "next") is None
    back = browser.get(link(third, "prev"))
    assert ids(back) == ids(second)
    assert "26–50 of 60" in back.text
    start = browser.get(link(back, "prev"))
    assert ids(start) == ids(first)
    assert "1–25 of 60" in start.text
    assert link(start, "prev") is None


@pytest.mark.parametrize(
    "cursor",
    ["x", "W10=", "WzEsMl0=", "bnVsbA==", "WyJhIiwiYiJd", "WyJcdTAwMDAiLCAxXQ==", "é", "[" * 3000,
     "WyJcdWQ4MDAiLCAxXQ==", "WyJhIiwgMTAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDBd"],
)  # fmt: skip
@pytest.mark.parametrize("sort", ["name", "-last_used"])
def test_an_odd_cursor_shows_the_first_page(browser, acme, cursor, sort):
    for name in ("after", "before"):
        address = {name: cursor, "sort": sort, "from": "-7", "chip": "\0"}
        response = browser.get(LIST, query_string=address)
        assert response.status_code == 200
        assert names(response) == ["Acme Reports"]


def test_a_cursor_beyond_the_end_shows_the_first_page(browser, alice):
    for number in range(26):
        make_application(alice, name=f"N{number:02}")
    following = link(browser.get(LIST), "next")
    Application.select().where(Application.name == "N25").get().remove()
    assert len(names(browser.get(following))) == 25


def test_sort_headers_say_their_order(browser, acme):
    assert 'aria-sort="ascending"' in browser.get(LIST).text
    text = browser.get(LIST, query_string={"sort": "-last_used"}).text
    assert 'aria-sort="descending"' in text


@contextmanager
def counted():
    statements = []

    def hook(event):
        statements.append(event.sql)

    database.obj.query_hooks.append(hook)
    try:
        yield statements
    finally:
        database.obj.query_hooks.remove(hook)


def test_the_list_needs_the_same_few_statements_however_long_it_is(browser, alice):
    def statements():
        with counted() as made:
            assert browser.get(LIST).status_code == 200
        return [sql for sql in made if sql.lstrip().upper().startswith("SELECT")]

    few, _ = make_application(alice)
    Refusal.note(few.id, "secret_wrong")
    one = statements()
    for number in range(24):
        application, _ = make_application(make_user(f"owner{number}"), name=f"More {number}")
        Refusal.note(application.id, "redirect_uri_mismatch", f"https://x{number}.example.org")
    many = statements()
    assert len(many) == len(one) <= 5
    assert not any("OFFSET" in sql for sql in many)


def test_the_list_says_what_needs_attention(browser, alice):
    wiki, _ = make_application(alice, name="Wiki")
    mail, _ = make_application(alice, name="Mail")
    for _ in range(12):
        Refusal.note(wiki.id, "redirect_uri_mismatch", "https://a.example.org/")
    Refusal.note(mail.id, "secret_wrong")
    text = browser.get(LIST).text
    assert "12 redirect errors today" in text
    assert "1 client secret error today" in text
    Refusal.update(first_at=now() - 3 * DAY).where(Refusal.application_id == wiki.id).execute()
    text = browser.get(LIST).text
    # The row counts from three days ago: no number can be said for today.
    assert "12 redirect errors" not in text
    assert "Redirect errors today" in text


# The page of one application


def test_the_page_shows_settings_secrets_and_connections(browser, acme, bob):
    Consent.give(bob.id, acme.id, ["openid"], ["openid"])
    text = browser.get(page_of(acme)).text
    for fact in (acme.client_id, REDIRECT_URI, "openid profile email", "1 person connected"):
        assert fact in text
    assert acme.live_secrets[0].prefix in text
    assert not SECRET.search(text)


def test_the_page_of_a_service_speaks_of_no_people(browser, alice):
    robot, _ = make_application(alice, name="Robot", grants=["client_credentials"])
    text = browser.get(page_of(robot)).text
    for about_people in ("connected", "sign-in", "Keeps people signed in", "<dt>Trusted</dt>"):
        assert about_people not in text
    assert "Nobody signs in to it." in text


def test_the_page_is_kept_by_no_cache(browser, acme):
    assert browser.get(page_of(acme)).headers["Cache-Control"] == "no-store"


def test_the_ready_link_and_the_commands_fit_together(browser, alice):
    everything, _ = make_application(
        alice,
        grants=[AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN],
        scopes=["openid", "reports:read"],
    )
    text = unescape(browser.get(page_of(everything)).text)
    asked = parse_qs(re.search(r'href="http://localhost:8000/oauth/authorize\?([^"]+)"', text)[1])
    assert asked["client_id"] == [everything.client_id]
    assert asked["redirect_uri"] == [REDIRECT_URI]
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    verifier = re.search(r"code_verifier=([\w-]{43})", text)[1]
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    digest = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert asked["code_challenge"] == [digest]
    assert f'-u "{everything.client_id}:$CLIENT_SECRET"' in text
    assert "http://localhost:8000/oauth/device_authorization" in text
    assert "scope=reports:read" in text  # nobody signs in: no openid
    for grant in everything.grants:
        assert f"grant_type={grant}" in text


def test_a_public_application_is_tried_without_a_secret(browser, alice):
    public, _ = make_application(alice, confidential=False)
    text = unescape(browser.get(page_of(public)).text)
    assert "$CLIENT_SECRET" not in text
    assert f"client_id={public.client_id}" in text


def test_hostile_text_is_shown_as_text(browser, alice):
    odd, _ = make_application(
        alice,
        name=HOSTILE,
        trusted=True,
        trust_reason=HOSTILE,
        redirect_uris=["https://a.org/'\"><script>"],
    )
    Refusal.note(odd.id, "redirect_uri_mismatch", f"https://evil.example.org/{HOSTILE}")
    Refusal.note(odd.id, "scope_not_allowed", HOSTILE)
    for path in ("", "/edit", "/delete"):
        text = browser.get(page_of(odd) + path).text
        assert HOSTILE not in text
        assert "<script>" not in text
    assert HOSTILE not in browser.get(LIST).text


# Refusals


def test_a_mismatch_shows_sent_and_saved_with_the_difference_marked(browser, acme):
    acme.change(redirect_uris=["https://mail.example.org/", REDIRECT_URI])
    for _ in range(3):
        reference = Refusal.note(acme.id, "redirect_uri_mismatch", REDIRECT_URI + "/")
    text = browser.get(page_of(acme)).text
    assert "Redirect URI does not match" in text
    assert '<mark class="mark">/</mark>' in text
    assert "A trailing slash was added." in text
    assert "3 times" in text
    assert reference in text
    assert "Save this URI" in text


@pytest.mark.parametrize(
    ("sent", "offered"),
    [
        (REDIRECT_URI + "/", True),
        ("https://app.example.org:8443/other", True),
        ("https://evil.example.com/callback", False),
        ("https://app.example.org.evil.com/callback", False),
        ("http://app.example.org/callback", False),
        ("https://app.example.org/#x", False),
        ("https://me@app.example.org/", False),
        ("javascript:alert(1)", False),
        ("https://app.example.org/" + "x" * 600, False),
        ("", False),
    ],
)
def test_only_an_address_on_a_saved_host_is_offered(browser, acme, sent, offered):
    Refusal.note(acme.id, "redirect_uri_mismatch", sent)
    assert ("Save this URI" in browser.get(page_of(acme)).text) is offered
    text = browser.get(f"{page_of(acme)}/edit", query_string={"redirect_uri": sent}).text
    assert ("Anybody can send an address" in text) is offered


def test_a_link_cannot_invent_an_address_to_save(browser, acme):
    evil = "https://app.example.org/evil"
    text = browser.get(f"{page_of(acme)}/edit", query_string={"redirect_uri": evil}).text
    assert evil not in text


def test_an_address_saved_since_is_not_offered_again(browser, acme):
    Refusal.note(acme.id, "redirect_uri_mismatch", REDIRECT_URI)
    text = browser.get(page_of(acme)).text
    assert "It has been saved since." in text
    assert "Save this URI" not in text


def test_every_reason_can_be_shown(browser, acme):
    from portal.oauth.refusals import REASONS

    for code in (*REASONS, "of_a_later_version"):
        Refusal.note(acme.id, code, "detail")
    assert browser.get(page_of(acme)).status_code == 200


# Secrets


def test_rotating_shows_a_new_secret_once_and_keeps_the_old_one(browser, acme):
    response = send(browser, f"{page_of(acme)}/rotate-secret", keep_days=7, seen=acme.version)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    secret = SECRET.search(response.text)[0]
    assert response.text.count(secret) == 1
    assert secret not in str(response.headers)
    assert secret not in browser.get(page_of(acme)).text
    new, old = Application.get_by_id(acme.id).live_secrets
    assert secret.startswith(new.prefix)
    assert new.expires_at is None
    assert abs(old.expires_at - now() - 7 * DAY) < 5


def test_rotating_at_once_stops_the_old_secret(browser, acme):
    send(browser, f"{page_of(acme)}/rotate-secret", keep_days=0)
    assert len(acme.live_secrets) == 1


def test_a_rotation_sent_twice_makes_one_secret(browser, acme):
    path, fields = f"{page_of(acme)}/rotate-secret", {"keep_days": 7, "seen": acme.version}
    send(browser, path, **fields)
    again = send(browser, path, **fields)
    assert again.status_code == 303
    assert len(acme.live_secrets) == 2
    assert "No secret was made" in browser.get(again.location).text


@pytest.mark.parametrize("days", ["-1", "2", "x", "1e9", "", "7 "])
def test_only_the_offered_days_can_be_chosen(browser, acme, days):
    response = send(browser, f"{page_of(acme)}/rotate-secret", keep_days=days)
    assert response.status_code == 422
    assert len(acme.live_secrets) == 1
    assert acme.live_secrets[0].expires_at is None


def test_a_public_application_gets_no_secret(browser, alice):
    public, _ = make_application(alice, confidential=False)
    response = send(browser, f"{page_of(public)}/rotate-secret", keep_days=0)
    assert response.status_code == 422
    assert ApplicationSecret.select().count() == 0


def test_a_secret_is_retired_at_once(browser, acme):
    secret = acme.live_secrets[0]
    response = send(browser, f"{page_of(acme)}/secrets/{secret.id}/retire")
    assert response.status_code == 303
    assert acme.live_secrets == []
    assert "Retired" in browser.get(response.location).text


def test_retiring_asks_first_and_warns_of_the_last_secret(browser, acme):
    warning = "It is the only secret that works"
    page = browser.get(page_of(acme)).text
    assert f'popovertarget="retire-{acme.live_secrets[0].id}"' in page
    assert warning in page
    acme.rotate_secret(keep_seconds=DAY)
    assert warning not in browser.get(page_of(acme)).text


@pytest.mark.parametrize("secret_id", ["0", "1", "9" * 30, "-1", "x", str(2**63)])
def test_an_odd_secret_is_not_found(browser, acme, secret_id):
    assert send(browser, f"{page_of(acme)}/secrets/{secret_id}/retire").status_code == 404


def test_another_applications_secret_is_not_found(browser, acme):
    other, _ = make_application(name="Other")
    path = f"{page_of(acme)}/secrets/{other.live_secrets[0].id}/retire"
    assert send(browser, path).status_code == 404
    assert len(other.live_secrets) == 1


# Life and death


def test_disabling_and_enabling(browser, acme):
    response = send(browser, f"{page_of(acme)}/disable")
    assert response.status_code == 303
    off = Application.get_by_id(acme.id)
    assert not off.is_enabled
    assert off.epoch == acme.epoch + 1
    assert "Disabled" in browser.get(response.location).text
    send(browser, f"{page_of(acme)}/enable")
    on = Application.get_by_id(acme.id)
    assert on.is_enabled
    assert on.epoch == off.epoch  # what was issued before stays dead


def test_disabling_says_first_what_it_ends(browser, browser_of, acme, alice, bob):
    Consent.give(bob.id, acme.id, ["openid"], ["openid"])
    listed = browser.get("/admin/applications").text
    for text in (listed, browser.get(page_of(acme)).text):
        assert f'href="{page_of(acme)}/disable"' in text
        assert f'action="{page_of(acme)}/disable"' not in text
    page = browser.get(f"{page_of(acme)}/disable")
    assert page.status_code == 200
    assert "1 person is connected and loses access at once." in page.text
    assert "no sign-in in the last 30 days" in page.text or "no sign-in since" in page.text
    assert "stays dead" in page.text
    assert Application.get_by_id(acme.id).is_enabled
    send(browser, f"{page_of(acme)}/disable")
    again = browser.get(f"{page_of(acme)}/disable")
    assert again.status_code == 303
    assert "is disabled already" in browser.get(again.location).text
    # Enabling harms nobody and stays one press.
    assert f'action="{page_of(acme)}/enable"' in browser.get("/admin/applications").text


@pytest.mark.parametrize("path", ["enable", "rotate-secret", "secrets/1/retire"])
def test_looking_changes_nothing(browser, acme, path):
    assert browser.get(f"{page_of(acme)}/{path}").status_code == 405


@pytest.mark.parametrize("typed", ["", "acme", "Acme Reports 2", "\0", "x" * 5000])
def test_deleting_needs_the_name(browser, acme, typed):
    response = post(browser, f"{page_of(acme)}/delete", {"confirm_name": typed})
    assert response.status_code == 422
    assert "There is a problem" in response.text
    assert "<title>Error:" in response.text
    assert Application.get_or_none(Application.id == acme.id)


def test_deleting_takes_everything_along(browser, acme, bob):
    Consent.give(bob.id, acme.id, ["openid"], ["openid"])
    Refusal.note(acme.id, "secret_wrong")
    assert "1 person is connected" in browser.get(f"{page_of(acme)}/delete").text
    response = post(browser, f"{page_of(acme)}/delete", {"confirm_name": " acme reports "})
    assert response.status_code == 303
    assert response.location == LIST
    for table in (Application, ApplicationSecret, Consent, Refusal):
        assert table.select().count() == 0
    assert browser.get(page_of(acme)).status_code == 404
    assert Scope.select().count()


def test_requests_with_an_unknown_client_id_are_shown_beside_the_list(browser, client):
    assert "Requests that no application sent" not in browser.get(LIST).text
    data = {"grant_type": "client_credentials", "client_id": "c_typo", "client_secret": "x"}
    client.post("/oauth/token", data=data)
    text = browser.get(LIST).text
    assert "The client ID is unknown" in text
    assert "c_typo" in text
