"""The browsers in which a person is signed in."""

import pytest

from portal.models import Session
from tests.factories import post, sign_in

PAGE = "/account/sessions"


def end(browser, session_id):
    return post(browser, f"{PAGE}/{session_id}/end", page=PAGE)


def test_it_lists_them_and_marks_this_one(browser_of, bob):
    bob.start_session("192.0.2.7", "Mozilla/5.0 (iPhone) Version/18.0 Safari/604.1")
    text = browser_of(bob).get(PAGE).text

    assert "Safari on iPhone" in text
    assert "From 192.0.2.7" in text
    assert text.count("This browser") == 1


def test_other_peoples_are_not_listed(browser_of, bob, charlie):
    bob.start_session("192.0.2.7", "x")

    assert "192.0.2.7" not in browser_of(charlie).get(PAGE).text


def test_ending_one_signs_that_browser_out(app, browser_of, bob):
    here, there = browser_of(bob), sign_in(app.test_client(), bob)

    assert end(here, bob.session.id).location == PAGE
    assert there.get(PAGE).status_code == 303
    assert here.get(PAGE).status_code == 200


def test_ending_this_one_signs_out(browser_of, bob):
    browser = browser_of(bob)

    assert end(browser, bob.session.id).location == "/login"
    assert browser.get(PAGE).status_code == 303
    assert not Session.of(bob.id)


def test_somebody_elses_cannot_be_ended(browser_of, bob, charlie):
    browser_of(bob)

    assert end(browser_of(charlie), bob.session.id).status_code == 404
    assert len(Session.of(bob.id)) == 1


@pytest.mark.parametrize("odd", ["0", "-1", "x", "1e9", str(2**63), "9" * 400, "%00"])
def test_odd_numbers_are_not_found(browser_of, bob, odd):
    assert end(browser_of(bob), odd).status_code == 404


def test_ending_the_others_keeps_this_one(browser_of, bob, charlie):
    here, there, elsewhere = browser_of(bob), browser_of(bob), browser_of(charlie)
    response = post(here, f"{PAGE}/end-others", page=PAGE)

    assert response.location == PAGE
    assert "Signed out of 1 other browser." in here.get(PAGE).text
    assert there.get(PAGE).status_code == 303
    assert elsewhere.get(PAGE).status_code == 200
    post(here, f"{PAGE}/end-others", page=PAGE)
    assert "signed in nowhere else" in here.get(PAGE).text


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
            "Firefox on Linux",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/131.0 Safari/537.36 Edg/131.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/131.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605.1.15 Version/18.1"
            " Safari/605.1.15",
            "Safari on macOS",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) CriOS/131.0 Safari/604.1",
            "Chrome on iPad",
        ),
        ("Mozilla/5.0 (X11; CrOS x86_64) Chrome/131.0 Safari/537.36", "Chrome on ChromeOS"),
        ("curl/8.5.0", "curl"),
        ("Something (Linux)", "A browser on Linux"),
        ("", "Unknown browser"),
        ("<script>", "Unknown browser"),
    ],
)
def test_browsers_are_named_in_words(user_agent, words):
    assert Session(user_agent=user_agent).browser == words


def test_what_a_browser_says_of_itself_is_cut_and_clean(bob):
    bob.start_session("x" * 100, "a\0" * 1000)

    row = Session.get_by_id(bob.session.id)
    assert (len(row.address), "\0" in row.user_agent) == (64, False)
    assert len(row.user_agent) <= 256


def test_signing_out_everywhere_ends_this_browser_too(browser_of, bob):
    here, there = browser_of(bob), browser_of(bob)

    response = post(here, f"{PAGE}/end-all", page=PAGE)

    assert response.location == "/login"
    for browser in (here, there):
        assert browser.get(PAGE).location.startswith("/login")
    assert Session.select().count() == 0
