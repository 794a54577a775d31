"""An owner's own applications: to read, never to change, and nobody else's."""

import re

import pytest

from portal.models import Refusal
from tests.factories import make_application

PAGE = "/account/applications"


@pytest.fixture
def acme(bob):
    return make_application(bob, name="Acme Reports")


def test_an_owner_sees_their_own(browser_of, bob, acme):
    make_application(name="Somebody else's")
    text = browser_of(bob).get(PAGE).text

    assert "Acme Reports" in text
    assert "Somebody else" not in text


def test_owners_find_theirs_at_the_top_of_every_page(browser_of, bob, charlie, acme):
    item = re.compile(r'<li><a href="/account/applications"[^>]*>Your applications</a>')
    assert item.search(browser_of(bob).get("/account/profile").text)
    assert not item.search(browser_of(charlie).get("/account/profile").text)


def test_whoever_owns_none_reads_why(browser_of, charlie):
    assert "You own no applications" in browser_of(charlie).get(PAGE).text


def test_the_page_of_a_service_speaks_of_nobody_connected(browser_of, bob, acme):
    robot, _ = make_application(bob, name="Robot", grants=["client_credentials"])
    pages = [browser_of(bob).get(f"{PAGE}/{it.client_id}").text for it in (robot, acme[0])]
    assert ["people connected" in page for page in pages] == [False, True]


def test_the_page_shows_settings_but_no_secret_and_no_form(browser_of, bob, acme):
    application, secret = acme
    text = browser_of(bob).get(f"{PAGE}/{application.client_id}").text

    assert application.client_id in text
    assert "https://app.example.org/callback" in text
    assert secret[:8] in text
    assert secret not in text
    main = text.split("<main", 1)[1]
    assert "<form" not in main
    assert "/admin/" not in text


def test_recent_refusals_say_what_to_do(browser_of, bob, acme):
    application, _ = acme
    reference = Refusal.note(application.id, "redirect_uri_mismatch", "https://x.org/<b>")
    Refusal.note(application.id, "redirect_uri_mismatch", "https://x.org/<b>")
    Refusal.note(application.id, "a_reason_of_old", "")
    text = browser_of(bob).get(f"{PAGE}/{application.client_id}").text

    assert reference in text
    assert "2 times" in text
    assert "https://x.org/&lt;b&gt;" in text
    assert "a_reason_of_old" in text


def test_a_public_and_disabled_application_says_so(browser_of, bob):
    application, _ = make_application(bob, confidential=False)
    application.disable()
    text = browser_of(bob).get(f"{PAGE}/{application.client_id}").text

    assert "Public client" in text
    assert "This application is disabled" in text


def test_nobody_sees_another_owners(browser_of, charlie, alice, acme):
    application, _ = acme

    assert browser_of(charlie).get(f"{PAGE}/{application.client_id}").status_code == 404
    # Administrators have a page of their own.
    assert browser_of(alice).get(f"{PAGE}/{application.client_id}").status_code == 404


@pytest.mark.parametrize("client_id", ["nobody", "%00", "%ff", "c" * 3000])
def test_an_unknown_application_is_not_found(browser_of, bob, client_id):
    assert browser_of(bob).get(f"{PAGE}/{client_id}").status_code == 404
