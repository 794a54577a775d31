"""The files in deploy/ are what they say: they parse, and name only what there is."""

import configparser
import os
import re
import shutil
import socket
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from portal import serve
from portal.security import MAX_BODY_BYTES
from portal.settings import Settings
from tests.mail_server import make_certificate

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
MANUAL = ROOT / "docs" / "deploying.md"
TEXTS = [path for path in DEPLOY.iterdir() if path.is_file()]


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def unit() -> configparser.ConfigParser:
    # A name may come twice in a unit.
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "portal.service")
    return parser


@pytest.mark.parametrize("path", [*TEXTS, MANUAL], ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path):
    known = {f.metadata["env"]: f.metadata["secret"] for f in fields(Settings) if f.metadata}
    names = {*known, *(f"{name}_FILE" for name, secret in known.items() if secret)}
    assert set(re.findall(r"\bPORTAL_[A-Z_]+", path.read_text())) <= names


@pytest.mark.parametrize("path", [*TEXTS, MANUAL], ids=lambda path: path.name)
def test_every_command_that_is_named_exists(path, app):
    named = set(re.findall(r"(?:flask --app wsgi|`portal) ([a-z-]+)", path.read_text()))
    assert named <= set(app.cli.commands)


@pytest.mark.parametrize("path", [*TEXTS, MANUAL], ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path):
    for name in re.findall(r"\bdeploy/[A-Za-z.]+\w", path.read_text()):
        assert (ROOT / name).is_file(), name


def test_the_settings_of_the_example_can_be_read(tmp_path):
    environ = dict(
        line.split("=", 1)
        for line in (DEPLOY / "portal.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    key = tmp_path / "secret_key"
    key.write_text("k" * 48)
    environ["PORTAL_SECRET_KEY_FILE"] = str(key)
    settings = Settings.from_env(environ, instance=tmp_path)
    assert settings.is_https
    assert settings.proxy_hops == 1
    assert settings.database_url == "sqlite:////var/lib/portal/portal.db"


def test_the_service_upgrades_first_and_has_time_to_stop():
    service = unit()["Service"]
    assert service["ExecStartPre"].endswith("flask --app wsgi db upgrade")
    assert service["ExecStart"].endswith("flask --app wsgi serve")
    assert int(service["TimeoutStopSec"]) > serve.GRACE_SECONDS + 3
    # It may write where the example keeps its database, and runs as nobody important.
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectory"] == "portal"
    assert service["User"] == "portal"


def test_systemd_understands_the_service(tmp_path):
    analyze = program("systemd-analyze")
    # The program of the service is not on this machine; any other will do.
    text = (DEPLOY / "portal.service").read_text().replace("/opt/portal/.venv/bin/flask", "/bin/sh")
    path = tmp_path / "portal.service"
    path.write_text(text)
    done = run(analyze, "verify", "--man=no", str(path))
    about_us = [line for line in done.stderr.splitlines() if "portal.service" in line]
    assert (done.returncode, about_us) == (0, [])


def test_the_command_script_is_a_script():
    assert os.access(DEPLOY / "portal", os.X_OK)
    assert run("sh", "-n", str(DEPLOY / "portal")).returncode == 0


def test_the_container_copies_what_is_there_and_runs_as_nobody_important():
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--" not in line]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name
    assert {"portal", "templates", "static"} <= {name for names in copied for name in names}
    assert lines.index("USER portal") < lines.index("VOLUME /data")
    assert not any(re.match(r"(ENV|ARG) .*(SECRET|PASSWORD)", line) for line in lines)


def test_nginx_understands_its_file(tmp_path):
    nginx = program("nginx")
    certificate, key = make_certificate(tmp_path, "login.example.org")
    text = (DEPLOY / "nginx.conf").read_text()
    text = text.replace("/etc/ssl/login.example.org.pem", str(certificate))
    text = text.replace("/etc/ssl/login.example.org.key", str(key))
    # nginx -t also takes the ports; those below 1024 may be somebody else's.
    for port in ("80", "443"):
        text = re.sub(
            rf"listen (\[::\]:)?{port}\b", f"listen 127.0.0.1:{free_port()}", text, count=1
        )
        text = re.sub(rf"    listen \[::\]:{port}.*\n", "", text)
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = tmp_path / "nginx.conf"
    path.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}}"
        f" http {{ access_log off; {folders}\n{text}\n}}"
    )
    done = run(nginx, "-t", "-c", str(path))
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_nginx_sets_what_doctor_asks_for():
    text = (DEPLOY / "nginx.conf").read_text()
    for header in ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"):
        # Once, outside of the locations: nginx forgets them in a location that sets its own.
        assert len(re.findall(rf"^    proxy_set_header {header} ", text, re.M)) == 1
    assert f"client_max_body_size {MAX_BODY_BYTES // 1024}k;" in text


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_the_proxies_choose_the_id_of_a_request(name):
    assert "X-Request-ID" in (DEPLOY / name).read_text()


def test_caddy_understands_its_file(tmp_path):
    caddy = program("caddy")
    path = str(DEPLOY / "Caddyfile")
    # It writes its state into the home directory, which is not ours to touch.
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = run(caddy, "validate", "--config", path, "--adapter", "caddyfile", **home)
    assert done.returncode == 0, done.stderr
    adapted = run(caddy, "adapt", "--config", path, UPSTREAMS="one:8000 two:8000", **home).stdout
    assert re.findall(r'"dial":"([^"]+)"', adapted) == ["one:8000", "two:8000"]


def test_the_proxies_close_the_metrics():
    for name in ("nginx.conf", "Caddyfile"):
        assert re.search(r"/metrics\b.*404", (DEPLOY / name).read_text(), re.S), name
