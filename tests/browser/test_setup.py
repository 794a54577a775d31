"""Nobody searches for a callback path: choose Grafana, say where it is, paste the card."""

import configparser

import pytest
from playwright.sync_api import expect

from tests.browser import steps

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_grafana_is_connected_without_a_search(portal, tabs, script):
    host = f"grafana-{'with' if script else 'without'}.example.org"
    callback = f"https://{host}/login/generic_oauth"
    page = tabs.open(script=script)
    steps.visit(page, f"{portal.address}/admin/applications/new", "alice")
    page.get_by_label("Name", exact=True).fill(f"Dashboards {script}")
    page.get_by_label("Owner").fill("alice")
    page.get_by_label("What are you connecting?").select_option("Grafana")
    page.get_by_label("Its address").fill(host)
    page.get_by_role("button", name="Fill in the form").click()
    expect(page.get_by_text("Filled in for Grafana.")).to_be_visible()
    expect(page.get_by_label("Redirect URIs")).to_have_value(callback)
    expect(page.get_by_label("Name", exact=True)).to_have_value(f"Dashboards {script}")
    expect(page.get_by_label("Authorisation Code")).to_be_checked()
    expect(page.locator("[name=scopes][value=email]")).to_be_checked()
    if script:  # what people will see follows
        expect(page.locator("#preview li")).to_have_count(3)
    page.get_by_role("button", name="Add application").click()
    expect(page.get_by_role("heading", name="Copy the client secret now")).to_be_visible()
    client_id = page.get_by_role("textbox", name="Client ID").input_value()
    secret = page.get_by_role("textbox", name="Client secret").input_value()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Set up Grafana").click()
    card = opened.value
    text = card.get_by_role("region", name="grafana.ini").inner_text()
    assert secret not in text
    reader = configparser.RawConfigParser()
    reader.read_string(text)
    settings = reader["auth.generic_oauth"]
    assert reader["server"]["root_url"] == f"https://{host}/"
    assert settings["client_id"] == client_id
    assert settings["token_url"] == f"{portal.address}/oauth/token"
    assert settings["scopes"] == "openid profile email"
    assert settings["use_pkce"] == "true"
    expect(card.get_by_text("is called back at")).to_have_count(0)
    expect(card.get_by_role("button", name="Copy grafana.ini")).to_be_visible(visible=script)

    card.get_by_role("link", name="GitLab").click()
    card.get_by_role("link", name="Add https://").click()
    expect(card.get_by_label("Redirect URIs")).to_have_value(
        f"{callback}\nhttps://{host}/users/auth/openid_connect/callback"
    )


def test_enter_in_the_name_adds_and_does_not_fill_in(portal, tabs):
    page = tabs.open()
    steps.visit(page, f"{portal.address}/admin/applications/new", "alice")
    page.get_by_label("Name", exact=True).fill("Half a form")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Choose at least one grant flow.")
