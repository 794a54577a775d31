"""The short door before Flask: the same answers, to the last header."""

import re

import pytest
from peewee import OperationalError

from tests.doors import InChunks
from tests.flows import basic

FORM = "application/x-www-form-urlencoded"
ASKS = {"grant_type": "client_credentials", "scope": "reports:read"}
PATHS = ("/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/device_authorization")


def calls(rp) -> list[dict]:
    """What client libraries send, and what they should not."""
    proof = basic(rp.client_id, rp.secret)
    return [
        {"data": ASKS, "headers": proof},
        {"data": {**ASKS, "client_id": rp.client_id, "client_secret": rp.secret}},
        {"data": {"token": "pat_1." + "x" * 43}, "headers": proof},
        {"data": {"scope": "reports:read"}, "headers": proof},
        {"data": ASKS, "headers": basic(rp.client_id, "wrong")},
        {"data": ASKS, "headers": basic("nobody", "wrong")},
        {"data": ASKS, "headers": {"Authorization": "Basic ÿ"}},
        {"data": ASKS},
        {"data": {**ASKS, "grant_type": "password"}, "headers": proof},
        {"data": {**ASKS, "scope": "nothing:such"}, "headers": proof},
        {"data": "grant_type=a&grant_type=b", "content_type": FORM, "headers": proof},
        {"data": "grant_type=%00", "content_type": FORM, "headers": proof},
        {"data": "grant_type=%ff", "content_type": FORM, "headers": proof},
        {"data": "grant_type=é".encode(), "content_type": FORM, "headers": proof},
        {"json": ASKS, "headers": proof},
        {"data": "grant_type=client_credentials", "content_type": f"{FORM.upper()}; charset=utf-8"},
        {"data": ASKS, "query_string": "scope=openid", "headers": proof},
    ]


def answer(client, path: str, call: dict) -> tuple:
    response = client.post(path, **call)
    body = re.sub(r"p[a-z]{2}_[0-9a-f]+\.[\w-]{43}|[B-Z]{4}-[B-Z]{4}", "…", response.text)
    headers = sorted(pair for pair in response.headers if pair[0] != "X-Request-ID")
    assert len(headers) == len(response.headers) - 1
    return response.status, headers, body


@pytest.mark.parametrize("path", PATHS)
def test_both_doors_answer_alike(app, rp, path):
    for call in calls(rp):
        short, flask = app.test_client(), InChunks(app, app.response_class)
        assert answer(short, path, call) == answer(flask, path, call), call


def test_a_failure_of_the_database_is_the_same_at_both_doors(app, rp, monkeypatch):
    def fail(*arguments, **more):
        raise OperationalError("database or disk is full")

    for way in ("_execute_cursor", "execute_at_once"):
        monkeypatch.setattr(f"portal.database.database.obj.{way}", fail)
    call = {"data": ASKS, "headers": basic(rp.client_id, rp.secret)}
    short = answer(app.test_client(), "/oauth/token", call)
    assert short == answer(InChunks(app, app.response_class), "/oauth/token", call)
    assert short[0] == "503 SERVICE UNAVAILABLE"
    assert "temporarily_unavailable" in short[2]


def test_a_surprise_is_a_plain_error_and_no_trace(app, rp, monkeypatch):
    monkeypatch.setattr("portal.oauth.issuing.make_secret", lambda: 1 / 0)
    response = rp.token("client_credentials")
    assert response.status_code == 500
    assert response.get_json()["error"] == "server_error"
    assert "ZeroDivision" not in response.text


def test_the_short_door_opens_no_session_and_sends_no_cookie(rp):
    assert "Set-Cookie" not in rp.token("client_credentials").headers


@pytest.mark.parametrize("length", ["1000000", "-1", "+5", "٣", "x"])
def test_odd_lengths_are_left_to_flask_and_harmless(app, rp, length):
    response = app.test_client().post(
        "/oauth/token", data=ASKS, environ_overrides={"CONTENT_LENGTH": length}
    )
    assert response.status_code in (400, 401, 413)
    assert response.get_json()["error"] in ("invalid_request", "invalid_client")
