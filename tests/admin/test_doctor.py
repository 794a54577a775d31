"""The doctor: each cause has its advice, one press only where it is safe, and what is kept."""

import json

import pytest

from portal.models import Application, AuditEvent, Refusal
from portal.models.application import AUTHORIZATION_CODE, CLIENT_CREDENTIALS
from portal.oauth import mismatch
from tests.factories import REDIRECT_URI, make_application, post
from tests.flows import RelyingApp

DOCTOR = "/admin/doctor"
SLASH = REDIRECT_URI + "/"
FOREIGN = "https://partner.example.com/callback"


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


@pytest.fixture
def acme(bob):
    application, _ = make_application(bob)
    return application


def noted(application, sent: str) -> str:
    return f"{DOCTOR}/" + Refusal.note(application.id, "redirect_uri_mismatch", sent)


def saved(application) -> list[str]:
    return Application.get_by_id(application.id).redirect_uris


def send(browser, path: str, page: str = DOCTOR + "/", **fields):
    return post(browser, path, fields, page="/admin/users/new")


# What to do


@pytest.mark.parametrize(
    ("sent", "registered", "says"),
    [
        ("http://app.example.org/callback", REDIRECT_URI, "X-Forwarded-Proto is probably missing"),
        (
            "https://app.example.org/cb",
            "http://app.example.org/cb",
            "https, but http is registered",
        ),
        (SLASH, REDIRECT_URI, "To Portal these are two addresses"),
        (REDIRECT_URI, SLASH, "To Portal these are two addresses"),
        ("https://www.example.org/cb", "https://example.org/cb", "One has www"),
        ("https://web.example.org/cb", "https://app.example.org/cb", "another subdomain"),
        ("https://app.example.org:8443/callback", REDIRECT_URI, "another port"),
        ("https://app.example.org:443/callback", REDIRECT_URI, "usual port 443 out"),
        (REDIRECT_URI, "https://app.example.org:443/callback", "usual port 443 out"),
        ("https://app.example.org/auth/cb", REDIRECT_URI, "callback path"),
        ("https://app.example.org/Callback", REDIRECT_URI, "letter by letter"),
        (REDIRECT_URI + "?x=1", REDIRECT_URI, "send them in state"),
        ("http://localhost/cb", "http://127.0.0.1/cb", "one computer, but two addresses"),
        ("http://localhost/cb", "https://app.example.org/cb", ""),
        ("https://localhost/callback", REDIRECT_URI, "developer's computer"),
        ("https://staging.example.org/callback", REDIRECT_URI, "staging or test host"),
        ("https://app-staging.example.org/callback", REDIRECT_URI, "staging or test host"),
        ("https%3A%2F%2Fapp.example.org%2Fcallback", REDIRECT_URI, "encodes the address"),
        (REDIRECT_URI + "#x", REDIRECT_URI, "no # part"),
        ("https://a@app.example.org/callback", REDIRECT_URI, "before the @"),
        (f" {REDIRECT_URI}", REDIRECT_URI, "Remove the space"),
        ("https://else.example.com/callback", REDIRECT_URI, "Another host altogether"),
    ],
)
def test_each_common_cause_has_its_advice(sent, registered, says):
    assert says in mismatch.advice(sent, registered)
    if not says:
        assert mismatch.advice(sent, registered) == ""


def test_the_page_of_a_refusal_says_everything(browser, acme):
    page = noted(acme, SLASH)
    noted(acme, SLASH)
    text = browser.get(page).text
    assert '<mark class="mark">/</mark>' in text
    assert "Different: trailing slash" in text
    assert "A trailing slash was added." in text
    assert "2 times" in text
    assert "Acme Reports" in text
    assert "Register this address" in text
    assert page in browser.get(f"/admin/applications/{acme.client_id}").text


def test_an_address_of_another_application_is_named(browser, acme, bob):
    make_application(bob, name="Wiki", redirect_uris=["https://wiki.example.org/cb"])
    make_application(bob, name="Longer", redirect_uris=["https://wiki.example.org/cb/2"])
    text = browser.get(noted(acme, "https://wiki.example.org/cb")).text
    assert "Wiki</a>: the app may be using the wrong client ID" in text
    assert "Longer" not in text


def test_an_address_that_a_split_copied_accuses_nobody(browser, acme, bob):
    page = noted(acme, SLASH)
    send(browser, page + "/register")
    make_application(bob, name="Acme Reports (2)", redirect_uris=[REDIRECT_URI, SLASH])
    text = browser.get(page).text
    assert "This address is registered now" in text
    assert "wrong client ID" not in text


def test_a_reference_is_found_as_people_type_it(browser, acme):
    page = noted(acme, SLASH)
    reference = page.rpartition("/")[2]
    typed = f" {reference[:4].lower()}-{reference[4:]} "
    response = browser.get(DOCTOR, query_string={"reference": typed})
    assert response.status_code == 303
    assert response.location == page
    for nothing in ("BCDFGHJK", "\0", "x" * 5000, "ü"):
        response = browser.get(DOCTOR, query_string={"reference": nothing})
        assert response.status_code == 404
        assert "No refusal has this reference" in response.text


@pytest.mark.parametrize("act", ["", "/register", "/replace"])
def test_only_administrators_see_the_doctor(browser_of, charlie, acme, act):
    page = noted(acme, SLASH)
    browser = browser_of(charlie)
    assert browser.get(DOCTOR).status_code == 403
    assert browser.get(page + act).status_code == 403
    if act:
        assert post(browser, page + act, page="/account/password").status_code == 403
    assert saved(acme) == [REDIRECT_URI]


# One press


def test_register_adds_the_address_and_says_so_in_the_audit_log(browser, acme, alice):
    response = send(browser, noted(acme, SLASH) + "/register")
    assert response.status_code == 303
    assert saved(acme) == [REDIRECT_URI, SLASH]
    event = AuditEvent.select().order_by(AuditEvent.id.desc()).get()
    assert event.event == "application.redirect_uri_registered"
    assert (event.actor_id, event.application_id) == (alice.id, acme.id)
    assert json.loads(event.before) == {"redirect_uris": [REDIRECT_URI]}
    assert json.loads(event.after) == {"redirect_uris": [REDIRECT_URI, SLASH]}
    assert "the next sign-in works" in browser.get(response.location).text


def test_replace_puts_the_address_in_the_others_place(browser, acme):
    acme.change(redirect_uris=["https://mail.example.org/", REDIRECT_URI, "https://x.example.org/"])
    page = noted(acme, SLASH)
    send(browser, page + "/replace", saved=REDIRECT_URI)
    assert saved(acme) == ["https://mail.example.org/", SLASH, "https://x.example.org/"]
    assert AuditEvent.get().event == "application.redirect_uri_replaced"
    send(browser, page + "/replace", saved=REDIRECT_URI)
    assert AuditEvent.select().count() == 1


def test_what_is_no_longer_saved_cannot_be_replaced(browser, acme):
    page = noted(acme, SLASH)
    for former in ("", "https://gone.example.org/"):
        send(browser, page + "/replace", saved=former)
    assert saved(acme) == [REDIRECT_URI]
    assert AuditEvent.select().count() == 0


@pytest.mark.parametrize("act", ["register", "replace"])
def test_a_foreign_host_takes_a_page_that_warns(browser, acme, act):
    page = noted(acme, FOREIGN)
    assert f'action="{page}/{act}"' not in browser.get(page).text
    response = send(browser, f"{page}/{act}", saved=REDIRECT_URI)
    assert (response.status_code, response.location) == (303, f"{page}/{act}")
    assert saved(acme) == [REDIRECT_URI]
    text = browser.get(response.location).text
    assert "none of the saved ones" in text
    assert "It was sent 1 time" in text
    send(browser, f"{page}/{act}", saved=REDIRECT_URI, confirmed="y")
    assert FOREIGN in saved(acme)


@pytest.mark.parametrize(
    "sent",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "https://*.example.org/callback",
        "https://me@app.example.org/callback",
        "https://app.example.org/callback#x",
        "https://app.example.org/../callback",
        "http://app.example.org/callback",
        "https://app.example.org.evil.com/callback",
        "https://app-example-org.evil.com/callback",
        "https://app.examp1e.org/callback",
        "https://app.exarnple.org/callback",
        "https://app.exmple.org/callback",
        "https://xn--pp-xie.example.org/callback",
        "https://app.example.org/" + "x" * 600,
        "",
    ],
)
@pytest.mark.parametrize("act", ["register", "replace"])
def test_a_dangerous_address_is_refused_with_the_reason(browser, acme, sent, act):
    page = noted(acme, sent)
    assert "cannot be registered from here" in browser.get(page).text
    assert browser.get(f"{page}/{act}").status_code == 422
    response = send(browser, f"{page}/{act}", saved=REDIRECT_URI, confirmed="y")
    assert response.status_code == 422
    assert saved(acme) == [REDIRECT_URI]


def test_another_environment_of_the_same_domain_is_no_look_alike(acme):
    for host in ("app2", "web", "app-staging", "a"):
        verdict = mismatch.verdict(f"https://{host}.example.org/callback", acme.redirect_uris)
        assert verdict.how == mismatch.CONFIRM


def test_the_other_rules_of_the_application_hold_too(browser, bob):
    acme, _ = make_application(bob, subject_type="pairwise")
    page = noted(acme, FOREIGN)
    response = send(browser, page + "/register", confirmed="y")
    assert saved(acme) == [REDIRECT_URI]
    assert "the next sign-in works" not in browser.get(response.location).text


def test_only_redirect_uris_can_be_saved(browser, acme):
    page = f"{DOCTOR}/" + Refusal.note(acme.id, "scope_not_allowed", SLASH)
    assert "Register this address" not in browser.get(page).text
    send(browser, page + "/register", confirmed="y")
    assert saved(acme) == [REDIRECT_URI]
    stranger = f"{DOCTOR}/" + Refusal.note(None, "client_unknown", SLASH)
    assert browser.get(stranger).status_code == 200
    send(browser, stranger + "/register", confirmed="y")
    assert browser.get(DOCTOR).status_code == 200


# Where nobody can sign in


@pytest.fixture
def service(bob):
    application, _ = make_application(
        bob, name="Night job", grants=[CLIENT_CREDENTIALS], redirect_uris=[], scopes=[]
    )
    return application


def test_without_the_flow_the_doctor_advises_to_switch_it_on(browser, client, service, bob):
    make_application(bob, name="Wiki", redirect_uris=[SLASH])
    RelyingApp(client, service).authorize(client, redirect_uri=SLASH)
    page = f"{DOCTOR}/{Refusal.get().reference}"
    text = browser.get(page).text
    edit = f"/admin/applications/{service.client_id}/edit"
    assert "Authorisation Code is off. Tick it" in text
    assert edit in text
    assert "Wiki</a>: the app may be using the wrong client ID" in text
    assert "Register this address" not in text
    send(browser, page + "/register", confirmed="y")
    assert saved(service) == []
    assert "Authorisation Code is off" in browser.get(edit.removesuffix("/edit")).text
    service.change(grants=[AUTHORIZATION_CODE], redirect_uris=[SLASH])
    text = browser.get(page).text
    assert "has been switched on since" in text
    assert edit not in text
    assert "wrong client ID" not in text


def test_an_address_refused_before_the_flow_was_switched_off_cannot_be_saved(
    browser, browser_of, acme, bob
):
    page = noted(acme, SLASH)
    own = f"/account/applications/{acme.client_id}"
    acme.change(grants=[CLIENT_CREDENTIALS])
    for path in (page, own, f"{own}/refusals/{page.rpartition('/')[2]}"):
        reader = browser if path == page else browser_of(bob)
        assert "Authorisation Code is off" in reader.get(path).text
    assert "Register this address" not in browser.get(page).text
    assert send(browser, page + "/register").status_code == 422
    assert saved(acme) == [REDIRECT_URI]
    acme.change(redirect_uris=[SLASH])
    assert "the next sign-in works" not in browser.get(page).text


# Floods


def test_a_flood_is_bounded_and_leaves_what_people_asked_about(browser, acme):
    asked = Refusal.with_reference(noted(acme, SLASH).rpartition("/")[2])
    assert asked.tell()
    for n in range(2500):
        Refusal.note(acme.id, "redirect_uri_mismatch", f"https://evil{n}.example/" + "x" * 600)
        Refusal.note(None, "client_unknown", f"c_{n}")
    assert Refusal.select().where(Refusal.application_id == acme.id).count() <= 60
    assert Refusal.select().where(Refusal.application_id == 0).count() == 50
    text = browser.get(DOCTOR).text
    assert asked.reference in text
    assert len(text) < 100_000
