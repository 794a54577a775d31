"""No secret, code, token or password in clear: not in the database, its -wal file or the log."""

import logging
import re
from pathlib import Path

import pytest

from portal.models import OneTimeLink
from tests import factories
from tests.factories import PASSWORD, csrf_token, post
from tests.flows import DEVICE_GRANT, VERIFIER, query


@pytest.fixture
def everything_logged(caplog):
    for name in ("", "portal", "authlib", "peewee", "werkzeug", "flask_login", "flask_wtf"):
        caplog.set_level(logging.DEBUG, logger=name)
    # create_app silences this one; look at what the portal itself keeps quiet about.
    logging.getLogger("authlib").setLevel(logging.WARNING)
    return caplog


def walk_every_flow(app, rp, browser_of, alice, bob) -> dict[str, str]:
    """Issue one of everything there is; returns what must not be found anywhere."""
    issued = {"client secret": rp.secret, "password": PASSWORD, "verifier": VERIFIER}
    browser = app.test_client()
    page = post(browser, "/login", {"username": "bob", "password": "a wrong password"})
    assert page.status_code == 422
    assert post(browser, "/login", {"username": "bob", "password": PASSWORD}).status_code == 303
    issued["wrong password"] = "a wrong password"
    issued["code"] = query(rp.decide(browser, rp.authorize(browser)))["code"]
    tokens = rp.redeem(issued["code"]).get_json()
    issued["access token"], issued["refresh token"] = (
        tokens["access_token"],
        tokens["refresh_token"],
    )
    rotated = rp.refresh(issued["refresh token"]).get_json()
    issued["rotated"], issued["rotated access"] = rotated["refresh_token"], rotated["access_token"]
    issued["machine token"] = rp.token("client_credentials").get_json()["access_token"]
    asked = rp.post("/oauth/device_authorization", {"scope": "profile"}).get_json()
    issued["device code"] = asked["device_code"]
    page = post(browser, "/device", {"user_code": asked["user_code"]})
    rp.decide(browser, page)
    device = rp.token(DEVICE_GRANT, device_code=asked["device_code"]).get_json()
    issued["device token"], issued["device refresh"] = (
        device["access_token"],
        device["refresh_token"],
    )
    rp.introspect(issued["access token"])
    # What goes wrong must not write it down, either.
    rp.redeem(issued["code"])
    rp.token("authorization_code", code=issued["machine token"])
    rp.http.post("/oauth/token", data={"client_id": rp.client_id, "client_secret": "pcs_wrong-one"})
    issued["wrong secret"] = "pcs_wrong-one"
    rp.http.post(f"/oauth/token?client_secret={rp.secret}")
    browser.get(f"/oauth/authorize?client_id={rp.client_id}&client_secret={rp.secret}")
    rp.post("/oauth/revoke", {"token": issued["machine token"]})
    issued["reset link"] = OneTimeLink.make(bob)
    stranger = app.test_client()
    assert post(stranger, f"/reset/{issued['reset link']}").status_code == 303
    new = {"password": "brand new password 1"}
    assert post(stranger, "/reset", new).status_code == 303
    issued["new password"] = new["password"]
    admin = browser_of(alice)
    issued["session"] = alice.cookie
    address = f"/admin/applications/{rp.client_id}"
    token = csrf_token(admin, address)
    page = admin.post(f"{address}/rotate-secret", data={"csrf_token": token, "keep": "0"})
    found = re.search(r"pcs_[A-Za-z0-9_-]{43}", page.get_data(as_text=True))
    if found:
        issued["rotated secret"] = found[0]
    return issued


def test_nothing_that_was_issued_lies_in_clear(
    app, rp, browser_of, alice, bob, database_url, everything_logged
):
    if not database_url.startswith("sqlite"):
        pytest.skip("looks into SQLite's files")
    issued = walk_every_flow(app, rp, browser_of, alice, bob)
    path = Path(database_url.removeprefix("sqlite:///"))
    files = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    assert {"portal.db", "portal.db-wal"} <= files.keys()
    files["the log"] = everything_logged.text.encode()
    for what, value in issued.items():
        parts = {value, value.partition(".")[2] or value}  # the secret part alone, too
        for name, content in files.items():
            for part in parts:
                assert part.encode() not in content, f"the {what} is in {name}"


def test_what_is_searched_for_would_be_found(app, rp, database_url):
    """The search itself works: the application's ID, which is no secret, is found."""
    path = Path(database_url.removeprefix("sqlite:///"))
    if not path.exists():
        pytest.skip("looks into SQLite's files")
    content = b"".join(file.read_bytes() for file in path.parent.glob("portal.db*"))
    assert rp.client_id.encode() in content
    assert factories.PASSWORD.encode() not in content
