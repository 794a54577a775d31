"""Ready or not: what load balancers are told, and how soon."""

import os
import socket
import subprocess
import time

import pytest

from portal.database import close_database, database, migrate, open_database
from tests.cli.conftest import flask  # noqa: F401
from tests.postgres.cluster import what_is_missing
from tests.requirements import require


def test_ready_when_the_database_has_the_schema_of_this_release(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})


def test_asking_again_costs_one_statement(client, statements):
    client.get("/readyz")
    with statements() as seen:
        assert client.get("/readyz").status_code == 200
    assert len(seen) == 1


def test_not_ready_while_migrations_wait(client, tmp_path):
    open_database(f"sqlite:///{tmp_path}/new.db")
    for _ in range(2):
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.get_json()["status"] == "migrations pending"
        assert "0001_initial" in answer.get_json()["pending"]
    database.close()


def test_a_file_that_is_moved_away_is_not_replaced_by_an_empty_one(client, tmp_path):
    path = tmp_path / "moved.db"
    open_database(f"sqlite:///{path}")
    migrate()
    assert client.get("/readyz").status_code == 200
    database.close()
    path.rename(tmp_path / "away.db")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()) == (503, {"status": "database cannot be used"})
    assert client.get("/login").status_code == 503
    assert not path.exists()
    (tmp_path / "away.db").rename(path)
    assert client.get("/readyz").status_code == 200
    database.close()


@pytest.fixture
def read_only(tmp_path):
    """Let nobody write to a file for the length of a block."""
    frozen = []

    def freeze(path) -> None:
        if os.geteuid():
            path.chmod(0o500 if path.is_dir() else 0o400)
        elif subprocess.run(["chattr", "+i", path], capture_output=True).returncode:
            pytest.skip("root can write to every file here")
        frozen.append(path)

    def thaw() -> None:
        while frozen:
            path = frozen.pop()
            path.chmod(0o700) if os.geteuid() else subprocess.run(["chattr", "-i", path])

    yield freeze, thaw
    thaw()


def test_not_ready_where_nothing_can_be_written(client, tmp_path, read_only, flask):  # noqa: F811
    freeze, thaw = read_only
    open_database(f"sqlite:///{tmp_path}/frozen.db")
    migrate()
    assert client.get("/readyz").status_code == 200
    freeze(tmp_path / "frozen.db")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["status"]) == (503, "database can only be read")
    assert "can only be read, so nobody gets a token: let the portal" in flask("doctor").out
    thaw()
    assert client.get("/readyz").status_code == 200
    database.close()


@pytest.mark.postgres
def test_not_ready_on_a_standby(client, postgres):
    open_database(postgres.create("standby"))
    migrate()
    assert client.get("/readyz").status_code == 200
    database.execute_sql("SET default_transaction_read_only = on")
    database.close()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["status"]) == (503, "database can only be read")
    close_database()


def test_a_link_to_the_file_is_ready_where_the_link_cannot_be_written(client, tmp_path, read_only):
    freeze, _ = read_only
    for folder in ("real", "links"):
        (tmp_path / folder).mkdir()
    open_database(f"sqlite:///{tmp_path}/real/portal.db")
    migrate()
    (tmp_path / "links" / "portal.db").symlink_to(tmp_path / "real" / "portal.db")
    open_database(f"sqlite:///{tmp_path}/links/portal.db")
    freeze(tmp_path / "links")
    assert client.get("/readyz").status_code == 200
    database.close()


def test_not_ready_when_the_file_is_no_database(client, tmp_path):
    (tmp_path / "broken.db").write_bytes(b"no database at all " * 100)
    open_database(f"sqlite:///{tmp_path}/broken.db")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()) == (503, {"status": "database cannot be used"})
    database.close()


@pytest.fixture
def postgres_port(client):
    """A port for a PostgreSQL server that does not answer; the portal is told to use it."""
    require("postgres", what_is_missing())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        open_database(f"postgresql://portal:pass-of-the-database@127.0.0.1:{port}/portal")
        yield listener


@pytest.mark.postgres
def test_a_database_that_hangs_is_told_within_two_seconds(client, postgres_port):
    began = time.monotonic()
    answers = [client.get("/readyz") for _ in range(3)]
    assert time.monotonic() - began < 2.5
    for answer in answers:
        assert answer.status_code == 503
        assert answer.get_json() == {"status": "database does not answer"}


@pytest.mark.postgres
def test_a_database_that_is_away_is_told_at_once_and_without_its_address(
    client, postgres_port, caplog
):
    postgres_port.close()
    began = time.monotonic()
    answer = client.get("/readyz")
    assert time.monotonic() - began < 1
    assert (answer.status_code, answer.get_json()) == (503, {"status": "database cannot be used"})
    assert "readiness: database cannot be used" in caplog.text
    assert "pass-of-the-database" not in caplog.text
    assert client.get("/healthz").status_code == 200


@pytest.mark.postgres
def test_ready_on_postgresql_too_and_no_connection_is_left_behind(client, postgres):
    open_database(postgres.create("readiness"))
    assert client.get("/readyz").get_json()["status"] == "migrations pending"
    migrate()
    for _ in range(3):
        assert client.get("/readyz").status_code == 200
    close_database()
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'readiness'"
    deadline = time.monotonic() + 5
    while postgres.execute(sessions) != [(0,)] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert postgres.execute(sessions) == [(0,)]
