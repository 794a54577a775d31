"""What Prometheus gets to see: true counts, few labels, and only with the token."""

import asyncio
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask import request
from prometheus_client.parser import text_string_to_metric_families

from portal.database import database, on_sqlite, open_database, transaction
from portal.metrics import shared_between_workers
from portal.models import Throttle
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from portal.worker import Worker
from tests.conftest import usual_settings
from tests.factories import PASSWORD, make_application, post
from tests.flows import DEVICE_GRANT, RelyingApp

TOKEN = "m" * 40


@pytest.fixture
def settings(tmp_path, database_url):
    return replace(usual_settings(database_url, tmp_path), metrics_token=TOKEN)


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    grants = [AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN]
    application, secret = make_application(alice, grants=grants)
    return RelyingApp(app.test_client(), application, secret)


def fetch(client, authorization: str = f"Bearer {TOKEN}"):
    return client.get("/metrics", headers={"Authorization": authorization})


def samples(text: str) -> dict[str, float]:
    """Each series as Prometheus stores it: `name{label="value"}`."""
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Count:
    """How much a series grew since this was made: the counts are those of the whole process."""

    def __init__(self, client) -> None:
        self.client = client
        self.before = self.read()

    def read(self) -> dict[str, float]:
        return samples(fetch(self.client).get_data(as_text=True))

    def grown(self, name: str, **labels: str) -> float:
        series = name + str(sorted(labels.items()))
        return self.read().get(series, 0) - self.before.get(series, 0)

    def requests(self, endpoint: str, status: str) -> float:
        return self.grown("portal_request_seconds_count", endpoint=endpoint, status=status)


@pytest.fixture
def count(client) -> Count:
    return Count(client)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer ü"]
)
def test_nobody_reads_it_without_the_token(client, authorization):
    answer = fetch(client, authorization)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "portal_" not in answer.get_data(as_text=True)


def test_it_is_not_there_until_a_token_is_set(client, app):
    app.extensions["portal.settings"] = replace(app.extensions["portal.settings"], metrics_token="")
    for authorization in ("Bearer ", f"Bearer {TOKEN}"):
        assert fetch(client, authorization).status_code == 404


def test_the_answer_is_prometheus_text_that_no_cache_keeps(client):
    answer = fetch(client)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    assert 'portal_build_info{python="' in answer.get_data(as_text=True)
    assert samples(answer.get_data(as_text=True))["portal_ready[]"] == 1


def test_requests_are_counted_by_route_and_status(client, count, rp):
    client.get("/login")
    client.get("/healthz?x=1")
    rp.token("client_credentials")
    rp.http.post("/oauth/token", data={"grant_type": "client_credentials"})
    assert count.requests("account.show_login", "200") == 1
    assert count.requests("healthz", "200") == 1
    assert count.requests("oauth.token", "200") == 1
    assert count.requests("oauth.token", "401") == 1


def test_the_time_is_that_of_the_answer(client, count):
    client.get("/healthz")
    sums = {"endpoint": "healthz", "status": "200"}
    assert 0 < count.grown("portal_request_seconds_sum", **sums) < 5
    assert count.grown("portal_request_seconds_bucket", le="+Inf", **sums) == 1


def test_addresses_that_lead_nowhere_share_one_name(client, count):
    before = count.read().keys()
    for path in ("/nothing", "/a-secret-typed-as-a-path", "/oauth/nothing", "/admin/%00"):
        client.get(path)
    client.open("/healthz", method="INVENTED")
    assert count.requests("unknown", "404") == 4
    new = count.read().keys() - before
    assert all("'unknown'" in series or "'metrics'" in series for series in new)
    assert "secret" not in str(new)


def test_pages_with_names_in_their_address_are_one_route(browser_of, alice, count, rp):
    browser = browser_of(alice)
    browser.get(f"/admin/applications/{rp.client_id}")
    text = fetch(browser).get_data(as_text=True)
    assert rp.client_id not in text
    assert 'endpoint="admin.show_application"' in text


def test_tokens_are_counted_by_grant(count, rp, browser_of, bob):
    browser = browser_of(bob)
    tokens = rp.sign_in(browser)
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    rp.token("client_credentials")
    device = rp.post("/oauth/device_authorization", {"scope": "profile"}).get_json()
    rp.decide(browser, post(browser, "/device", {"user_code": device["user_code"]}))
    assert rp.token(DEVICE_GRANT, device_code=device["device_code"]).status_code == 200
    for grant in ("authorization_code", "refresh_token", "client_credentials", "device_code"):
        assert count.grown("portal_tokens_issued_total", grant=grant) == 1, grant


def test_refusals_are_counted_by_reason(count, rp, client):
    rp.token("authorization_code", code="nonsense")
    rp.authorize(client, redirect_uri="https://elsewhere.example/cb")
    RelyingApp(rp.http, rp.application, "pcs_wrong").token("client_credentials")
    for reason in ("code_unknown", "redirect_uri_mismatch", "secret_wrong"):
        assert count.grown("portal_refusals_total", reason=reason) == 1, reason


def test_sign_ins_are_counted_by_outcome(count, client, bob):
    post(client, "/login", {"username": "bob", "password": PASSWORD})
    for _ in range(11):
        post(client, "/login?reauth=1", {"username": "mallory", "password": "wrong"})
    assert count.grown("portal_sign_ins_total", outcome="accepted") == 1
    assert count.grown("portal_sign_ins_total", outcome="refused") == 10
    assert count.grown("portal_sign_ins_total", outcome="throttled") == 1


def test_it_answers_when_the_database_does_not(client, tmp_path):
    (tmp_path / "broken.db").write_bytes(b"no database at all " * 100)
    open_database(f"sqlite:///{tmp_path}/broken.db")
    answer = fetch(client)
    assert answer.status_code == 200
    assert samples(answer.get_data(as_text=True))["portal_ready[]"] == 0
    database.close()


@pytest.fixture
def answer_of_worker(app, monkeypatch):
    """What a worker of `serve` answers while the disk refuses to keep what was written."""

    def fail(handle: int) -> None:
        raise OSError(5, "Input/output error")

    def ask(path: str) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.request"}

        async def send(message: dict) -> None:
            sent.append(message)

        scope = {
            "server": ("localhost", 80),
            "client": ("192.0.2.1", 1),
            "method": "GET",
            "path": path,
            "query_string": b"",
            "http_version": "1.1",
            "scheme": "http",
            "headers": [(b"host", b"localhost:8000")],
        }
        worker = Worker(app.wsgi_app, 1)
        with ThreadPoolExecutor(1) as thread:  # for it loses patience
            thread.submit(asyncio.run, worker.handle(scope, receive, send)).result()
            thread.submit(database.close).result()
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    if not on_sqlite():
        pytest.skip("PostgreSQL waits for its own disk")
    monkeypatch.setattr(os, "fdatasync", fail)
    monkeypatch.setattr("portal.worker.AT_ONCE", {"/account/kept", "/oauth/kept"})
    return ask


def test_what_the_disk_did_not_keep_is_told_as_any_failure_and_not_counted_as_answered(
    app, answer_of_worker
):
    @app.get("/account/kept", endpoint="kept_page")
    @app.get("/oauth/kept", endpoint="kept_json")
    def kept() -> str:
        with transaction():
            Throttle.create(key=request.path, last_at=1)
        return "Kept."

    count = Count(app.test_client())
    status, headers, body = answer_of_worker("/account/kept")
    assert status == 503
    assert headers[b"content-type"].startswith(b"text/html")
    assert headers[b"retry-after"]
    assert b"Nothing that was confirmed is lost" in body
    assert headers[b"x-request-id"] in body
    status, headers, body = answer_of_worker("/oauth/kept")
    assert (status, json.loads(body)["error"]) == (503, "temporarily_unavailable")
    assert headers[b"retry-after"]
    for endpoint in ("kept_page", "kept_json"):
        assert count.requests(endpoint, "200") == 0
        assert count.requests(endpoint, "503") == 1


def test_serve_says_in_a_line_that_it_has_nowhere_to_count(app, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not-there"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = app.test_cli_runner().invoke(args=["serve", "--port", str(port)])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: PORTAL_METRICS_TOKEN needs a folder")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files, where everything was made an hour ago."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr("portal.metrics.NEW_SECONDS", -1)
    return folder


def test_what_a_killed_server_left_is_cleared_at_the_next_start(settings, temporary):
    left = temporary / "portal-metrics-killed"
    left.mkdir()
    (left / "counter_1.db").write_bytes(b"x")
    (temporary / "portal-metrics-link").symlink_to(temporary)
    (temporary / "another-program").mkdir()
    with shared_between_workers(settings):
        assert not left.exists()
    kept = {path.name for path in temporary.iterdir()}
    assert kept == {"portal-metrics-link", "another-program"}


def test_the_folder_of_a_server_that_runs_is_left_alone(settings, temporary, monkeypatch):
    with shared_between_workers(settings):
        mine = os.environ["PROMETHEUS_MULTIPROC_DIR"]
        with shared_between_workers(settings):
            assert os.path.isdir(mine)
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", mine)
    assert not os.path.exists(mine)


def test_a_folder_that_was_only_just_made_is_left_alone(settings, temporary, monkeypatch):
    monkeypatch.setattr("portal.metrics.NEW_SECONDS", 10)
    (temporary / "portal-metrics-new").mkdir()
    with shared_between_workers(settings):
        assert (temporary / "portal-metrics-new").exists()
