"""What people do on the portal's pages, in the words that they read there."""

from playwright.sync_api import Page, expect

from tests.factories import PASSWORD


def make_first_administrator(page: Page, link: str, username: str = "alice") -> None:
    page.goto(link)
    page.get_by_role("button", name="Make the first administrator").click()
    page.get_by_label("Username").fill(username)
    page.get_by_label("E-mail address").fill(f"{username}@example.org")
    page.get_by_label("Full name").fill("Alice Moreau")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Make the account and sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Applications")


def sign_in(page: Page, username: str, password: str = PASSWORD) -> None:
    """Fill in the sign-in page that is open."""
    page.get_by_label("Username or e-mail address").fill(username)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def visit(page: Page, address: str, username: str) -> None:
    """Open an address that needs a sign-in, and sign in."""
    page.goto(address)
    sign_in(page, username)


def add_application(
    page: Page, address: str, name: str, redirect_uri: str, scopes: list[str]
) -> tuple[str, str]:
    """Add an application that signs people in; returns its client ID and secret."""
    page.goto(f"{address}/admin/applications/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Authorisation Code").check()
    page.get_by_label("Redirect URIs").fill(redirect_uri)
    for scope in scopes:
        page.locator(f'[name=scopes][value="{scope}"]').check()
    page.get_by_role("button", name="Add application").click()
    expect(page.get_by_role("heading", name="Copy the client secret now")).to_be_visible()
    client_id = page.get_by_role("textbox", name="Client ID").input_value()
    return client_id, page.get_by_role("textbox", name="Client secret").input_value()
