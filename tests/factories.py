"""Make people and applications; fill in what a test does not care about."""

import json
import re
from html import unescape

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.clock import now
from portal.credentials import hash_password
from portal.models import TABLES, Application, Scope, Trust, User
from portal.models.application import AUTHORIZATION_CODE, REFRESH_TOKEN

PASSWORD = "correct horse battery"
# Argon2 is slow on purpose; one hash serves every person of the suite.
_HASH = hash_password(PASSWORD)
REDIRECT_URI = "https://app.example.org/callback"

#: What somebody says who leaves nothing out (OpenID Connect Core §5.1).
FULL_PROFILE = {
    "given_name": "Bob",
    "family_name": "Jones",
    "middle_name": "J",
    "nickname": "bobby",
    "profile": "https://people.example.org/bob",
    "picture": "https://people.example.org/bob.png",
    "website": "https://bob.example.org",
    "gender": "male",
    "birthdate": "1990-01-31",
    "zoneinfo": "Europe/London",
    "locale": "en-GB",
    "phone_number": "+44 20 7946 0000",
    "address": {
        "formatted": "1 High Street\nLondon\nW1 1AA\nGB",
        "street_address": "1 High Street",
        "locality": "London",
        "region": "Greater London",
        "postal_code": "W1 1AA",
        "country": "GB",
    },
}


def empty_tables() -> None:
    for table in reversed(TABLES):
        table.delete().execute()


def make_user(username: str = "dora", **fields) -> User:
    fields.setdefault("name", username.title())
    user = User.register(username, fields.pop("email", f"{username}@example.org"), **fields)
    User.update(password_hash=_HASH).where(User.id == user.id).execute()
    return User.get_by_id(user.id)


def make_full_person(username: str = "bob") -> User:
    """Somebody about whom every standard claim is known."""
    user = make_user(username)
    User.update(
        profile=json.dumps(FULL_PROFILE), profile_updated_at=1_700_000_000, email_verified_at=1
    ).where(User.id == user.id).execute()
    return User.get_by_id(user.id)


def make_application(owner: User | None = None, **fields) -> tuple[Application, str | None]:
    """An application and its secret; by default one that signs people in."""
    owner = owner or User.named("owner") or make_user("owner")
    fields.setdefault("name", "Acme Reports")
    fields.setdefault("grants", [AUTHORIZATION_CODE, REFRESH_TOKEN])
    fields.setdefault("redirect_uris", [REDIRECT_URI])
    fields.setdefault("scopes", ["openid", "profile", "email"])
    application, secret = Application.register(owner=owner, **fields)
    if application.trusted:
        approve_trust(application)
    return application, secret


def approve_trust(application: Application, ends_at: int | None = None) -> None:
    """As if an administrator had approved it as it is, for a year."""
    end = ends_at or now() + 365 * 86400
    application.change(trusted=True, trust_ends_at=end, trust_approved=application.trust_subject)
    names = {"approved_at": now(), "approved_by": "tom", "approved_owner": "owner"}
    Trust.keep(application.id, **names)


def make_scope(name: str = "reports:read", **fields) -> Scope:
    fields.setdefault("title", "Read your reports")
    fields.setdefault("description", "View every report you can view.")
    return Scope.register(name, **fields)


def sign_in(client: FlaskClient, user: User) -> FlaskClient:
    """Sign in without the page, the way the page does it."""
    user.start_session("127.0.0.1", "test")
    with client.session_transaction() as session:
        session["_user_id"] = user.cookie
        session["_fresh"] = True
    return client


def csrf_token(client: FlaskClient, path: str) -> str:
    """The CSRF token of a page's form."""
    text = client.get(path).get_data(as_text=True)
    return text.split('name="csrf_token"', 1)[1].split('value="', 1)[1].split('"', 1)[0]


def post(client: FlaskClient, path: str, data: dict | None = None, page: str | None = None, **more):
    """Post a form as a browser does: with the token of the page that holds it."""
    token = csrf_token(client, page or path)
    return client.post(path, data={"csrf_token": token, **(data or {})}, **more)


def hidden_fields(page: TestResponse) -> dict[str, list[str]]:
    """The hidden fields of the page before saving, by name."""
    form = next(f for f in re.findall(r"<form.*?</form>", page.text, re.S) if '"confirmed"' in f)
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form):
        fields.setdefault(unescape(name), []).append(unescape(value))
    return fields


def save_anyway(client: FlaskClient, response: TestResponse) -> TestResponse:
    """Press Save anyway where an edit's answer is the page before saving."""
    if response.status_code != 200 or 'name="confirmed"' not in response.text:
        return response
    return client.post(response.request.path, data=hidden_fields(response))
