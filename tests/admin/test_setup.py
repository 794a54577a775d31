"""The cards on pages: of an application, of its owner, and in the add form."""

import html

import pytest

from portal.models import Application
from tests.engines import on_both_engines
from tests.factories import csrf_token, make_application, post, sign_in

NEW = "/admin/applications/new"
GRAFANA = "https://grafana.example.org/login/generic_oauth"


def test_the_page_has_the_card_and_the_way_to_the_others(browser_of, alice):
    application, secret = make_application(alice, redirect_uris=[GRAFANA])
    page = browser_of(alice).get(f"/admin/setup/{application.client_id}/grafana").text
    assert f"client_id = {application.client_id}" in page
    assert f'href="/admin/setup/{application.client_id}/gitlab"' in page
    assert secret not in page
    general = browser_of(alice).get(f"/admin/setup/{application.client_id}").text
    assert f"OIDC_CLIENT_ID={application.client_id}" in general


def test_an_application_without_people_begins_with_a_card_that_needs_none(browser_of, bob, alice):
    application, _ = make_application(bob, grants=["client_credentials"], redirect_uris=[])
    for path in ("/admin/setup/{}", "/account/applications/{}/setup"):
        person = alice if path.startswith("/admin") else bob
        page = browser_of(person).get(path.format(application.client_id)).text
        assert "grant_type=client_credentials" in page
        assert "needs Authorisation Code" not in page


def test_a_name_with_markup_stays_text(browser_of, alice):
    application, _ = make_application(alice, name='<script>"x"</script>$`')
    page = browser_of(alice).get(f"/admin/setup/{application.client_id}/flask").text
    assert "<script>&#34;" not in page
    assert "&lt;script&gt;" in page


def test_a_callback_that_is_missing_is_one_link_away(browser_of, alice):
    application, _ = make_application(alice)
    browser = browser_of(alice)
    page = browser.get(f"/admin/setup/{application.client_id}/grafana").text
    link = page.split("/edit?redirect_uri=", 1)[1].split('"', 1)[0]
    form = browser.get(f"/admin/applications/{application.client_id}/edit?redirect_uri={link}")
    assert "\nhttps://app.example.org/login/generic_oauth</textarea>" in form.text


def test_a_link_cannot_have_another_host_offered(browser_of, alice):
    application, _ = make_application(alice)
    address = f"/admin/applications/{application.client_id}/edit"
    uri = "https://evil.example/login/generic_oauth"
    page = browser_of(alice).get(address, query_string={"redirect_uri": uri}).text
    assert "evil.example" not in page


@on_both_engines
@pytest.mark.parametrize(
    "path", ["/admin/setup/nobody", "/admin/setup/nobody/grafana", "/admin/setup/a%00b"]
)
def test_an_application_that_is_not_there(browser_of, alice, path):
    assert browser_of(alice).get(path).status_code == 404


def test_a_card_that_is_not_there(browser_of, alice):
    application, _ = make_application(alice)
    assert browser_of(alice).get(f"/admin/setup/{application.client_id}/x").status_code == 404


def test_people_have_the_cards_of_their_own_applications_only(app, browser_of, bob, charlie):
    application, _ = make_application(bob)
    path = f"/account/applications/{application.client_id}/setup"
    page = browser_of(bob).get(f"{path}/grafana").text
    assert f"client_id = {application.client_id}" in page
    assert "Ask an administrator to change it." in page
    assert "/edit" not in page
    assert browser_of(charlie).get(path).status_code == 404
    assert app.test_client().get(path).status_code in (302, 303)
    assert browser_of(charlie).get(f"/admin/setup/{application.client_id}").status_code == 403
    assert browser_of(charlie).get("/admin/setup").status_code == 403


def test_the_list_of_cards_leads_to_the_form(browser_of, alice):
    browser = browser_of(alice)
    assert f'href="{NEW}?connects=grafana"' in browser.get("/admin/setup").text
    page = browser.get(f"{NEW}?connects=grafana").text
    assert '<option selected value="grafana">' in page


def test_the_choice_fills_in_the_form_and_loses_nothing(browser_of, alice):
    sent = {
        "connects": "grafana",
        "app_address": "grafana.example.org",
        "name": "Dashboards",
        "owner": "alice",
        "scopes": ["reports"],
        "redirect_uris": "https://old.example.org/x",
        "backchannel_logout_uri": "https://old.example.org/out",
    }
    answer = post(browser_of(alice), "/admin/setup", sent, page=NEW)
    page = html.unescape(answer.text)
    assert answer.status_code == 200
    assert f"https://old.example.org/x\n{GRAFANA}</textarea>" in page.replace("\r\n", "\n")
    for kept in ('value="Dashboards"', 'value="https://old.example.org/out"', "Filled in for"):
        assert kept in page
    assert Application.select().count() == 0


def test_another_choice_replaces_what_was_filled_in(browser_of, alice):
    sent = {
        "connects": "gitlab",
        "app_address": "https://grafana.example.org",
        "redirect_uris": GRAFANA,
        "offered": GRAFANA,
    }
    page = post(browser_of(alice), "/admin/setup", sent, page=NEW).text
    assert GRAFANA not in page
    assert "https://grafana.example.org/users/auth/openid_connect/callback</textarea>" in page


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({}, "Choose what you are connecting."),
        ({"connects": "nonsense"}, "Choose what you are connecting."),
        ({"connects": "grafana"}, "Enter the address of Grafana"),
        ({"connects": "grafana", "app_address": "http://x.org"}, "Start it with https://."),
    ],
)
def test_a_choice_that_is_not_complete_says_so(browser_of, alice, sent, told):
    answer = post(browser_of(alice), "/admin/setup", {"name": "Wiki", **sent}, page=NEW)
    assert answer.status_code == 422
    assert told in answer.text
    assert 'value="Wiki"' in answer.text


def test_htmx_gets_the_fields_alone(browser_of, alice):
    headers = {"HX-Request-Type": "partial"}
    sent = {"connects": "curl"}
    answer = post(browser_of(alice), "/admin/setup", sent, page=NEW, headers=headers)
    assert answer.text.lstrip().startswith('<div id="application-fields"')
    assert "HX-Request-Type" in answer.headers["Vary"]


def test_what_was_chosen_is_set_up_next(browser_of, alice):
    browser = browser_of(alice)
    ticket = browser.get(NEW).text.split('name="ticket"', 1)[1].split('value="', 1)[1]
    sent = {
        "connects": "grafana",
        "name": "Dashboards",
        "owner": "alice",
        "grants": ["authorization_code"],
        "redirect_uris": GRAFANA,
        "scopes": ["openid"],
        "confidential": "y",
        "ticket": ticket.split('"', 1)[0],
    }
    page = post(browser, NEW, sent).text
    application = Application.get()
    assert f'href="/admin/setup/{application.client_id}/grafana"' in page


def test_filling_in_needs_an_administrator_and_a_token(app, browser_of, alice, charlie):
    assert browser_of(charlie).post("/admin/setup").status_code in (400, 403)
    assert sign_in(app.test_client(), alice).post("/admin/setup").status_code == 400
    assert csrf_token(browser_of(alice), NEW)
