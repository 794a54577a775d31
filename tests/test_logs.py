"""The log: lines that a person or a program can read, and the request that each belongs to."""

import json
import logging
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from portal import create_app
from portal.models import OneTimeLink

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ \S+ \S+ .+")
SECRET = "a-secret-of-somebody"


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_a_line(configured, capsys):
    configured(log="json")
    logging.getLogger("portal.mail").warning("two\nlines %s", "ü")
    (line,) = objects(capsys.readouterr().err)
    assert datetime.fromisoformat(line.pop("time")).utcoffset() == timedelta(0)
    assert line == {"level": "WARNING", "logger": "portal.mail", "message": "two\nlines ü"}


def test_a_trace_is_one_field(configured, capsys):
    configured(log="json")
    try:
        raise ValueError("this went wrong")
    except ValueError:
        logging.getLogger("portal").exception("no")
    (line,) = objects(capsys.readouterr().err)
    assert "Traceback" in line["exception"]
    assert "this went wrong" in line["exception"]


def test_what_other_code_adds_to_a_record_stays_out(configured, capsys):
    configured(log="json")
    logging.getLogger("somebody").warning("hello", extra={"token": SECRET})
    assert SECRET not in capsys.readouterr().err


def test_text_cannot_begin_another_line(configured, capsys):
    configured()
    forged = "x\r\n2026-01-01T00:00:00.000Z INFO portal - signed in"
    logging.getLogger("portal").warning("%s", forged)
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert LINE.fullmatch(text.rstrip("\n"))


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", "DIWE"), ("info", "IWE"), ("warning", "WE"), ("error", "E")],
)
def test_the_level_is_that_of_portals_own_lines(configured, capsys, level, heard):
    configured(log="json", log_level=level)
    for name, letter in (("debug", "D"), ("info", "I"), ("warning", "W"), ("error", "E")):
        getattr(logging.getLogger("portal.mail"), name)("%s", letter)
    assert "".join(line["message"] for line in objects(capsys.readouterr().err)) == heard


@pytest.mark.parametrize(
    "name",
    [
        "authlib.oauth2.rfc6749",
        "peewee",
        "psycopg",
        "urllib3.connectionpool",
        "werkzeug",
        "uvicorn",
        "the.next.library",
    ],
)
def test_other_code_does_not_chat_at_any_level(configured, capsys, name):
    configured(log_level="debug")
    logging.getLogger(name).debug(SECRET)
    logging.getLogger(name).info(SECRET)
    assert capsys.readouterr().err == ""


# The id of a request


def test_each_answer_carries_an_id_of_its_own(client):
    ids = {client.get(path).headers["X-Request-ID"] for path in ("/login", "/login", "/nothing")}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)


@pytest.mark.usefixtures("app")  # it closes what this one opens
@pytest.mark.parametrize(
    ("hops", "sent", "kept"),
    [
        (1, "0f3c9d2e-7a1b-4c55-8d1e-aa00bb11cc22", True),
        (0, "0f3c9d2e-7a1b-4c55-8d1e-aa00bb11cc22", False),
        (1, "short", False),
        (1, "x" * 65, False),
        (1, "<script>alert(1)</script>", False),
        (1, "two words of text", False),
    ],
)
def test_only_a_proxy_that_is_believed_may_choose_the_id(settings, hops, sent, kept):
    proxied = create_app(replace(settings, proxy_hops=hops)).test_client()
    answer = proxied.get("/healthz", headers={"X-Request-ID": sent})
    assert answer.headers.getlist("X-Request-ID")
    assert (answer.headers["X-Request-ID"] == sent) is kept


@pytest.fixture
def failing(monkeypatch):
    def fail(secret):
        raise RuntimeError

    monkeypatch.setattr(OneTimeLink, "find", fail)


def test_a_page_about_a_failure_shows_the_reference_that_the_log_has(
    client, configured, capsys, failing
):
    configured(log="json")
    answer = client.get(f"/reset/{SECRET}")
    reference = answer.headers["X-Request-ID"]
    page = answer.get_data(as_text=True)
    assert "tell the administrator this reference" in page
    assert f"Reference <code>{reference}</code>" in page
    (line,) = objects(capsys.readouterr().err)
    assert line["request_id"] == reference
    assert "RuntimeError" in line["exception"]
    logging.getLogger("portal").warning("later")
    (later,) = objects(capsys.readouterr().err)
    assert "request_id" not in later


def test_a_page_about_somebodys_own_mistake_shows_none(client):
    assert "Reference" not in client.get("/nothing").get_data(as_text=True)


# The access log


def watched(settings, configured):
    """A browser at a portal that writes a line for each request."""
    watching = {"access_log": 1, "log": "json", "log_level": "error"}
    made = create_app(replace(settings, **watching, proxy_hops=1))
    configured(**watching)
    return made.test_client()


@pytest.mark.usefixtures("app")  # it closes what this one opens
def test_a_request_is_one_line_with_its_route_and_never_its_address(settings, configured, capsys):
    forwarded = {"X-Forwarded-For": "203.0.113.5"}
    answer = watched(settings, configured).get(f"/reset/{SECRET}?next={SECRET}", headers=forwarded)
    written = capsys.readouterr().err
    assert SECRET not in written
    (line,) = objects(written)
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert (line["method"], line["route"]) == ("GET", "/reset/<secret>")
    assert (line["status"], line["client"]) == (answer.status_code, "203.0.113.5")
    assert 0 < line["duration_ms"] < 5000
    assert line["logger"] == "portal.access"


@pytest.mark.usefixtures("app")  # it closes what this one opens
def test_an_address_that_leads_nowhere_is_not_written_down(settings, configured, capsys):
    browser = watched(settings, configured)
    browser.get(f"/{SECRET}")
    browser.open(f"/login/{SECRET}", method="DELETE")
    written = capsys.readouterr().err
    assert SECRET not in written
    assert [line["route"] for line in objects(written)] == ["unknown"] * 2


def test_without_the_setting_there_is_no_access_log(client, configured, capsys):
    configured(log_level="debug")
    client.get("/login")
    assert capsys.readouterr().err == ""
