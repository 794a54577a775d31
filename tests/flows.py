"""A pretend relying application: it walks the flows over HTTP as a real one does."""

import base64
import hashlib
import html
import re
from urllib.parse import parse_qs, quote_plus, urlsplit

from flask.testing import FlaskClient

from tests.factories import REDIRECT_URI

VERIFIER = "v" * 43
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The header of client_secret_basic: each part form-encoded first (RFC 6749 §2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


class RelyingApp:
    """An application with its credentials and the browser of the person who uses it."""

    def __init__(self, http: FlaskClient, application, secret=None, redirect_uri=REDIRECT_URI):
        self.http = http  # calls of the application itself: no cookies
        self.application = application
        self.client_id = application.client_id
        self.secret = secret
        self.redirect_uri = redirect_uri

    # The person's browser

    def authorize_params(self, **changes) -> dict[str, str]:
        params = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid profile",
            "state": "st4te",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in params.items() if value is not None}

    def authorize(self, browser: FlaskClient, **changes):
        return browser.get("/oauth/authorize", query_string=self.authorize_params(**changes))

    def decide(self, browser: FlaskClient, page, decision="allow", ticked=None):
        """Press a button on a consent page; `ticked` replaces the boxes that are ticked."""
        fields = form_fields(page.get_data(as_text=True))
        if ticked is not None:
            fields["scope"] = ticked
        return browser.post(form_action(page), data={**fields, "decision": decision})

    def sign_in(self, browser: FlaskClient, ticked=None, **changes):
        """Authorize, allow if asked, and redeem the code: the token response's JSON."""
        response = self.authorize(browser, **changes)
        if response.status_code == 200:
            response = self.decide(browser, response, ticked=ticked)
        answer = self.redeem(query(response)["code"])
        assert answer.status_code == 200, answer.get_json()
        return answer.get_json()

    # The application's own calls

    def post(self, path: str, data: dict, auth: str = "basic"):
        headers, body = {}, {k: v for k, v in data.items() if v is not None}
        if self.secret is None:
            body.setdefault("client_id", self.client_id)
        elif auth == "basic":
            headers = basic(self.client_id, self.secret)
        elif auth == "post":
            body |= {"client_id": self.client_id, "client_secret": self.secret}
        return self.http.post(path, data=body, headers=headers)

    def token(self, grant_type: str, **data):
        return self.post("/oauth/token", {"grant_type": grant_type, **data})

    def redeem(self, code: str, **changes):
        data = {"code": code, "redirect_uri": self.redirect_uri, "code_verifier": VERIFIER}
        return self.token("authorization_code", **{**data, **changes})

    def refresh(self, refresh_token: str, **data):
        return self.token("refresh_token", refresh_token=refresh_token, **data)

    def introspect(self, token: str):
        return self.post("/oauth/introspect", {"token": token}).get_json()

    def is_active(self, token: str) -> bool:
        return self.introspect(token)["active"]


def query(response) -> dict[str, str]:
    """The parameters that a redirect brings back to the application."""
    assert response.status_code in (302, 303), response.get_data(as_text=True)[:500]
    return {k: v[0] for k, v in parse_qs(urlsplit(response.location).query).items()}


def form_action(page) -> str:
    """Where the decision form of a page posts to."""
    text = page.get_data(as_text=True)
    form = next(f for f in re.findall(r"<form.*?</form>", text, re.S) if 'name="decision"' in f)
    return html.unescape(re.search(r'action="([^"]*)"', form)[1])


def form_fields(text: str) -> dict[str, list[str]]:
    """What the decision form of a page would send: hidden fields and ticked boxes."""
    form = next(f for f in re.findall(r"<form.*?</form>", text, re.S) if 'name="decision"' in f)
    fields: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if attributes.get("type") == "checkbox" and " checked" not in tag:
            continue
        fields.setdefault(attributes["name"], []).append(html.unescape(attributes["value"]))
    return fields
