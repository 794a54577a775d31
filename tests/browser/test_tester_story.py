"""An administrator tries a new application, is told what is wrong, and sees it work."""

import pytest
from playwright.sync_api import expect

from portal.models import Application, User
from portal.models.application import CLIENT_CREDENTIALS, REFRESH_TOKEN
from tests.browser import steps
from tests.browser.looking import look

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("script", [True, False], ids=["with_javascript", "without_javascript"])
def test_an_application_is_tried_put_right_and_seen_to_work(portal, tabs, script):
    with portal.models():
        it, secret = Application.register(
            name="Timesheets",
            owner=User.named("alice"),
            grants=[CLIENT_CREDENTIALS, REFRESH_TOKEN],
            redirect_uris=["https://timesheets.example.org/callback"],
            scopes=["openid", "email"],
        )
    page, found = tabs.open(script=script), []
    steps.visit(page, f"{portal.address}/admin/applications/{it.client_id}", "alice")
    page.get_by_role("link", name="Try it", exact=True).first.click()
    page.get_by_role("link", name="Authorisation Code (off)").click()
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("Authorisation Code is off", exact=True)).to_be_visible()
    if script:
        found += look(page, "tester-refused")
    page.get_by_role("link", name="Change its settings").click()
    page.get_by_label("Authorisation Code").check()
    page.get_by_role("button", name="Save changes").click()
    page.get_by_role("link", name="Try it", exact=True).first.click()
    if script:
        found += look(page, "tester")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("This is a test that you have just begun")).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("state is the one that was sent")).to_be_visible()
    assert "code=" not in page.url
    page.get_by_label("Client secret").fill("pcs_wrong")
    page.get_by_role("button", name="Swap the code for tokens").click()
    expect(page.get_by_text("The client secret is wrong")).to_be_visible()
    page.get_by_label("Client secret").fill(secret)
    page.get_by_role("button", name="Swap the code for tokens").click()
    expect(page.get_by_text("nonce is the one that was sent.")).to_be_visible()
    expect(page.get_by_text("The account number of the person").first).to_be_visible()
    page.get_by_role("button", name="Ask UserInfo who it is").click()
    expect(page.get_by_role("heading", name="Who is it? UserInfo")).to_be_visible()
    page.get_by_label("Client secret").fill(secret)
    page.get_by_role("button", name="Introspect the access token").click()
    expect(page.get_by_text("active is true: the token works now.")).to_be_visible()
    if script:
        found += look(page, "tester-tokens")
    page.get_by_role("button", name="Revoke what the test made").click()
    expect(page.get_by_text("The tokens of the test are ended")).to_be_visible()
    if script:
        page.goto(f"{portal.address}/admin/tester")
        found += look(page, "tester-index")
        page.goto(f"{portal.address}/admin/tester/callback?state=x")
        found += look(page, "tester-stray")
    assert found == []
