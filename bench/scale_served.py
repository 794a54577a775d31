"""Tokens from the real server, asked over HTTP in turns by random applications of each portal."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import median

from bench import scale_seed
from bench.load import Plan, Sample, Turns, run
from bench.measure import cpu_us
from bench.scale_portal import SECRET_KEY, Portal, WrongAnswer
from bench.servers import Ports, Server, portal_command, portal_environ, running
from bench.workloads import FORM, has

FIRST_PORT = 8300
CONNECTIONS = 16
#: Where a process has its memory makes it some percent slower or faster until it ends.
STARTS = 7
#: Each portal is asked so long, after each start.
WARM_SECONDS, SECONDS = 3.0, 8.0
#: Whatever else the machine does lasts longer, and then falls on both sides.
TURN_SECONDS = 0.1
#: More a second than any portal answers, so that nobody asks twice.
DIFFERENT = 10_000


class Served:
    """A portal, and what tokens of its server cost after each start."""

    def __init__(self, side: Portal) -> None:
        self.side = side
        self.cpu: list[float] = []
        self.p99: list[float] = []

    def note(self, sample: Sample, us: float) -> None:
        """Note what the sample cost its server: CPU in all, in µs, and its p99."""
        self.cpu.append(us / sample.right / 1e6)
        self.p99.append(sample.p99 / 1e3)


def tokens_over_http(sides: tuple[Portal, Portal]) -> tuple[Served, Served]:
    """Both portals, each asked by another application each time."""
    small, large = both = Served(sides[0]), Served(sides[1])
    ports = Ports(FIRST_PORT)
    for _ in range(STARTS):
        with ExitStack() as stack:
            # One core may have a busier neighbour than another one.
            with _core(0):
                servers = [stack.enter_context(_serve(it.side, ports.take())) for it in both]
            with _core(1):
                _ask(both, servers, WARM_SECONDS)
                before = [cpu_us(server.pid) for server in servers]
                samples = _ask(both, servers, SECONDS)
            for it, server, sample, us in zip(both, servers, samples, before, strict=True):
                it.note(sample, cpu_us(server.pid) - us)
    return small, large


def _ask(both: tuple[Served, Served], servers: list[Server], seconds: float) -> list[Sample]:
    """Ask for tokens in short turns, each portal so long; WrongAnswer for any that is wrong."""
    plans = [
        _plan(it.side, int(DIFFERENT * seconds), Turns(place, len(both), TURN_SECONDS))
        for place, it in enumerate(both)
    ]
    with ThreadPoolExecutor(len(both)) as threads:
        asking = [
            threads.submit(run, server.port, plan, seconds * len(both), CONNECTIONS)
            for server, plan in zip(servers, plans, strict=True)
        ]
        samples = [it.result() for it in asking]
    for server, sample in zip(servers, samples, strict=True):
        if sample.wrong or sample.errors or not sample.right:
            raise WrongAnswer(f"{server.title}: {sample.first_wrong or 'connections failed'}")
    return samples


@contextmanager
def _core(number: int) -> Iterator[None]:
    """What is started in here stays on one core, where there are more than one."""
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {sorted(cores)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def ratio(small: list[float], large: list[float]) -> float:
    """How many times as much, start by start."""
    return median(b / a for a, b in zip(small, large, strict=True))


def _serve(side: Portal, port: int):  # type: ignore[no-untyped-def]
    environ = {
        **portal_environ(side.url),
        "PORTAL_SECRET_KEY": SECRET_KEY,
        "PORTAL_SWEEP_SECONDS": "0",
        "PORTAL_ACCESS_TOKEN_SECONDS": str(scale_seed.LIFETIME),
    }
    title = f"{side.applications:,} applications"
    return running(title, portal_command(port, 1, 2), _plan(side, 1), port, environ, side.url)


def _plan(side: Portal, number: int, turns: Turns | None = None) -> Plan:
    bodies = (
        f"grant_type=client_credentials&client_id={scale_seed.client_id(it)}"
        f"&client_secret={scale_seed.client_secret(it)}"
        for it in (side.random_number() for _ in range(number))
    )
    requests = [("/oauth/token", body) for body in bodies]
    right = has(200, "access_token", '"pat_')
    return Plan("POST", requests, right, {"Content-Type": FORM}, turns=turns)
