"""Settings: what is not understood stops the start with one line; the manual names each one."""

import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest

from portal.database import Unwritable, connect, migrate
from portal.settings import SettingError, Settings

ROOT = Path(__file__).parent.parent
KEY = "k" * 40


def read(tmp_path, **environ) -> Settings:
    return Settings.from_env({"PORTAL_SECRET_KEY": KEY, **environ}, instance=tmp_path)


def complaint(tmp_path, **environ) -> str:
    with pytest.raises(SettingError) as caught:
        read(tmp_path, **environ)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_defaults_are_those_of_the_manual(tmp_path):
    settings = read(tmp_path)
    assert settings.issuer == "http://localhost:8000"
    assert settings.database_url == f"sqlite:///{tmp_path}/portal.db"
    assert (settings.code_seconds, settings.access_token_seconds) == (60, 900)
    assert settings.refresh_token_seconds == 30 * 24 * 60 * 60
    assert (settings.device_code_seconds, settings.refresh_retry_seconds) == (600, 10)
    assert (settings.proxy_hops, settings.htmx) == (0, "cdn")
    assert (settings.log, settings.log_level, settings.access_log) == ("text", "info", 0)
    assert settings.metrics_token == ""


def test_the_readme_names_each_setting():
    manual = (ROOT / "README.md").read_text()
    for setting in fields(Settings):
        name = setting.metadata.get("env")
        if name:
            assert f"`{name}`" in manual, name
        if setting.metadata.get("secret"):
            assert f"`{name}_FILE`" in manual, name


def test_the_readme_names_no_setting_that_is_not_there():
    known = {f.metadata["env"] for f in fields(Settings) if "env" in f.metadata}
    known |= {f"{name}_FILE" for name in known} | {"PORTAL_TEST_REQUIRE"}
    named = set(re.findall(r"`(PORTAL_[A-Z_]+)", (ROOT / "README.md").read_text()))
    assert {name for name in named if not name.startswith("PORTAL_TEST_")} <= known


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("PORTAL_ISUER", "PORTAL_ISSUER"),
        ("PORTAL_CODE_SECOND", "PORTAL_CODE_SECONDS"),
        ("PORTAL_SECRETKEY", "PORTAL_SECRET_KEY"),
        ("PORTAL_HTMX_", "PORTAL_HTMX"),
    ],
)
def test_an_unknown_name_stops_with_the_nearest_known_one(tmp_path, typed, meant):
    text = complaint(tmp_path, **{typed: "1"})
    assert f"There is no setting {typed}." in text
    assert f"Did you mean {meant}?" in text


def test_a_name_like_no_other_points_to_the_manual(tmp_path):
    assert "README" in complaint(tmp_path, PORTAL_GNU_EMACS_BUFFER_WIDTH_PIXELS="1")


def test_names_for_the_tests_are_left_alone(tmp_path):
    read(tmp_path, PORTAL_TEST_REQUIRE="browser", PORTAL_TEST_DATABASE_URL="x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "٨٠٠٠"),
        ("PORTAL_PROXY_HOPS", "-1"),
        ("PORTAL_PROXY_HOPS", "one"),
        ("PORTAL_CODE_SECONDS", "0"),
        ("PORTAL_CODE_SECONDS", "1.5"),
        ("PORTAL_CODE_SECONDS", "601"),
        ("PORTAL_ACCESS_TOKEN_SECONDS", "9" * 20),
        ("PORTAL_ACCESS_TOKEN_SECONDS", "15m"),
        ("PORTAL_REFRESH_TOKEN_SECONDS", "30 days"),
        ("PORTAL_DEVICE_CODE_SECONDS", "ten"),
        ("PORTAL_REFRESH_RETRY_SECONDS", "1e1"),
        ("PORTAL_HTMX", "CDN"),
        ("PORTAL_HTMX", "yes"),
        ("PORTAL_SECRET_KEY", "short"),
        ("PORTAL_LOG", "xml"),
        ("PORTAL_LOG_LEVEL", "loud"),
        ("PORTAL_LOG_LEVEL", "INFO"),
        ("PORTAL_ACCESS_LOG", "yes"),
        ("PORTAL_PRIVATE_LOGOUT_URIS", "2"),
        ("PORTAL_SECRET_KEY", "\udcff" * 48),
        ("PORTAL_METRICS_TOKEN", "short"),
        ("PORTAL_METRICS_TOKEN", "ü" * 40),
        ("DATABASE_URL", "mysql://localhost/portal"),
        ("DATABASE_URL", "portal.db"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///portal.db?mode=ro"),
        ("DATABASE_URL", "postgresql://host:port/portal"),
        ("DATABASE_URL", "postgresql://host:0/portal"),
        ("DATABASE_URL", "postgresql://portal:hush[hush@host/portal"),
        ("PORTAL_ISSUER", "login.example.org"),
        ("PORTAL_ISSUER", "http://login.example.org"),
        ("PORTAL_ISSUER", "https://login.example.org/"),
        ("PORTAL_ISSUER", "https://login.example.org?x=1"),
        ("PORTAL_ISSUER", "https://login.example.org#x"),
        ("PORTAL_ISSUER", "https://"),
        ("PORTAL_ISSUER", "https://[::1"),
        ("PORTAL_ISSUER", "https://example.org:port"),
        ("PORTAL_ISSUER", "ftp://example.org"),
        ("PORTAL_ISSUER", "https://exa mple.org"),
        ("PORTAL_ISSUER", "https://anmeldung-für-alle.example.org"),
    ],
)
def test_a_value_that_cannot_be_used_stops_with_a_line_that_names_it(tmp_path, name, value):
    assert name in complaint(tmp_path, **{name: value})


@pytest.mark.parametrize("sign", ["/", "#", "[", "1/", "1#"])
def test_a_password_that_is_not_escaped_is_not_shown(tmp_path, sign):
    url = f"postgresql://portal:{sign}hush@host/portal"
    told = complaint(tmp_path, DATABASE_URL=url)
    assert "%2F" in told
    assert "hush" not in told


def test_an_empty_value_counts_as_none(tmp_path):
    assert read(tmp_path, PORT="", PORTAL_HTMX=" ") == read(tmp_path)


@pytest.mark.parametrize(
    "issuer",
    [
        "https://login.example.org",
        "https://login.example.org:8443",
        "http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
    ],
)
def test_an_issuer_that_may_be_used(tmp_path, issuer):
    assert read(tmp_path, PORTAL_ISSUER=issuer).issuer == issuer


@pytest.mark.parametrize(
    ("issuer", "better"),
    [
        ("https://example.org/portal", "https://example.org"),
        ("https://Login.Example.org", "https://login.example.org"),
        ("https://login.example.org:443", "https://login.example.org"),
        ("http://localhost:80", "http://localhost"),
    ],
)
def test_an_issuer_that_would_be_written_another_way_says_how(tmp_path, issuer, better):
    assert f"use {better!r}" in complaint(tmp_path, PORTAL_ISSUER=issuer)


def test_a_password_in_the_issuer_is_refused_and_not_shown(tmp_path):
    assert "hush" not in complaint(tmp_path, PORTAL_ISSUER="https://portal:hush@example.org")


@pytest.mark.parametrize(("content", "told"), [(b" \n", "is empty"), (b"\xd0\xff", "hold text")])
def test_a_file_without_a_value_is_not_taken_for_the_default(tmp_path, content, told):
    (tmp_path / "key").write_bytes(content)
    environ = {"PORTAL_SECRET_KEY_FILE": str(tmp_path / "key")}
    with pytest.raises(SettingError, match=rf"PORTAL_SECRET_KEY_FILE.*{told}"):
        Settings.from_env(environ, instance=tmp_path)


def test_a_folder_that_cannot_hold_the_secret_key_says_what_to_set(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"PORTAL_SECRET_KEY is not set.*File exists"):
        Settings.from_env({}, instance=tmp_path / "file")


def test_a_folder_that_cannot_hold_the_database_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Unwritable, match=r"The folder .*file/data cannot be made"):
        migrate(connect(f"sqlite:///{tmp_path}/file/data/portal.db"))


def test_the_issuer_follows_the_port(tmp_path):
    assert read(tmp_path, PORT="8001").issuer == "http://localhost:8001"


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("PORTAL_SECRET_KEY", "s" * 40, "secret_key"),
        ("DATABASE_URL", "postgresql://portal:pw@db/portal", "database_url"),
        ("PORTAL_METRICS_TOKEN", "m" * 40, "metrics_token"),
    ],
)
def test_a_secret_can_come_from_a_file(tmp_path, name, value, field):
    path = tmp_path / "secret"
    path.write_text(f"{value}\n")
    settings = Settings.from_env({f"{name}_FILE": str(path)}, instance=tmp_path)
    assert getattr(settings, field) == value


def test_a_value_and_a_file_for_it_contradict_each_other(tmp_path):
    text = complaint(tmp_path, PORTAL_SECRET_KEY_FILE=str(tmp_path / "x"))
    assert "PORTAL_SECRET_KEY or PORTAL_SECRET_KEY_FILE" in text


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "DATABASE_URL_FILE" in complaint(tmp_path, DATABASE_URL_FILE=str(tmp_path / "none"))


def test_only_secrets_have_a_file(tmp_path):
    assert "PORTAL_ISSUER_FILE" in complaint(tmp_path, PORTAL_ISSUER_FILE="/x")


def test_the_secret_key_is_made_once_and_nobody_else_may_read_it(tmp_path):
    first = Settings.from_env({}, instance=tmp_path / "instance")
    assert Settings.from_env({}, instance=tmp_path / "instance").secret_key == first.secret_key
    mode = (tmp_path / "instance" / "secret_key").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_secret_key_that_was_never_written_is_made_anew(tmp_path):
    """A start that was killed leaves an empty file."""
    (tmp_path / "secret_key").touch(0o600)
    made = Settings.from_env({}, instance=tmp_path).secret_key
    assert len(made) >= 32
    assert (tmp_path / "secret_key").read_text() == made


def test_starts_that_race_agree_on_the_secret_key(tmp_path):
    with ThreadPoolExecutor(8) as starts:
        made = list(starts.map(lambda _: Settings.from_env({}, instance=tmp_path), range(8)))
    assert len({settings.secret_key for settings in made}) == 1


def test_a_wrong_setting_stops_the_server_with_one_line():
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORTAL_ISUER": "https://example.org"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "Error: There is no setting PORTAL_ISUER. Did you mean PORTAL_ISSUER?\n"


@pytest.mark.parametrize(
    ("environ", "begins"),
    [
        ({}, "flask"),
        ({"PORT": "8471"}, "PORT=8471 flask"),
        ({"PORT": "8471", "PORTAL_ISSUER": "https://login.example.org"}, "flask"),
    ],
)
def test_the_command_for_a_link_is_for_the_address_that_is_served(tmp_path, environ, begins):
    assert Settings.from_env(environ, tmp_path).setup_command == f"{begins} --app wsgi setup-link"
