"""`db upgrade`, `assets fetch`, `cleanup`, and what every command says about the database."""

import base64
import hashlib
import itertools
import urllib.request
from dataclasses import replace

import pytest

from portal import create_app, htmx
from portal.cleanup import CHUNK
from portal.clock import now, now_ms
from portal.credentials import ID_BITS, hash_secret
from portal.database import database
from portal.models import (
    AccessToken,
    AuthorizationCode,
    DeviceCode,
    OneTimeLink,
    Scope,
    Session,
    Throttle,
    TokenFamily,
)
from portal.settings import Settings

HOUR = 60 * 60
DAY = 24 * HOUR


@pytest.fixture
def empty(tmp_path):
    """A portal whose database has no tables yet."""
    app = create_app(
        Settings(
            issuer="http://localhost:8000",
            database_url=f"sqlite:///{tmp_path}/empty/portal.db",
            secret_key="k" * 40,
            instance=tmp_path,
        )
    )
    yield app.test_cli_runner()
    database.close()


def test_db_upgrade_makes_the_schema_once(empty):
    assert "Applied 0001_initial" in empty.invoke(args=["db", "upgrade"]).stdout
    assert Scope.get_or_none(Scope.name == "openid")
    assert empty.invoke(args=["db", "upgrade", "--json"]).stdout == '{\n  "applied": []\n}\n'


def test_a_folder_that_cannot_be_written_is_one_line(empty, tmp_path):
    (tmp_path / "empty" / "portal.db.migrate").mkdir(parents=True)
    result = empty.invoke(args=["db", "upgrade"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "portal.db.migrate cannot be written" in result.stderr


@pytest.mark.parametrize("command", [["user", "list"], ["cleanup"], ["application", "export"]])
def test_a_database_without_tables_says_what_to_run(empty, command, tmp_path):
    result = empty.invoke(args=command)
    assert not (tmp_path / "empty").exists(), "a mistyped address leaves nothing behind"
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "There is no portal in sqlite:///" in result.stderr
    assert "db upgrade" in result.stderr


@pytest.mark.parametrize("command", [["user", "list"], ["db", "upgrade"], ["doctor"]])
def test_a_file_that_cannot_be_looked_at_is_one_line(settings, tmp_path, command):
    database.close()
    url = f"sqlite:///{tmp_path}/{'n' * 300}.db"
    result = create_app(replace(settings, database_url=url)).test_cli_runner().invoke(args=command)
    assert result.exit_code == 1
    (told,) = [line for line in (result.stdout + result.stderr).splitlines() if "nnnnn" in line]
    assert "cannot be" in told or "unable to open" in told


@pytest.mark.parametrize("command", [["user", "list"], ["db", "upgrade"], ["cleanup"]])
def test_a_database_that_cannot_be_reached_is_named_without_its_password(tmp_path, command):
    pytest.importorskip("psycopg")
    app = create_app(
        Settings(
            issuer="http://localhost:8000",
            database_url="postgresql://portal:hunter2@127.0.0.1:1/portal",
            secret_key="k" * 40,
            instance=tmp_path,
        )
    )
    result = app.test_cli_runner().invoke(args=command)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "127.0.0.1:1" in result.stderr
    assert "Connection refused" in result.stderr
    assert "hunter2" not in result.stderr


# assets fetch


@pytest.fixture
def as_htmx(monkeypatch):
    """Take these bytes for htmx."""

    def make(data: bytes) -> None:
        digest = base64.b64encode(hashlib.sha384(data).digest()).decode()
        monkeypatch.setattr(htmx, "INTEGRITY", f"sha384-{digest}")

    return make


def test_assets_fetch_takes_a_copy_with_the_right_hash(flask, client, tmp_path, as_htmx):
    as_htmx(b"htmx")
    (tmp_path / "copy.js").write_bytes(b"htmx")
    answer = flask("assets", "fetch", "--from", str(tmp_path / "copy.js"), "--json").json
    assert answer["path"] == str(tmp_path / "assets" / htmx.LOCAL_FILE)
    with client.get(f"/assets/{htmx.LOCAL_FILE}") as served:
        assert served.data == b"htmx"


def test_assets_fetch_refuses_any_other_file(flask, tmp_path):
    (tmp_path / "copy.js").write_bytes(b"not htmx")
    answer = flask("assets", "fetch", "--from", str(tmp_path / "copy.js"))
    assert f"not htmx {htmx.VERSION}" in answer.complaint
    assert not (tmp_path / "assets").exists()


def test_assets_fetch_from_nowhere(flask, tmp_path):
    complaint = flask("assets", "fetch", "--from", str(tmp_path / "none.js")).complaint
    assert "cannot be read" in complaint


def test_without_a_network_it_says_how_to_do_without(flask, monkeypatch):
    def unreachable(*args, **more):
        raise OSError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    answer = flask("assets", "fetch")
    assert answer.code == 1
    assert "--from FILE" in answer.err
    assert answer.err.count("\n") == 1


# cleanup


numbers = itertools.count()


def row_id(age: int) -> int:
    """An id as it was made `age` seconds ago; each one is another."""
    return ((now_ms() - age * 1000) << ID_BITS) + next(numbers)


def make_access_token(expired_for: int) -> None:
    AccessToken.create(
        id=row_id(expired_for + 900),
        hash=hash_secret("x"),
        application_id=1,
        epoch=1,
        scopes=["public"],
        created_at=now() - expired_for - 900,
        expires_at=now() - expired_for,
    )


def make_code(expired_for: int, used_at: int | None = None) -> None:
    AuthorizationCode.create(
        id=row_id(expired_for + 60),
        hash=hash_secret("x"),
        application_id=1,
        epoch=1,
        user_id=1,
        scopes=["public"],
        auth_time=now(),
        created_at=now() - expired_for - 60,
        expires_at=now() - expired_for,
        used_at=used_at,
    )


def make_family(expires_in: int, ended_for: int | None = None) -> None:
    TokenFamily.create(
        application_id=1,
        user_id=1,
        epoch=1,
        scopes=["public"],
        auth_time=now(),
        expires_at=now() + expires_in,
        ended_at=None if ended_for is None else now() - ended_for,
    )


def cleaned(flask) -> dict[str, int]:
    return {name: count for name, count in flask("cleanup", "--json").json.items() if count}


def test_cleanup_with_nothing_to_do(flask):
    assert flask("cleanup").out == "Nothing had expired.\n"


def test_access_tokens_go_once_they_have_expired(flask):
    for expired_for in (-600, -60, 1, DAY):
        make_access_token(expired_for)
    assert cleaned(flask) == {"access_tokens": 2}
    assert AccessToken.select().where(AccessToken.expires_at <= now()).count() == 0


def test_a_long_lived_token_outlives_a_shorter_setting(flask):
    AccessToken.create(
        id=row_id(HOUR),
        hash=hash_secret("x"),
        application_id=1,
        epoch=1,
        scopes=["public"],
        created_at=now() - HOUR,
        expires_at=now() + HOUR,
    )
    assert cleaned(flask) == {}


def test_many_rows_go_in_several_short_transactions(flask, app):
    rows = 2 * CHUNK + 1
    for _ in range(rows):
        make_access_token(DAY)
    statements: list[str] = []
    hook = lambda event: statements.append(event.sql)  # noqa: E731
    database.obj.query_hooks.append(hook)
    try:
        assert cleaned(flask) == {"access_tokens": rows}
    finally:
        database.obj.query_hooks.remove(hook)
    assert sum('DELETE FROM "access_token"' in sql for sql in statements) == 3


def test_rows_that_stay_are_passed_once(flask, app, monkeypatch):
    """A shorter lifetime leaves live tokens before expired ones: no chunk reads them again."""
    monkeypatch.setattr("portal.cleanup.CHUNK", 2)
    for number in range(12):
        Throttle.create(key=f"k{number:02}", last_at=now() if number % 3 else now() - 30 * DAY)
    bounds: list[str] = []
    hook = lambda event: bounds.append(str(event.params))  # noqa: E731
    database.obj.query_hooks.append(hook)
    try:
        assert cleaned(flask) == {"throttles": 4}
    finally:
        database.obj.query_hooks.remove(hook)
    assert any("k03" in bound for bound in bounds)
    assert sorted(row.key for row in Throttle.select()) == [
        f"k{number:02}" for number in range(12) if number % 3
    ]


def test_codes_are_known_for_a_day_after_their_end(flask):
    make_code(1)
    make_code(DAY - 60, used_at=now() - DAY + 90)
    make_code(DAY + 1, used_at=now() - DAY - 30)
    make_code(DAY + 1)
    assert cleaned(flask) == {"authorization_codes": 2}


def test_device_codes_are_known_for_a_day_after_their_end(flask):
    for number, expired_for in enumerate((1, DAY + 1)):
        DeviceCode.create(
            id=row_id(expired_for + 600),
            hash=hash_secret("x"),
            user_code=f"BCDFGHJ{'KL'[number]}",
            application_id=1,
            epoch=1,
            scopes=["public"],
            created_at=now() - expired_for - 600,
            expires_at=now() - expired_for,
        )
    assert cleaned(flask) == {"device_codes": 1}


def test_families_are_known_for_a_month_after_their_end(flask):
    make_family(DAY)
    make_family(DAY, ended_for=29 * DAY)
    make_family(-29 * DAY)
    make_family(DAY, ended_for=31 * DAY)
    make_family(-31 * DAY)
    assert cleaned(flask) == {"token_families": 2}


def test_sessions_throttles_and_links_go_with_their_time(flask, alice, bob):
    alice.start_session("127.0.0.1", "live")
    bob.start_session("127.0.0.1", "idle")
    Session.update(last_seen_at=now() - DAY - 1).where(Session.user_agent == "idle").execute()
    Throttle.create(key="old", tries=3, last_at=now() - HOUR)
    Throttle.create(key="new", tries=3, last_at=now())
    OneTimeLink.make(alice)
    OneTimeLink.make(bob)
    OneTimeLink.update(expires_at=now() - 1).where(OneTimeLink.user_id == bob.id).execute()
    assert cleaned(flask) == {"sessions": 1, "throttles": 1, "one_time_links": 1}
    assert cleaned(flask) == {}


def test_people_read_what_is_gone(flask):
    make_access_token(1)
    assert flask("cleanup").out == "Deleted 1 access tokens.\n"
