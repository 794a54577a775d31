"""Requests of one moment share a round trip and a commit; what that cannot do is done alone."""

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

import pytest
import uvloop

from portal.database import database
from portal.models import AccessToken, Application, Refusal
from portal.postgres import giving_back
from portal.worker import Worker
from tests.engines import POSTGRES
from tests.factories import make_application

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("database_url", [POSTGRES], indirect=True),
]
MANY = 20

Answers = list[tuple[int, dict]]


class Machine:
    """An application that asks a worker, as an HTTP server would pass its requests on."""

    def __init__(self, worker: Worker, client_id: str, secret: str) -> None:
        self.worker, self.client_id, self.secret = worker, client_id, secret

    async def post(self, path: str, **form: str) -> tuple[int, dict]:
        given = {"client_id": self.client_id, "client_secret": self.secret, **form}
        body = urlencode(given).encode()
        length = str(len(body)).encode()
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "query_string": b"",
            "server": ("localhost", 8000),
            "client": ("127.0.0.1", 1),
            "headers": [
                (b"host", b"localhost:8000"),
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"content-length", length),
            ],
        }
        said: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.request", "body": body}

        async def send(message: dict) -> None:
            said.append(message)

        await self.worker.handle(scope, receive, send)
        return said[0]["status"], json.loads(said[1]["body"])

    async def until_open(self) -> None:
        async with asyncio.timeout(5):
            while not self.worker._pipeline.is_open:
                await asyncio.sleep(0.01)

    async def token(self, **form: str) -> tuple[int, dict]:
        return await self.post("/oauth/token", grant_type="client_credentials", **form)

    async def tokens(self) -> list[str]:
        """So many at the same moment."""
        answers = await asyncio.gather(*(self.token() for _ in range(MANY)))
        assert {status for status, _ in answers} == {200}
        return [body["access_token"] for _, body in answers]


@pytest.fixture
def made(app, alice) -> tuple[Application, str]:
    return make_application(alice, grants=["client_credentials"])


@pytest.fixture
def run(app, made) -> Callable:
    """Run a story with a machine in the thread of an event loop, its pipeline open."""

    def run(story: Callable[[Machine], Coroutine]) -> Any:
        found: list[Any] = []

        async def begin() -> None:
            worker = Worker(giving_back(app.wsgi_app, database.obj), 2)
            machine = Machine(worker, made[0].client_id, made[1])
            assert (await machine.token())[0] == 200  # which opens it
            await machine.until_open()
            await machine.tokens()  # from here on every statement is prepared
            found.append(await story(machine))
            machine.worker.close()

        def work() -> None:
            try:
                uvloop.run(begin())  # as the production server does
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    return run


async def aside(call: Callable, *arguments: Any) -> Any:
    """Ask the database from another thread, which keeps no connection."""

    def ask() -> Any:
        try:
            return call(*arguments)
        finally:
            database.close()

    return await asyncio.to_thread(ask)


def transactions() -> int:
    """The number of the next transaction that writes."""
    return int(database.execute_sql("SELECT pg_current_xact_id()::text").fetchone()[0])


def stored() -> int:
    return AccessToken.select().count()


def test_tokens_of_one_moment_share_a_commit(run):
    async def story(machine):
        rows, before = await aside(stored), await aside(transactions)
        tokens = await machine.tokens()
        after = await aside(transactions)
        answers = [await machine.post("/oauth/introspect", token=token) for token in tokens]
        assert all(body["active"] for _, body in answers)
        assert len(set(tokens)) == MANY
        assert await aside(stored) == rows + MANY
        return after - before

    assert run(story) <= 3  # one for the pile, perhaps one for notes of use, one for asking


def test_what_waits_for_a_lock_is_done_alone_and_once(run):
    async def story(machine):
        rows = await aside(stored)
        locked, over = threading.Event(), threading.Event()

        def hold() -> None:
            with database.transaction():
                database.execute_sql("LOCK TABLE access_token IN SHARE MODE")
                locked.set()
                over.wait(10)
            database.close()

        holder = threading.Thread(target=hold)
        holder.start()
        await aside(locked.wait, 5)
        asked = [asyncio.ensure_future(machine.token()) for _ in range(MANY)]
        await asyncio.sleep(0.3)
        assert not any(it.done() for it in asked)
        over.set()
        assert {status for status, _ in await asyncio.gather(*asked)} == {200}
        holder.join(5)
        assert await aside(stored) == rows + MANY
        # And the pipeline is used again.
        await machine.until_open()
        await machine.tokens()

    run(story)


def test_a_connection_that_is_cut_off_refuses_nobody(run):
    async def story(machine):
        for _ in range(3):
            asked = [asyncio.ensure_future(machine.token()) for _ in range(MANY)]
            backend = machine.worker._pipeline._connection.pgconn.backend_pid
            await aside(database.execute_sql, "SELECT pg_terminate_backend(%s)", (backend,))
            assert {status for status, _ in await asyncio.gather(*asked)} == {200}
            await machine.until_open()
            await machine.tokens()

    run(story)


def test_a_connection_that_is_reset_refuses_nobody(run, postgres):
    """The server says goodbye and hangs up on what it has not read, all before anybody looks."""

    async def story(machine):
        for _ in range(3):
            backend = machine.worker._pipeline._connection.pgconn.backend_pid
            os.kill(backend, signal.SIGSTOP)
            asked = [asyncio.ensure_future(machine.token()) for _ in range(MANY)]
            while not machine.worker._pipeline._sent:
                await asyncio.sleep(0)
            # From here in the loop's own thread.
            postgres.execute(f"SELECT pg_terminate_backend({backend})")
            os.kill(backend, signal.SIGCONT)
            postgres.execute(f"SELECT pg_terminate_backend({backend}, 5000)")
            async with asyncio.timeout(5):
                assert {status for status, _ in await asyncio.gather(*asked)} == {200}
            await machine.until_open()

    run(story)


def test_a_pile_that_the_network_does_not_take_at_once_is_sent_all_the_same(run):
    async def story(machine):
        pipeline = machine.worker._pipeline
        with socket.socket(fileno=os.dup(pipeline._connection.fileno())) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        before = pipeline._connection
        backend = before.pgconn.backend_pid
        os.kill(backend, signal.SIGSTOP)
        asked = [asyncio.ensure_future(machine.token()) for _ in range(100 * MANY)]
        async with asyncio.timeout(10):
            while not pipeline._writes:
                await asyncio.sleep(0.01)
        os.kill(backend, signal.SIGCONT)
        assert {status for status, _ in await asyncio.gather(*asked)} == {200}
        assert pipeline._connection is before
        assert not pipeline._writes

    run(story)


@pytest.mark.parametrize(
    "form",
    [
        {"token": f"pat_{'f' * 15}.{'x' * 43}"},
        {"token": f"pat_{'f' * 16}.{'x' * 43}"},
        {"token": "pat_0.\0"},
        {"token": "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")},
        {"token": "pat_1", "client_id": "c\0d"},
        {"token": "pat_1", "client_secret": "wrong"},
        {},
    ],
)
def test_strange_values_get_the_answer_that_a_thread_gives(app, made, run, form):
    async def story(machine):
        before = machine.worker._pipeline._connection
        answer = await machine.post("/oauth/introspect", **form)
        return answer, machine.worker._pipeline._connection is before

    given = {"client_id": made[0].client_id, "client_secret": made[1], **form}
    there = app.test_client().post("/oauth/introspect", data=given)
    (status, body), same = run(story)
    assert (status, body) == (there.status_code, there.get_json())
    assert same, "the pipeline had to be made anew"


def test_a_change_is_seen_at_once_and_a_refusal_is_noted(run, made):
    def disable() -> None:
        Application.get_by_id(made[0].id).disable()

    async def story(machine):
        (token, *_) = await machine.tokens()
        await aside(disable)
        return await machine.token(), await machine.post("/oauth/introspect", token=token)

    answers = run(story)
    assert {status for status, _ in answers} == {401}
    assert Refusal.select().where(Refusal.application_id == made[0].id).count() == 1


def test_notes_of_use_are_written_beside(run, made):
    run(lambda machine: machine.tokens())
    kept = Application.get_by_id(made[0].id)
    assert kept.last_used_at
    assert kept.machine_days
