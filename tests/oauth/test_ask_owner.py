"""Tell the owner: one press for whoever is stopped, one notice an hour, and nothing learned."""

import time
from dataclasses import replace

import pytest
import time_machine

from portal.models import Refusal
from tests.factories import REDIRECT_URI, make_application
from tests.flows import RelyingApp
from tests.mail_server import running_mail_server

SLASH = REDIRECT_URI + "/"
TOLD = "The owner has been told"
OWN = "/account/applications"


@pytest.fixture
def acme(app, bob) -> RelyingApp:
    """Bob's application; Bob is no administrator."""
    application, secret = make_application(bob)
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def mail(app):
    """The portal mails; yields the mail server."""
    with running_mail_server() as server:
        settings = app.extensions["portal.settings"]
        app.extensions["portal.settings"] = replace(
            settings, smtp_url=server.url, mail_from="portal@example.org"
        )
        yield server


def press(browser, acme, sent=SLASH):
    """Meet the refusal in this browser and press the button on its page."""
    text = acme.authorize(browser, redirect_uri=sent).text
    token = text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    action = text.split('<form method="post" action="/oauth/ask_owner', 1)[1].split('"', 1)[0]
    return browser.post(f"/oauth/ask_owner{action}", data={"csrf_token": token})


def ask(client, acme, reference: str):
    text = acme.authorize(client, redirect_uri=SLASH).text
    token = text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    return client.post(f"/oauth/ask_owner/{reference}", data={"csrf_token": token})


def test_somebody_who_is_signed_out_tells_the_owner(client, acme, browser_of, bob):
    response = press(client, acme)
    assert response.status_code == 303
    page = client.get(response.location).text
    assert TOLD in page
    assert bob.username not in page
    reference = Refusal.get().reference
    own = f"{OWN}/{acme.client_id}/refusals/{reference}"
    browser = browser_of(bob)
    for where in (OWN, f"{OWN}/{acme.client_id}"):
        assert "Somebody could not get into Acme Reports" in browser.get(where).text
        assert own in browser.get(where).text
    text = browser.get(own).text
    assert "A trailing slash was added." in text
    assert "Change your app" in text
    assert "<form" not in text.split("<main", 1)[1]
    assert "/admin/" not in text.split("<main", 1)[1]


def test_administrators_see_who_waits(client, acme, browser_of, alice):
    assert "Waiting for help" not in browser_of(alice).get("/admin/doctor").text
    press(client, acme)
    text = browser_of(alice).get("/admin/doctor").text
    assert "Waiting for help" in text
    assert "Somebody asked for help" in text


def test_the_notice_goes_when_the_address_is_registered(client, acme, browser_of, bob, alice):
    press(client, acme)
    acme.application.change(redirect_uris=[REDIRECT_URI, SLASH])
    assert "Somebody could not" not in browser_of(bob).get(OWN).text
    assert "Waiting for help" not in browser_of(alice).get("/admin/doctor").text


def test_an_administrator_takes_the_notice_away(client, acme, browser_of, bob, alice):
    from tests.factories import post

    press(client, acme)
    page = f"/admin/doctor/{Refusal.get().reference}"
    assert post(browser_of(alice), f"{page}/done", page=page).status_code == 303
    assert "Somebody could not" not in browser_of(bob).get(OWN).text


def test_the_notice_goes_after_a_week(client, acme, browser_of, bob):
    press(client, acme)
    Refusal.update(told_at=int(time.time()) - 8 * 86400).execute()
    assert "Somebody could not" not in browser_of(bob).get(OWN).text


def test_the_owner_gets_one_mail_an_hour_however_often_it_is_pressed(client, mail, acme, bob):
    for _ in range(5):
        press(client, acme)
    assert len(mail.letters) == 1
    (letter,) = mail.letters
    assert letter.recipients == [bob.email]
    reference = Refusal.get().reference
    assert f"{OWN}/{acme.client_id}/refusals/{reference}" in mail.text
    # Nothing that a stranger chose is mailed to anybody.
    assert SLASH not in mail.text
    with time_machine.travel(time.time() + 3601, tick=False):
        press(client, acme)
    assert len(mail.letters) == 2


def test_an_owner_who_is_an_administrator_is_led_to_the_doctor(client, mail, app, alice):
    application, _ = make_application(alice, name="Wiki")
    press(client, RelyingApp(client, application))
    assert f"/admin/doctor/{Refusal.get().reference}" in mail.text


def test_a_flood_of_addresses_is_few_mails(app, mail, acme):
    for n in range(9):
        press(app.test_client(), acme, f"{SLASH}{n}")
    assert len(mail.letters) == 5
    assert Refusal.select().where(Refusal.told_at.is_null(False)).count() == 9


def test_a_mail_server_that_is_away_is_not_the_persons_trouble(app, client, acme):
    settings = app.extensions["portal.settings"]
    away = replace(settings, smtp_url="smtp://127.0.0.1:9", mail_from="portal@example.org")
    app.extensions["portal.settings"] = away
    assert press(client, acme).location == "/oauth/ask_owner"
    assert Refusal.get().told_at


@pytest.mark.parametrize("reference", ["BCDFGHJK", "%00", "x" * 3000, "ü"])
def test_an_unknown_reference_gets_the_same_answer(client, acme, reference):
    response = ask(client, acme, reference)
    assert (response.status_code, response.location) == (303, "/oauth/ask_owner")
    assert Refusal.get().told_at is None


def test_a_refusal_of_nobody_has_no_button_and_tells_nobody(client, acme):
    text = acme.authorize(client, client_id="c_nobody").text
    assert "Tell the owner" not in text
    reference = Refusal.note(None, "client_unknown")
    ask(client, acme, reference)
    assert Refusal.with_reference(reference).told_at is None


def test_pressing_is_throttled(client, acme):
    answers = [press(client, acme).status_code for _ in range(11)]
    assert answers == [303] * 10 + [429]


def test_the_button_needs_the_pages_token(client, acme):
    acme.authorize(client, redirect_uri=SLASH)
    reference = Refusal.get().reference
    assert client.post(f"/oauth/ask_owner/{reference}").status_code == 400
    assert client.get(f"/oauth/ask_owner/{reference}").status_code in (404, 405)
    assert Refusal.get().told_at is None


def test_a_refusal_is_shown_to_its_owner_alone(client, acme, other, browser_of, bob, charlie):
    press(client, acme)
    reference = Refusal.get().reference
    page = f"{OWN}/{acme.client_id}/refusals"
    assert browser_of(charlie).get(f"{page}/{reference}").status_code == 404
    assert browser_of(bob).get(f"{page}/BCDFGHJK").status_code == 404
    foreign = Refusal.note(other.application.id, "redirect_uri_mismatch", SLASH)
    assert browser_of(bob).get(f"{page}/{foreign}").status_code == 404
    assert client.get(f"{page}/{reference}").location.startswith("/login?")


def test_the_page_of_the_refusal_shows_no_registered_address(client, acme):
    text = acme.authorize(client, redirect_uri="https://evil.example.com/").text
    assert "Tell the owner" in text
    assert "app.example.org" not in text


@pytest.mark.parametrize("code", ["secret_of_another", "scope_not_allowed", "of_a_later_version"])
def test_every_kind_can_be_shown_to_the_owner(acme, browser_of, bob, code):
    reference = Refusal.note(acme.application.id, code, "c_other")
    response = browser_of(bob).get(f"{OWN}/{acme.client_id}/refusals/{reference}")
    assert response.status_code == 200
    assert ("c_other" in response.text) is (code != "secret_of_another")
