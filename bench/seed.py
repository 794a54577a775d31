"""The data of a run: people, applications, tokens and codes, made with the models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flask import Flask
from flask.testing import FlaskClient

from portal import create_app
from portal.cli.data import upgrade_database
from portal.credentials import REFRESH_TOKEN, format_token, hash_secret, make_secret, new_id
from portal.database import database, transaction
from portal.models import Application, Consent, DeviceCode, Scope, TokenFamily, User
from portal.models.application import GRANTS
from portal.settings import Settings

SECRET_KEY = "a key for measuring, and for nothing else"
PASSWORD = "correct horse battery"
REDIRECT_URI = "https://app.example.org/callback"
SCOPE = "reports:read"
APPLICATIONS = 100
PEOPLE = 10
DEVICE_CODES = 1000
ACCESS_TOKENS = 100
DAY = 24 * 60 * 60


class Credentials(NamedTuple):
    client_id: str
    secret: str


class Data(NamedTuple):
    """What the requests of a run need; cookies as `name=value`."""

    machine: Credentials
    machine_jwt: Credentials
    api: Credentials
    web: Credentials
    device_client_id: str
    refresh_tokens: list[str]
    device_codes: list[str]
    access_tokens: list[str]
    person_cookie: str
    admin_cookie: str
    login_cookie: str
    login_csrf_token: str


@contextmanager
def seeded(url: str, folder: Path, families: int) -> Iterator[tuple[Flask, Data]]:
    """An app of this process on a new database at `url`, and the data that is in it."""
    app = create_app(
        Settings(
            issuer="http://localhost:8000",
            database_url=url,
            secret_key=SECRET_KEY,
            access_token_seconds=DAY,
            instance=folder,
        )
    )
    try:
        with app.app_context():
            upgrade_database()
        yield app, _fill(app, families)
    finally:
        database.close()


def _fill(app: Flask, families: int) -> Data:
    with transaction():
        admin = User.register("admin", "admin@example.org", password=PASSWORD, is_admin=True)
        for number in range(PEOPLE):
            User.register(f"person{number}", f"person{number}@example.org", password=PASSWORD)
        Scope.register(SCOPE, "Read your reports", "View every report you can view.")
        for number in range(APPLICATIONS):
            _application(admin, f"Application {number:03}")
        machine = _application(admin, "Machine")
        machine_jwt = _application(admin, "Machine with JWTs", token_format="jwt")
        api = _application(admin, "API", resource_server=True)
        web = _application(admin, "Web")
        device, _ = Application.register(
            name="Device", owner=admin, grants=GRANTS, scopes=[SCOPE], confidential=False
        )
        person = User.named("person0")
        assert person
        asked = ["openid", "profile"]
        application = Application.with_client_id(web.client_id)
        assert application
        Consent.give(person.id, application.id, asked, asked)
        refresh_tokens = [_start_family(application, person) for _ in range(families)]
        codes = [DeviceCode.start(device.id, 1, [SCOPE], DAY)[1] for _ in range(DEVICE_CODES)]
    browser = app.test_client()
    csrf_token = _csrf_token(browser)
    return Data(
        machine,
        machine_jwt,
        api,
        web,
        device.client_id,
        refresh_tokens,
        codes,
        [_access_token(app.test_client(), machine) for _ in range(ACCESS_TOKENS)],
        _sign_in(app.test_client(), "person0"),
        _sign_in(app.test_client(), "admin"),
        _cookie(browser),
        csrf_token,
    )


def _application(owner: User, name: str, **settings: Any) -> Credentials:
    row, secret = Application.register(
        name=name,
        owner=owner,
        grants=GRANTS,
        redirect_uris=[REDIRECT_URI],
        scopes=["openid", "profile", SCOPE],
        **settings,
    )
    assert secret
    return Credentials(row.client_id, secret)


def _start_family(application: Application, person: User) -> str:
    """A family as a redeemed code leaves it; returns its refresh token."""
    secret, family_id = make_secret(), new_id()
    TokenFamily.create(
        id=family_id,
        application_id=application.id,
        user_id=person.id,
        epoch=application.epoch,
        # Without openid: an ID token would add an RSA signature to what is measured.
        scopes=[SCOPE],
        refresh_hash=hash_secret(secret),
        auth_time=0,
        expires_at=TokenFamily.created_at.default() + DAY,
    )
    return format_token(REFRESH_TOKEN, family_id, secret)


def _access_token(client: FlaskClient, machine: Credentials) -> str:
    form = {"grant_type": "client_credentials", "scope": SCOPE}
    answer = client.post("/oauth/token", data=form, auth=tuple(machine))
    return answer.get_json()["access_token"]


def _sign_in(browser: FlaskClient, username: str) -> str:
    form = {"csrf_token": _csrf_token(browser), "username": username, "password": PASSWORD}
    answer = browser.post("/login", data=form)
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return _cookie(browser)


def _csrf_token(browser: FlaskClient) -> str:
    page = browser.get("/login").get_data(as_text=True)
    return page.split('name="csrf_token"', 1)[1].split('value="', 1)[1].split('"', 1)[0]


def _cookie(browser: FlaskClient) -> str:
    cookie = browser.get_cookie("portal_session")
    assert cookie
    return f"portal_session={cookie.value}"
