"""What an administrator decides about an application's tokens and sign-outs, and sees of them."""

import re

import pytest

from portal.models import Application, LogoutDelivery
from tests.factories import REDIRECT_URI, make_application, post, save_anyway

CHOICES = {
    "token_format": "jwt",
    "id_token_alg": "ES256",
    "subject_type": "pairwise",
    "resources": "https://api.example.org\r\n\r\nurn:example:files\n",
    "backchannel_logout_uri": " https://app.example.org/signed-out?x=1 ",
}


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


@pytest.fixture
def application(alice) -> Application:
    return make_application(alice)[0]


def fields(**changes) -> dict:
    return {
        "name": "Acme Reports",
        "owner": "alice",
        "grants": ["authorization_code"],
        "redirect_uris": REDIRECT_URI,
        "confidential": "y",
        "scopes": ["openid"],
        **changes,
    }


def edit(browser, application, **changes):
    path = f"/admin/applications/{application.client_id}/edit"
    return save_anyway(browser, post(browser, path, fields(**changes)))


def test_they_are_kept_and_shown_again(browser):
    assert post(browser, "/admin/applications/new", fields(**CHOICES)).status_code == 200
    row = Application.get()
    assert (row.token_format, row.id_token_alg, row.subject_type) == ("jwt", "ES256", "pairwise")
    assert row.resources == ["https://api.example.org", "urn:example:files"]
    assert row.backchannel_logout_uri == "https://app.example.org/signed-out?x=1"
    page = browser.get(f"/admin/applications/{row.client_id}/edit").get_data(as_text=True)
    for value in ("jwt", "ES256", "pairwise"):
        assert re.search(rf"<option selected[^>]* value=\"{value}\"", page), value
    assert "https://api.example.org\nurn:example:files" in page.replace("\r\n", "\n")
    assert 'value="https://app.example.org/signed-out?x=1"' in page
    assert re.search(r'<details class="more"[^>]* open', page)
    shown = browser.get(f"/admin/applications/{row.client_id}").get_data(as_text=True)
    for words in ("JWT, checked by anybody", "Different for this application", "urn:example:files"):
        assert words in shown


def test_a_new_application_has_what_is_safe(browser):
    page = browser.get("/admin/applications/new").get_data(as_text=True)
    for value in ("opaque", "RS256", "public"):
        assert re.search(rf"<option selected[^>]* value=\"{value}\"", page), value
    assert not re.search(r'<details class="more"[^>]* open', page)
    assert post(browser, "/admin/applications/new", fields()).status_code == 200
    row = Application.get()
    assert (row.token_format, row.id_token_alg, row.subject_type) == ("opaque", "RS256", "public")
    assert (row.resources, row.backchannel_logout_uri) == ([], "")


def test_choices_that_a_form_leaves_out_stay(browser, application):
    application.change(token_format="jwt", id_token_alg="PS256", subject_type="pairwise")
    assert edit(browser, application).status_code == 303
    row = Application.get_by_id(application.id)
    assert (row.token_format, row.id_token_alg, row.subject_type) == ("jwt", "PS256", "pairwise")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token_format": "paper"}, "Choose opaque or jwt"),
        ({"id_token_alg": "none"}, "Choose ES256, RS256, PS256"),
        ({"id_token_alg": "HS256"}, "to sign ID tokens"),
        ({"subject_type": "secret"}, "public or pairwise"),
        (
            {
                "subject_type": "pairwise",
                "redirect_uris": f"{REDIRECT_URI}\nhttps://other.example.org/",
            },
            "redirect URIs on one host",
        ),
        ({"resources": "api"}, "Write the whole address"),
        ({"resources": "https://api.example.org/#x"}, "without #"),
        ({"resources": "https://a.example.org https://b.example.org"}, "Remove the spaces"),
        ({"resources": "https://a.example.org/\u202e"}, "invisible characters"),
        ({"resources": "\n".join(f"https://a{n}.example.org" for n in range(51))}, "at most 50"),
        ({"backchannel_logout_uri": "http://app.example.org/out"}, "Start it with https://"),
        ({"backchannel_logout_uri": "com.example.app:/out"}, "the portal itself calls"),
        ({"backchannel_logout_uri": "javascript:alert(1)"}, "Use https:// instead"),
        ({"backchannel_logout_uri": "https://app.example.org/#out"}, "Remove the #"),
        ({"backchannel_logout_uri": "https://u:p@app.example.org/"}, "Remove the user name"),
        (
            {
                "backchannel_logout_uri": "https://app.example.org/out",
                "grants": ["client_credentials"],
            },
            "Nobody signs in to this application",
        ),
    ],
)
def test_what_cannot_be_says_why_and_changes_nothing(browser, application, changes, words):
    version = application.version
    response = edit(browser, application, **changes)
    text = response.get_data(as_text=True)
    assert response.status_code == 422
    assert words in text
    assert re.search(r'<details class="more"[^>]* open', text)
    assert Application.get_by_id(application.id).version == version


def test_hostile_text_is_escaped(browser, application):
    evil = '"><script>alert(1)</script>'
    text = edit(
        browser, application, resources=evil, backchannel_logout_uri=evil, token_format=evil
    ).get_data(as_text=True)
    assert "<script>alert" not in text


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:1"])
def test_an_address_on_this_computer_needs_a_setting(browser, application, host):
    uri = f"http://{host}/out"
    assert edit(browser, application, backchannel_logout_uri=uri).status_code == 303
    page = browser.get(f"/admin/applications/{application.client_id}").get_data(as_text=True)
    assert "PORTAL_PRIVATE_LOGOUT_URIS=1" in page


def test_connect_says_what_the_application_must_be_told(browser, application):
    application.change(
        id_token_alg="PS256", post_logout_redirect_uris=["https://app.example.org/bye"]
    )
    page = browser.get(f"/admin/applications/{application.client_id}").get_data(as_text=True)
    section = page.split('aria-labelledby="connect"', 1)[1].split("</section>", 1)[0]
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd><span[^>]*>(.*?)</span>", section))
    assert facts == {
        "Issuer": "http://localhost:8000",
        "Discovery address": "http://localhost:8000/.well-known/openid-configuration",
        "Client ID": application.client_id,
        "Client authentication": "client_secret_basic or client_secret_post with PKCE (S256)",
        "Redirect URI": REDIRECT_URI,
        "Scopes": "openid profile email",
        "ID token algorithm": "PS256",
        "After sign-out": "https://app.example.org/bye",
    }


def test_connect_for_a_public_application_and_for_a_service(browser, alice):
    public, _ = make_application(alice, confidential=False)
    service, _ = make_application(
        alice, name="Service", grants=["client_credentials"], redirect_uris=[], scopes=[]
    )
    page = browser.get(f"/admin/applications/{public.client_id}").get_data(as_text=True)
    assert "none with PKCE (S256)" in page
    page = browser.get(f"/admin/applications/{service.client_id}").get_data(as_text=True)
    assert "ID token algorithm" not in page
    assert "client_secret_basic or client_secret_post<" in page


def test_sign_outs_that_were_not_taken_are_shown(browser, application, alice):
    address = f"/admin/applications/{application.client_id}"
    assert "has not heard of" not in browser.get(address).get_data(as_text=True)
    application.change(backchannel_logout_uri="https://app.example.org/out")
    for tries in (1, 9):
        LogoutDelivery.create(
            application_id=application.id,
            sub=alice.sub,
            sid=1,
            tries=tries,
            last_error="<b>It answered with status 500.</b>",
        )
    page = browser.get(address).get_data(as_text=True)
    assert "has not heard of" in page
    assert "&lt;b&gt;It answered" in page
    assert "Given up" in page
    assert "Tries again" in page
    assert alice.sub not in page
