"""`doctor`: what is wrong with an installation, and with the proxy in front of it."""

import json
import socket
from contextlib import ExitStack
from dataclasses import replace

import pytest
import time_machine

from portal import create_app, diagnosis
from portal.cli.installation import filesystem_of
from portal.clock import now
from portal.credentials import ID_BITS
from portal.database import database
from portal.models import AccessToken, User
from tests.cli.proxies import closing_database, proxy, serving, tls
from tests.engines import on_both_engines, only_on_sqlite
from tests.mail_server import running_mail_server

DAY = 24 * 60 * 60


def add_for(headers: dict[str, str], address: str = "198.51.100.7") -> None:
    before = headers.get("X-Forwarded-For")
    headers["X-Forwarded-For"] = f"{before}, {address}" if before else address


def right(headers: dict[str, str], path: str) -> str:
    """What deploy/nginx.conf does."""
    add_for(headers)
    headers |= {"X-Forwarded-Proto": "https", "X-Forwarded-Host": headers["Host"]}
    return path


@pytest.fixture
def examine(settings, alice, tmp_path, monkeypatch):
    """Put the portal behind a proxy and let doctor look: its lines about address and proxy."""
    with ExitStack() as stack:

        def make(change=right, hops=1, reality=None, **more) -> list[str]:
            context, certificate = tls(tmp_path, **more)
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            target = {}
            front = proxy_to(target, change)
            port = stack.enter_context(serving(front, context))
            issuer = f"https://localhost:{port}"
            database.close()
            mine = replace(settings, issuer=issuer, proxy_hops=hops)
            app = create_app(replace(mine, **reality) if reality else mine)
            if app.extensions["portal.settings"] != mine:
                runner = create_app(mine).test_cli_runner()
            else:
                runner = app.test_cli_runner()
            target["port"] = stack.enter_context(serving(closing_database(app)))
            result = runner.invoke(args=["doctor"])
            lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
            found = [line for line in lines if line.split()[1] in ("address", "proxy")]
            assert result.exit_code == any(line.startswith("problem") for line in found), lines
            return found

        yield make


def proxy_to(target: dict, change):
    return lambda environ, start: proxy(target["port"], change)(environ, start)


def problem(lines: list[str]) -> str:
    """The only problem."""
    found = [line for line in lines if line.startswith("problem")]
    assert len(found) == 1, lines
    return found[0]


def test_a_right_proxy_is_all_right(examine):
    address, seen = examine()
    assert address.startswith("ok address https://localhost:")
    assert "from 198.51.100.7" in seen


def test_a_right_chain_of_two_proxies_is_all_right(examine):
    def outer(headers, path):
        add_for(headers, "203.0.113.5")
        return right(headers, path)

    assert [line.split()[0] for line in examine(outer, hops=2)] == ["ok", "ok"]


def test_a_missing_scheme_is_named_with_the_line_that_adds_it(examine):
    def change(headers, path):
        right(headers, path)
        del headers["X-Forwarded-Proto"]
        return path

    said = problem(examine(change))
    assert "does not send X-Forwarded-Proto" in said
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in said


def test_a_wrong_scheme_of_an_inner_proxy_is_named(examine):
    def change(headers, path):
        right(headers, path)
        headers["X-Forwarded-Proto"] = "http"
        return path

    assert "$http_x_forwarded_proto" in problem(examine(change))


def test_a_proxy_that_is_not_believed_is_named_with_the_setting(examine):
    assert "PORTAL_PROXY_HOPS is 0 but a proxy adds X-Forwarded-For" in problem(examine(hops=0))


def test_a_hop_too_many_lets_visitors_forge_addresses(examine):
    said = problem(examine(hops=2))
    assert "only 1 hop arrives: a visitor can forge addresses; set it to 1" in said


def test_a_hop_too_few_gives_everybody_the_address_of_a_proxy(examine):
    def outer(headers, path):
        add_for(headers, "203.0.113.5")
        return right(headers, path)

    assert "2 hops arrive" in problem(examine(outer, hops=1))


def test_without_any_header_a_visitor_can_forge_all(examine):
    lines = examine(lambda headers, path: path)
    assert any("no X-Forwarded-For arrives: a visitor can forge addresses" in x for x in lines)
    assert any("does not send X-Forwarded-Proto" in line for line in lines)
    assert any("hands on a visitor's X-Forwarded-Host" in line for line in lines)


def test_a_proxy_that_believes_visitors_is_named(examine):
    def change(headers, path):
        headers.setdefault("X-Forwarded-For", "198.51.100.7")
        headers |= {"X-Forwarded-Proto": "https", "X-Forwarded-Host": headers["Host"]}
        return path

    assert "believes a visitor's X-Forwarded-For" in problem(examine(change))


def test_a_rewritten_host_is_named(examine):
    def change(headers, path):
        right(headers, path)
        del headers["X-Forwarded-Host"]
        headers["Host"] = "127.0.0.1:8000"
        return path

    said = problem(examine(change))
    assert "sees the host 127.0.0.1:8000 instead of localhost:" in said
    assert "proxy_set_header Host $http_host;" in said


def test_a_path_that_is_added_is_named(examine):
    said = problem(examine(lambda headers, path: "/login" + right(headers, path)))
    assert "adds /login before each path" in said


def test_a_portal_with_another_issuer_is_named(examine):
    lines = examine(reality={"issuer": "https://old.example.org"})
    assert "calls itself https://old.example.org" in problem(lines)


def test_a_portal_with_other_hops_is_named(examine):
    lines = examine(hops=2, reality={"proxy_hops": 1})
    assert "the portal that runs has PORTAL_PROXY_HOPS=1, this command 2" in problem(lines)


def test_a_portal_with_another_secret_key_is_named_and_tells_nothing(examine):
    said = problem(examine(reality={"secret_key": "j" * 40}))
    assert "another PORTAL_SECRET_KEY" in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"name": "other.example.org"}, "the certificate is for another name"),
        ({"days": -1}, "the certificate has expired: renew it"),
    ],
)
def test_a_wrong_certificate_is_named(examine, more, words):
    assert words in problem(examine(**more))


def test_a_certificate_that_nobody_vouches_for_is_named(settings, tmp_path, monkeypatch):
    context, _ = tls(tmp_path)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert "the certificate is not trusted" in look_at(settings, "https", lambda e, s: [], context)


def look_at(settings, scheme: str, app, context=None) -> str:
    """The line about the address, when this answers there."""
    with serving(app, context) as port:
        database.close()
        issuer = f"{scheme}://localhost:{port}"
        runner = create_app(replace(settings, issuer=issuer)).test_cli_runner()
        lines = runner.invoke(args=["doctor"]).stdout.splitlines()
    return next(line for line in lines if line.split()[1] == "address")


def answering(status: str, body: bytes = b"", **headers: str):
    def app(environ, start_response):
        start_response(status, list(headers.items()))
        return [body]

    return app


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (answering("502 Bad Gateway"), "does not reach the portal"),
        (answering("200 OK", b"<h1>Welcome"), "something else than Portal answers"),
        (answering("200 OK", b"[]"), "something else than Portal answers"),
        (answering("302 Found", Location="https://evil.example/"), "another host, evil.example"),
        (answering("301 Moved", Location="https://localhost/x"), "set PORTAL_ISSUER=https://"),
        (answering("302 Found", Location="/maintenance"), "redirects to /maintenance"),
    ],
)
def test_what_else_may_answer_there(settings, app, words):
    assert words in look_at(settings, "http", app)


def test_a_server_without_tls_is_named(settings):
    assert "does not speak TLS" in look_at(settings, "https", answering("200 OK"))


def test_nobody_there(settings, flask):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        said = flask("doctor", "--url", f"http://127.0.0.1:{probe.getsockname()[1]}").out
    assert "cannot connect (connection refused)" in said


def test_an_address_that_is_none(flask):
    assert flask("doctor", "--url", "login").complaint.startswith("--url must be an address")


# The diagnosis itself


@pytest.mark.parametrize("path", ["/healthz", "/.well-known/openid-configuration", "/nowhere"])
def test_a_wrong_challenge_changes_nothing(client, path):
    usual = client.get(path)
    for challenge in ("", "x", "x.y.z", "A" * 5000):
        answer = client.get(path, headers={diagnosis.HEADER: challenge})
        assert (answer.status_code, answer.mimetype) == (usual.status_code, usual.mimetype)
        assert "hops" not in answer.text


def test_a_challenge_is_good_for_a_minute(client, settings):
    challenge, nonce = diagnosis.make_challenge(settings)
    headers = {diagnosis.HEADER: challenge}
    seen = diagnosis.read_answer(settings, client.get("/healthz", headers=headers).text, nonce)
    assert (seen["path"], seen["host"], seen["hops"]) == ("/healthz", "localhost", 0)
    with time_machine.travel(now() + diagnosis.SECONDS + 2, tick=False):
        assert client.get("/healthz", headers=headers).json == {"status": "ok"}


def test_an_answer_is_good_for_one_question(client, settings):
    challenge, _ = diagnosis.make_challenge(settings)
    answer = client.get("/healthz", headers={diagnosis.HEADER: challenge}).text
    assert diagnosis.read_answer(settings, answer, "another nonce") is None
    assert diagnosis.read_answer(settings, challenge, "") is None


# What is on this machine


@pytest.fixture
def checks(app):
    """Each check by its subject; the address is nobody's."""

    def run() -> dict[str, str]:
        result = app.test_cli_runner().invoke(args=["doctor", "--json"])
        report = json.loads(result.stdout)
        bad = [check for check in report["checks"] if not check["ok"]]
        assert (report["problems"], result.exit_code) == (len(bad), 1 if bad else 0)
        return {check["subject"]: check["text"] for check in bad}

    return run


@on_both_engines
def test_a_sound_installation_has_no_problem_but_that_it_does_not_run(app, alice, checks):
    assert set(checks()) == {"address"}


@only_on_sqlite
def test_files_that_everybody_may_read_are_named(app, alice, checks, tmp_path, monkeypatch):
    key, token = tmp_path / "secret_key", tmp_path / "metrics_token"
    for path in (key, token):
        path.write_text("k" * 40)
        path.chmod(0o644)
    monkeypatch.setenv("PORTAL_METRICS_TOKEN_FILE", str(token))
    assert "files" not in checks()  # pytest's folder above is closed
    (tmp_path / "portal.db").chmod(0o644)
    opened = [folder for folder in tmp_path.parents if not folder.stat().st_mode & 1]
    modes = {folder: folder.stat().st_mode for folder in opened}
    try:
        for folder in [tmp_path, *opened]:
            folder.chmod(0o711)
        assert checks()["files"].endswith(f"chmod 600 {key} {token} {tmp_path}/portal.db")
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)


def test_a_new_database_is_closed_to_others(tmp_path, settings):
    url = f"sqlite:///{tmp_path}/new/portal.db"
    database.close()
    app = create_app(replace(settings, database_url=url))
    assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    database.close()
    for path in (tmp_path / "new").glob("portal.db*"):
        if not path.name.endswith(".migrate"):
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_network_filesystem_is_recognised(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/a / ext4 rw 0 0\nserver:/x /srv/portal nfs4 rw 0 0\n")
    assert filesystem_of(tmp_path / "x", mounts) == "ext4"
    assert filesystem_of(tmp_path.__class__("/srv/portal/portal.db"), mounts) == "nfs4"
    assert filesystem_of(tmp_path, tmp_path / "none") is None


@on_both_engines
def test_an_old_schema_is_named(app, alice, checks):
    database.execute_sql("UPDATE schema_migration SET name = 'x' WHERE name = '0005_lease'")
    try:
        assert "lacks 0005_lease: run flask --app wsgi db upgrade" in checks()["database"]
    finally:
        database.execute_sql("UPDATE schema_migration SET name = '0005_lease' WHERE name = 'x'")


def test_a_database_without_tables_is_one_line(tmp_path, settings):
    database.close()
    app = create_app(replace(settings, database_url=f"sqlite:///{tmp_path}/new.db"))
    result = app.test_cli_runner().invoke(args=["doctor"])
    database.close()
    assert result.exit_code == 1
    assert "There is no portal in sqlite:" in result.stdout
    assert "make a new one with flask --app wsgi db upgrade" in result.stdout


def test_nobody_who_administers_is_named(app, alice, checks):
    User.update(disabled_at=now()).execute()
    assert "setup-link" in checks()["administrator"]
    User.update(disabled_at=None, password_hash=None).execute()
    assert "user reset-link alice" in checks()["administrator"]


def test_another_secret_key_is_named(settings, alice):
    database.close()
    app = create_app(replace(settings, secret_key="j" * 40))
    said = app.test_cli_runner().invoke(args=["doctor"]).stdout
    assert "signing keys" in said
    assert "another PORTAL_SECRET_KEY" in said


def test_a_sweep_that_does_not_happen_is_named(app, alice, checks):
    made_at = now() - 2 * DAY
    AccessToken.create(
        id=made_at * 1000 << ID_BITS,
        hash=b"x",
        application_id=1,
        epoch=1,
        scopes=["public"],
        created_at=made_at,
        expires_at=made_at + 900,
    )
    assert "PORTAL_SWEEP_SECONDS" in checks()["sweep"]


def test_htmx_that_is_not_there_is_named(settings, alice):
    database.close()
    app = create_app(replace(settings, htmx="local"))
    said = app.test_cli_runner().invoke(args=["doctor"]).stdout
    assert "run flask --app wsgi assets fetch" in said


def test_a_mail_server_is_tried(settings, alice):
    with running_mail_server() as server:
        mailing = replace(settings, smtp_url=server.url, mail_from="login@example.org")
        database.close()
        runner = create_app(mailing).test_cli_runner()
        assert "the mail server takes our sign-in" in runner.invoke(args=["doctor"]).stdout
    said = runner.invoke(args=["doctor"]).stdout
    assert "localhost" in said
    assert "check PORTAL_SMTP_URL" in said
