"""A person with a browser, as far as plain forms go: signs in, allows, comes back."""

import html
import re
from urllib.parse import urljoin

import requests

from tests.factories import PASSWORD

STEPS = 10


class Person:
    """Fills in the forms of the portal over HTTP."""

    def __init__(self, username: str) -> None:
        self.username = username
        self.http = requests.Session()

    def visit(self, address: str, until: str) -> str:
        """Follow an application's link to the address where it waits (begins with `until`)."""
        response = self.http.get(address, allow_redirects=False)
        for _ in range(STEPS):
            if response.is_redirect:
                address = urljoin(address, response.headers["Location"])
                if address.startswith(until):
                    return address
                response = self.http.get(address, allow_redirects=False)
            else:
                assert response.status_code == 200, response.text
                address, response = self._submit(address, response.text)
        raise AssertionError(f"{until} was not reached, but {address}")

    def _submit(self, address: str, page: str) -> tuple[str, requests.Response]:
        """Fill in the page's form: the sign-in page or the consent page."""
        form = next(
            form
            for form in re.findall(r"<form.*?</form>", page, re.S)
            if 'name="password"' in form or 'value="deny"' in form
        )
        action = re.search(r'action="([^"]*)"', form)
        fields = [
            (name, html.unescape(value))
            for name, value in re.findall(r'<input[^>]* name="([^"]*)" value="([^"]*)"', form)
            if name not in ("username", "password")
        ]
        if 'name="password"' in form:
            fields += [("username", self.username), ("password", PASSWORD)]
        else:
            fields.append(("decision", "allow"))
        target = urljoin(address, html.unescape(action[1])) if action else address
        return target, self.http.post(target, data=fields, allow_redirects=False)
