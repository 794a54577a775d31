"""Every page, light and dark, wide and narrow: axe finds nothing, nothing scrolls sideways."""

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from portal.models import Application, Trust
from portal.models.application import DEVICE_CODE
from portal.models.trust import NOTHING_ASKED
from tests import factories
from tests.browser import samples, steps
from tests.browser.looking import NARROW, look
from tests.browser.portal_server import PortalServer
from tests.flows import CHALLENGE

pytestmark = pytest.mark.browser


class Tour:
    """Goes from page to page in one tab and collects what is wrong with any of them."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.found: list[str] = []

    def see(self, name: str, path: str | None = None) -> None:
        """Look at the page at `path`, or at the one that is open."""
        if path:
            self.page.goto(self.address + path)
        self.found += look(self.page, name)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()


@pytest.fixture
def tour(tabs, portal):
    """In a tab in which nobody is signed in."""
    return Tour(tabs.open(), portal.address)


def test_the_pages_before_anybody_is_there(new_portal, tabs):
    portal: PortalServer = new_portal()
    tour = Tour(tabs.open(), portal.address)
    tour.see("login-without-administrator", "/login")
    tour.see("setup-dead-link", "/setup/nothing")
    tour.page.goto(portal.setup_link())
    tour.see("setup-link")
    tour.press("Make the first administrator")
    tour.see("setup")
    tour.press("Make the account and sign in")
    tour.see("setup-with-errors")
    steps.make_first_administrator(tour.page, portal.setup_link())
    tour.see("list-empty", "/admin/applications")
    tour.see("reuse-empty", "/admin/reuse")
    tour.see("list-empty-chip", "/admin/applications?chip=disabled")
    tour.see("connections-empty", "/account/connections")
    tour.see("own-applications-empty", "/account/applications")
    assert tour.found == []


def test_the_pages_that_anybody_may_open(tour, portal):
    tour.see("login", "/login")
    steps.sign_in(tour.page, "nobody", "a wrong password")
    tour.see("login-with-error")
    tour.see("not-found", "/nothing-here")
    with portal.models():
        link = samples.password_link("hr")
    tour.see("reset-link", f"/reset/{link}")
    tour.press("Choose a password")
    tour.see("reset")
    assert tour.found == []


def test_the_pages_of_applications(tour, portal):
    steps.visit(tour.page, f"{portal.address}/admin/applications", "priya")
    tour.see("list")
    tour.page.goto(f"{portal.address}/admin/applications?q=acme")
    tour.page.get_by_role("button", name="Actions for Acme Reports").click()
    tour.see("list-with-menu")
    tour.page.set_viewport_size({"width": NARROW, "height": 800})
    tour.page.reload()
    tour.press("Menu")
    tour.see("list-with-navigation")
    tour.see("list-no-match", "/admin/applications?q=nothing+like+it")
    tour.page.goto(f"{portal.address}/admin/applications")
    tour.page.get_by_role("link", name="Next page").click()
    tour.see("list-page-2")
    tour.see("application", f"/admin/applications/{samples.REPORTS}")
    tour.press("Rotate secret")
    tour.see("application-rotating")
    tour.press("Make a new secret")
    expect(tour.page.get_by_role("heading", name="Copy the client secret now")).to_be_visible()
    tour.see("application-with-secret")
    tour.see("application-with-refusals", f"/admin/applications/{samples.SURVEY}")
    tour.see("application-public", f"/admin/applications/{samples.LOBBY}")
    with portal.models():
        old = samples.add_second_secret()
    tour.see("secrets", f"/admin/secrets/{samples.REPORTS}")
    tour.page.get_by_label("Last day").fill("2020-01-01")
    tour.press("Make another secret")
    tour.see("secrets-with-error")
    tour.see("secrets-public", f"/admin/secrets/{samples.LOBBY}")
    tour.see("secret-edit", f"/admin/secrets/{samples.REPORTS}/{old}")
    tour.see("secret-retire", f"/admin/secrets/{samples.REPORTS}/{old}/retire")
    tour.see("setup-cards", "/admin/setup")
    tour.see("setup", f"/admin/setup/{samples.REPORTS}")
    tour.see("setup-grafana", f"/admin/setup/{samples.REPORTS}/grafana")
    with portal.models():
        samples.reuse_secrets()
    tour.see("reuse-secrets", f"/admin/secrets/{samples.INVOICES}")
    tour.see("reuse-application", f"/admin/applications/{samples.SURVEY}")
    tour.see("reuse", "/admin/reuse")
    tour.see("reuse-split", f"/admin/reuse/{samples.INVOICES}/split")
    tour.page.get_by_label("Name").fill("An export of invoices " * 5)
    tour.press("Split")
    tour.see("reuse-split-with-error")
    tour.page.get_by_label("Name").fill("Invoices" + "ForTheLedger" * 7)
    tour.press("Split")
    tour.see("reuse-split-done")
    tour.see("reuse-after-split", f"/admin/applications/{samples.INVOICES}")
    tour.page.goto(f"{portal.address}/admin/secrets/{samples.INVOICES}")
    tour.press("These are one application’s servers: do not tell me again")
    tour.see("reuse-accepted")
    tour.see("connections-none", f"/admin/connections?application={samples.SURVEY}")
    with portal.models():
        samples.sign_out("sam", samples.REPORTS, "late", "198.51.100.0/24")
        samples.sign_out("priya", samples.REPORTS, "elsewhere", "2001:db8:7777::/48")
        samples.sign_out("tom", samples.REPORTS, "unsure", "2001:db8:7777::/48")
    tour.page.goto(f"{portal.address}/admin/connections?application={samples.REPORTS}")
    tour.page.get_by_text("Timeline").first.click()
    tour.see("connections")
    tour.see("connections-of-all", "/admin/connections")
    tour.page.goto(f"{portal.address}/account/connections")
    tour.page.get_by_text("Timeline").last.click()
    tour.see("connections-signed-out")
    tour.see("edit", f"/admin/applications/{samples.REPORTS}/edit")
    tour.page.get_by_label("Redirect URIs").fill("https://reports.example.org/" + "long-path/" * 9)
    tour.page.locator("[name=scopes][value=email]").uncheck()
    tour.press("Save changes")
    expect(tour.page.get_by_role("heading", level=1)).to_have_text("Before you save")
    tour.see("before-saving")
    with portal.models():
        samples.note_long_addresses()
    tour.page.goto(f"{portal.address}/admin/applications/{samples.REPORTS}/edit")
    tour.page.get_by_label("Redirect URIs").fill("https://reports.example.org/callback")
    for value in (DEVICE_CODE, "profile", "email", "reports:read", "reports:write"):
        tour.page.locator(f'[value="{value}"]:checked').uncheck()
    tour.page.locator("[name=refresh_tokens]").uncheck()
    tour.press("Save changes")
    expect(tour.page.get_by_role("heading", level=1)).to_have_text("Before you save")
    tour.see("before-saving-much")
    tour.see("disable", f"/admin/applications/{samples.REPORTS}/disable")
    tour.see("delete", f"/admin/applications/{samples.REPORTS}/delete")
    tour.press("Delete application")
    tour.see("delete-with-error")
    assert tour.found == []


def test_the_pages_of_trust(tour, portal):
    steps.visit(tour.page, f"{portal.address}/admin/trust", "priya")
    tour.see("trust-empty")
    with portal.models():
        samples.let_trust_wait()
        wiki = Application.with_client_id(samples.WIKI)
        kept = wiki.redirect_uris
        wiki.change(redirect_uris=[*kept, "https://wiki.example.org/" + "a-long-path/" * 12])
    tour.see("trust", "/admin/trust")
    tour.see("list-with-trust", "/admin/applications?chip=attention")
    tour.see("trust-waiting", f"/admin/trust/{samples.WIKI}")
    tour.see("trust-soon", f"/admin/trust/{samples.HR}")
    tour.see("application-trust-soon", f"/admin/applications/{samples.HR}")
    tour.page.goto(f"{portal.address}/admin/trust/{samples.HR}")
    tour.page.get_by_label("Trust ends after").fill("2020-01-01")
    tour.press("Ask to renew")
    tour.see("trust-with-error")
    tour.see("trust-off", f"/admin/trust/{samples.REPORTS}")
    tour.page.goto(f"{portal.address}/admin/trust/{samples.WIKI}")
    tour.page.get_by_label("A word for who asked").fill("The second address is not ours.")
    tour.press("Refuse")
    tour.see("trust-refused")
    tour.see("trust-edit", f"/admin/applications/{samples.WIKI}/edit")
    with portal.models():
        samples.let_asker_go()
        made = samples.let_many_wait(27)
    tour.see("trust-ask-again", f"/admin/trust/{samples.HR}")
    tour.see("trust-many", "/admin/trust")
    tour.page.get_by_role("link", name="Next page").click()
    expect(tour.page.get_by_text("26–28 of 28")).to_be_visible()
    tour.see("trust-page-2", "/admin/trust?list=waiting&page=2")
    with portal.models():
        for it in made:
            it.remove()
        wiki.change(redirect_uris=kept[:1], scopes=["openid", "profile", "email"])
        for it in (wiki, Application.with_client_id(samples.HR)):
            Trust.keep(it.id, **NOTHING_ASKED)
            factories.approve_trust(it)
    assert tour.found == []


def test_the_audit_log(tour, portal):
    steps.visit(tour.page, f"{portal.address}/admin/applications/{samples.REPORTS}/edit", "priya")
    uris = tour.page.get_by_label("Redirect URIs")
    uris.fill(uris.input_value() + "\nhttps://reports.example.org/" + "a-long-path/" * 12)
    tour.press("Save changes")
    tour.page.get_by_role("link", name="History").click()
    tour.page.get_by_text("Details of event").first.click()
    expect(tour.page.get_by_text("+ https://reports.example.org/a-long-path/")).to_be_visible()
    tour.see("audit-details")
    tour.see("audit", "/admin/audit")
    tour.see("audit-no-match", "/admin/audit?person=nobody-at-all")
    assert tour.found == []


def test_the_pages_that_add_an_application(tour, portal):
    steps.visit(tour.page, f"{portal.address}/admin/applications/new", "priya")
    tour.see("add")
    tour.press("Fill in the form")
    expect(tour.page.get_by_text("Choose what you are connecting.").first).to_be_visible()
    tour.see("add-connecting-with-error")
    tour.page.get_by_label("Authorisation Code").check()
    tour.page.get_by_label("Redirect URIs").fill("http://reports.example.org/callback")
    tour.page.get_by_role("checkbox", name="Trusted").check()
    tour.press("Add application")
    expect(tour.page.get_by_role("alert")).to_be_focused()
    tour.see("add-with-errors")
    assert tour.found == []


def test_the_pages_of_the_doctor(tour, portal):
    with portal.models():
        slash, stranger, odd = (
            samples.note_refusal(it)
            for it in (
                samples.WRONG_CALLBACK,
                "https://partner.example.com/a-long-way/" + "to/" * 40 + "callback",
                "javascript:alert(1)",
            )
        )
        slash.tell()
        secret = samples.note_refusal("", "secret_retired")
    steps.visit(tour.page, f"{portal.address}/admin/doctor", "priya")
    tour.see("doctor")
    tour.see("doctor-not-found", "/admin/doctor?reference=BCDFGHJK")
    tour.see("doctor-one-press", f"/admin/doctor/{slash.reference}")
    tour.see("doctor-stranger", f"/admin/doctor/{stranger.reference}")
    tour.see("doctor-confirm", f"/admin/doctor/{stranger.reference}/replace")
    tour.see("doctor-refused", f"/admin/doctor/{odd.reference}")
    tour.see("doctor-secret", f"/admin/doctor/{secret.reference}")
    tour.see("own-applications-with-notice", "/account/applications")
    own = f"/account/applications/{samples.REPORTS}/refusals"
    tour.see("own-refusal", f"{own}/{slash.reference}")
    tour.see("owner-told", "/oauth/ask_owner")
    assert tour.found == []


def test_the_pages_of_scopes_and_people(tour, portal):
    steps.visit(tour.page, f"{portal.address}/admin/scopes", "priya")
    tour.see("scopes")
    tour.see("scope-add", "/admin/scopes/new")
    tour.press("Add scope")
    tour.see("scope-add-with-errors")
    tour.see("scope-edit", "/admin/scopes/reports:read/edit")
    tour.see("scope-delete", "/admin/scopes/reports:read/delete")
    tour.see("people", "/admin/users")
    tour.see("people-no-match", "/admin/users?q=nothing+like+it")
    tour.see("person-add", "/admin/users/new")
    tour.press("Add person")
    tour.see("person-add-with-errors")
    tour.see("person", "/admin/users/tom")
    tour.press("Reset password")
    tour.see("person-with-link")
    tour.see("person-delete", "/admin/users/tom/delete")
    assert tour.found == []


def test_the_pages_of_ones_own_account(tour, portal, tabs):
    with portal.models():
        samples.connect("sam", samples.REPORTS, ["openid", "email", "reports:write"])
        samples.connect("sam", samples.LOBBY, ["profile", "rooms:book"])
    steps.visit(tour.page, f"{portal.address}/account/connections", "sam")
    tour.see("connections")
    tour.press("Remove… Acme Reports")
    tour.see("connections-removing")
    steps.visit(tabs.open(), f"{portal.address}/account/sessions", "sam")
    tour.see("sessions", "/account/sessions")
    tour.see("password", "/account/password")
    tour.press("Change password")
    tour.see("password-with-errors")
    tour.page.locator(".user-button").click()
    tour.see("own-menu")
    tour.see("sign-out", "/logout")
    tour.see("forbidden", "/admin/applications")
    owner = Tour(tabs.open(), portal.address)
    steps.visit(owner.page, f"{portal.address}/account/applications", "facilities")
    owner.see("own-applications")
    owner.see("own-application", f"/account/applications/{samples.LOBBY}")
    owner.see("own-setup", f"/account/applications/{samples.LOBBY}/setup/grafana")
    assert tour.found + owner.found == []


def test_the_pages_between_an_application_and_a_person(tour, portal, tabs):
    ask = "/oauth/authorize?" + urlencode(
        {
            "response_type": "code",
            "client_id": samples.REPORTS,
            "redirect_uri": samples.CALLBACK,
            "scope": "openid profile email reports:write",
            "state": "st4te",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
    )
    wrong = ask.replace("callback", "callback%2F")
    tour.see("login-to-application", ask)
    steps.sign_in(tour.page, "bob")
    expect(tour.page.get_by_role("button", name="Allow")).to_be_visible()
    tour.see("consent")
    tour.see("refused", wrong)
    tour.see("refused-unknown", ask.replace(samples.REPORTS, "c_nobody"))
    administrator = Tour(tabs.open(), portal.address)
    steps.visit(administrator.page, f"{portal.address}/login", "priya")
    administrator.page.goto(portal.address + wrong)
    expect(administrator.page.get_by_text("For you as an administrator")).to_be_visible()
    administrator.see("refused-for-administrator")
    assert tour.found + administrator.found == []


def test_the_pages_between_a_device_and_a_person(tour, portal):
    with portal.models():
        code = samples.start_device(samples.LOBBY, ["profile", "rooms:book"])
        other = samples.start_device(samples.LOBBY, ["profile"])
    steps.visit(tour.page, f"{portal.address}/device", "bob")
    tour.see("device")
    tour.page.get_by_label("Code shown on your device").fill("BBBB-BBBB")
    tour.press("Continue")
    tour.see("device-with-error")
    tour.page.get_by_label("Code shown on your device").fill(code)
    tour.press("Continue")
    tour.see("device-consent")
    tour.press("Allow")
    tour.see("device-done")
    tour.page.goto(f"{portal.address}/device?user_code={other}")
    tour.press("Continue")
    tour.press("Deny")
    tour.see("device-denied")
    assert tour.found == []


def test_a_person_who_is_disabled_shows_as_such(tour, portal):
    with portal.models():
        factories.make_user("erin", name="Erin Walsh").disable()
    steps.visit(tour.page, f"{portal.address}/admin/users/erin", "priya")
    tour.see("person-disabled")
    assert tour.found == []


def test_the_pages_of_somebody_who_leaves(tour, portal):
    with portal.models():
        samples.add_somebody_who_leaves()
    steps.visit(tour.page, f"{portal.address}/admin/leaving", "priya")
    tour.see("leaving-nobody")
    tour.page.goto(f"{portal.address}/admin/leaving/nora")
    tour.see("leaving-form")
    tour.press("Continue")
    tour.see("leaving-with-error")
    tour.page.get_by_label("New owner").fill("ben")
    tour.press("Continue")
    tour.see("leaving-offered")
    heir = Tour(tour.page.context.browser.new_page(), portal.address)
    steps.visit(heir.page, f"{portal.address}/account/offers", "ben")
    heir.see("offers-many")
    heir.press("Decline… Payroll sync")
    heir.see("offers-decline")
    heir.page.get_by_label("Why?").locator("visible=true").fill("Finance should own it. " * 8)
    heir.press("Decline Payroll sync")
    heir.press("Accept Canteen menu")
    heir.see("offers-answered")
    heir.page.close()
    tour.see("leaving-answers", "/admin/leaving")
    tour.see("leaving-declined", "/admin/leaving/nora")
    tour.see("list-with-answers", "/admin/applications")
    tour.see("leaving-delete", "/admin/users/nora/delete")
    with portal.models():
        samples.remove_somebody_who_leaves()
    assert [*tour.found, *heir.found] == []


def test_a_long_name_leaves_the_header_one_line(tour, portal):
    with portal.models():
        name = "Maximiliane-Alexandra Freifrau von Hohenstein-Wittelsbach zu Schwarzburg"
        factories.make_user("maximiliane", name=name, is_admin=True)
    steps.visit(tour.page, f"{portal.address}/admin/applications", "maximiliane")
    for width in (1280, 1024, 768, NARROW):
        tour.page.set_viewport_size({"width": width, "height": 800})
        assert tour.page.locator(".topbar").bounding_box()["height"] <= 60, width
    tour.see("long-name")
    assert tour.found == []


def test_the_tab_of_the_page_is_in_view_on_a_phone(tour, portal):
    tour.page.set_viewport_size({"width": NARROW, "height": 800})
    with portal.models():
        client_id = Application.get(Application.name == "Acme Reports").client_id
    steps.visit(tour.page, f"{portal.address}/admin/applications/{client_id}", "priya")
    tour.page.locator(".tab").last.click()
    expect(tour.page.locator(".tab[aria-current]")).to_be_in_viewport()


def test_a_rows_menu_closes_when_the_keyboard_leaves_it(tour, portal):
    page = tour.page
    steps.visit(page, f"{portal.address}/admin/applications", "priya")
    page.get_by_role("button", name="Actions for").first.focus()
    page.keyboard.press("Enter")
    menu = page.locator(".menu:popover-open")
    items = menu.locator(".menu-item").count()
    assert items > 1
    for _ in range(items):
        page.keyboard.press("Tab")
        expect(menu).to_be_visible()
    page.keyboard.press("Tab")
    expect(menu).to_have_count(0)
