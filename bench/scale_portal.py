"""Two portals in one process, a small and a large one, asked in turns and timed by CPU."""

import base64
import io
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import quote

from flask import Flask
from werkzeug.test import EnvironBuilder

from bench import scale_seed
from portal import create_app
from portal.database import database, migrate, open_database
from portal.models import Application, Scope, User
from portal.models.search import merge_some
from portal.settings import Settings

SECRET_KEY = "bench" * 8
BODY = b"grant_type=client_credentials"


class WrongAnswer(Exception):
    """The portal did not do what it was asked for: no figure counts."""


@dataclass
class Sample:
    """What a series of requests cost: CPU of this process and time on the clock, seconds each."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def add(self, call: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        call()
        self.cpu.append(time.thread_time() - cpu)
        self.wall.append(time.perf_counter() - wall)

    def quickest(self, each: int) -> float:
        """CPU in the quickest turn of so many: whatever else the machine does only adds to it."""
        starts = range(0, len(self.cpu), each)
        return min(median(self.cpu[at : at + each]) for at in starts)

    @property
    def typical(self) -> float:
        return median(self.cpu)

    @property
    def p99(self) -> float:
        return sorted(self.wall)[int(len(self.wall) * 0.99)]


class Portal:
    """One portal in this process; `enter` makes it the one that the models speak to."""

    def __init__(self, url: str, applications: int, folder: Path) -> None:
        self.url, self.applications = url, applications
        self.settings = Settings(
            issuer="http://localhost:8000",
            database_url=url,
            secret_key=SECRET_KEY,
            instance=folder,
            access_token_seconds=scale_seed.LIFETIME,
        )
        self.app: Flask = create_app(self.settings)
        self._opened = database.obj
        self._chance = random.Random(applications)

    def enter(self) -> "Portal":
        database.initialize(self._opened)
        return self

    def random_number(self) -> int:
        """The number of a random application that may ask for tokens."""
        while True:
            number = self._chance.randrange(self.applications)
            if scale_seed.is_machine(number):
                return number

    def token_call(self, number: int) -> Callable[[], None]:
        """A token request, ready to be sent."""
        name, secret = scale_seed.client_id(number), scale_seed.client_secret(number)
        pair = base64.b64encode(f"{quote(name)}:{quote(secret)}".encode()).decode()
        environ = EnvironBuilder(
            method="POST",
            path="/oauth/token",
            content_type="application/x-www-form-urlencoded",
            headers=[("Authorization", f"Basic {pair}")],
            input_stream=io.BytesIO(BODY),
            content_length=len(BODY),
            # Where its secret has been used from so far.
            environ_base={"REMOTE_ADDR": "127.0.0.1"},
        ).get_environ()
        return lambda: self._ask(environ, b'"access_token"')

    def page_call(self, address: str, contains: bytes = b"chip-all") -> Callable[[], None]:
        """A page of the administrator's, ready to be fetched."""
        headers = [("Cookie", self._cookie)]
        environ = EnvironBuilder(path=address, headers=headers).get_environ()
        return lambda: self._ask(environ, contains)

    @staticmethod
    def administrator() -> User:
        person = User.named("owner0")
        assert person
        return person

    def sign_in(self) -> None:
        """Get the cookie that the pages need, the way the tests do."""
        person = self.administrator()
        person.start_session("127.0.0.1", "bench")
        client = self.app.test_client()
        with client.session_transaction() as session:
            session.update(_user_id=person.cookie, _fresh=True)
        name = self.app.config["SESSION_COOKIE_NAME"]
        cookie = client.get_cookie(name)
        assert cookie
        self._cookie = f"{name}={cookie.value}"

    def _ask(self, environ: dict, contains: bytes) -> None:
        status = ""

        def start(line: str, headers: list, exc_info: object = None) -> None:
            nonlocal status
            status = line

        answer: Iterable[bytes] = self.app(dict(environ), start)  # type: ignore[arg-type]
        body = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        if not status.startswith("200") or contains not in body:
            raise WrongAnswer(f"{environ['PATH_INFO']}: {status} {body[:200]!r}")


def prepare(url: str, applications: int, tokens: int, progress: object) -> None:
    """A database with at least so many rows at `url`."""
    open_database(url)
    migrate()
    Scope.add_built_in()
    scale_seed.seed(applications, tokens, progress)  # type: ignore[arg-type]
    for table in (Application, User):
        while merge_some(table):  # as the sweep of a portal that has so many does
            pass
    database.close()
    os.sync()  # or what is measured next waits for a disk that still writes this


def in_turns(
    sides: tuple[Portal, Portal],
    make: Callable[[Portal], Callable[[], object]],
    rounds: int,
    each: int,
    samples: tuple[Sample, Sample] | None = None,
) -> tuple[Sample, Sample]:
    """Ask small and large in turns, `each` times a round; the first request of a turn is free.

    `samples` are of earlier turns, to be added to.
    """
    samples = samples or (Sample(), Sample())
    for _ in range(rounds):
        for side, sample in zip(sides, samples, strict=True):
            side.enter()
            make(side)()
            for call in [make(side) for _ in range(each)]:
                sample.add(call)
    return samples
