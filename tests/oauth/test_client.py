"""What a process keeps of the applications that it has seen, and when it reads them again."""

import pytest
from peewee import IntegrityError

from portal.database import database
from portal.models import Application
from portal.models.client import StaleClient
from portal.models.client_cache import ClientCache
from tests.cli.conftest import flask  # noqa: F401
from tests.engines import only_on_sqlite


@pytest.fixture
def clients() -> ClientCache:
    return ClientCache()


def test_only_who_comes_again_is_kept(clients, rp, statements):
    for _ in range(2):
        with statements() as seen:
            clients.get(rp.client_id)
        assert len(seen) == 1
    with statements() as seen:
        assert clients.get(rp.client_id).client_id == rp.client_id
    assert seen == []


def test_who_signs_people_in_is_kept_at_once_and_whole(clients, rp, statements):
    clients.current(rp.client_id, whole=True)
    with statements() as seen:
        assert clients.get(rp.client_id).redirect_uris == (rp.redirect_uri,)
    assert seen == []
    # Nor does a machine's request make less of it.
    clients.load(rp.client_id)
    with statements() as seen:
        assert clients.get(rp.client_id).redirect_uris == (rp.redirect_uri,)
    assert seen == []


def test_who_sends_people_after_machines_came_is_read_whole(clients, rp, statements):
    for _ in range(2):
        clients.get(rp.client_id)
    with statements() as seen:
        assert clients.get(rp.client_id, whole=True).redirect_uris == (rp.redirect_uri,)
    assert len(seen) == 1


def test_what_only_sign_ins_need_is_read_when_it_is_asked_for(clients, rp, statements):
    client = clients.get(rp.client_id)
    with statements() as seen:
        for _ in range(2):
            assert client.redirect_uris == (rp.redirect_uri,)
    assert len(seen) == 1


def test_half_of_an_application_never_goes_with_another_half_of_a_later_one(clients, rp):
    client = clients.get(rp.client_id)
    rp.application.change(redirect_uris=["https://later.example.org/callback"])
    with pytest.raises(StaleClient):
        _ = client.redirect_uris
    assert clients.current(rp.client_id, whole=True).redirect_uris == (
        "https://later.example.org/callback",
    )


@only_on_sqlite
def test_a_token_reads_indexes_alone_of_an_application_that_nobody_knows(rp):
    rp.token("client_credentials")  # what is noted once a day is noted
    asked = []
    database.obj.query_hooks.append(asked.append)
    try:
        assert rp.token("client_credentials").status_code == 200
    finally:
        database.obj.query_hooks.clear()
    asked = [it for it in asked if it.sql.startswith(("SELECT", 'INSERT INTO "access_token"'))]
    assert len(asked) == 2
    for it in asked:
        plan = database.execute_sql(f"EXPLAIN QUERY PLAN {it.sql}", it.params).fetchall()
        assert all("USING COVERING INDEX" in step for *_, step in plan), plan


def test_two_applications_never_have_one_client_id(rp):
    row = dict(rp.application.__data__, id=rp.application.id + 1)
    with pytest.raises(IntegrityError):
        Application.insert(row).execute()


def test_the_secret_of_a_deleted_application_is_not_that_of_its_successor(rp, flask, tmp_path):  # noqa: F811
    for _ in range(3):  # this process knows it
        assert rp.token("client_credentials").status_code == 200
    before, file = rp.application.version, tmp_path / "application.json"
    file.write_text(flask("application", "export", rp.client_id, "--json").out)
    assert flask("application", "delete", rp.client_id).code == 0
    assert flask("application", "import", str(file)).code == 0
    Application.update(version=before).execute()
    assert rp.token("client_credentials").status_code == 401
