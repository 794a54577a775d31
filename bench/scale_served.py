"""Tokens from the real server, asked over HTTP in turns by random applications of each portal."""

from contextlib import ExitStack
from statistics import median

from bench import scale_seed
from bench.load import Plan, Sample, run
from bench.measure import cpu_us
from bench.scale_portal import SECRET_KEY, Portal, WrongAnswer
from bench.servers import Ports, Server, portal_command, portal_environ, running
from bench.workloads import FORM, has

FIRST_PORT = 8300
CONNECTIONS = 16
#: Many short rounds: whatever else the machine does then falls on both sides.
ROUNDS, SECONDS = 45, 1
#: More than are asked in a round, so that nobody asks twice.
DIFFERENT = 10_000


class Served:
    """A portal behind its server, and what each round of load cost."""

    def __init__(self, side: Portal, server: Server) -> None:
        self.side, self.server = side, server
        self.cpu: list[float] = []
        self.p99: list[float] = []

    def load(self, seconds: float) -> Sample:
        """Ask for tokens, each time by another application, and note what it cost (s of CPU)."""
        before = cpu_us(self.server.pid)
        sample = run(self.server.port, _plan(self.side), seconds, CONNECTIONS)
        if sample.wrong or sample.errors or not sample.right:
            raise WrongAnswer(f"{self.server.title}: {sample.first_wrong or 'connections failed'}")
        self.cpu.append((cpu_us(self.server.pid) - before) / sample.right / 1e6)
        self.p99.append(sample.p99 / 1e3)
        return sample


def tokens_over_http(sides: tuple[Portal, Portal]) -> tuple[Served, Served]:
    """Both portals, asked in turns; the first round of each only warms up."""
    ports = Ports(FIRST_PORT)
    with ExitStack() as stack:
        served = [Served(side, stack.enter_context(_serve(side, ports.take()))) for side in sides]
        for number in range(ROUNDS + 1):
            for it in served:
                it.load(SECONDS)
                if number == 0:
                    it.cpu.clear()
                    it.p99.clear()
    small, large = served
    return small, large


def ratio(small: list[float], large: list[float]) -> float:
    """How many times as much, round by round."""
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


def _plan(side: Portal, number: int = DIFFERENT) -> Plan:
    bodies = (
        f"grant_type=client_credentials&client_id={scale_seed.client_id(it)}"
        f"&client_secret={scale_seed.client_secret(it)}"
        for it in (side.random_number() for _ in range(number))
    )
    requests = [("/oauth/token", body) for body in bodies]
    return Plan("POST", requests, has(200, "access_token", '"pat_'), {"Content-Type": FORM})
