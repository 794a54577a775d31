"""The rounds of a run: one target after the other, each checked, again and again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from bench import load
from bench.load import Plan, Sample
from bench.measure import cpu_us, machine_us, own_us, pss_mb
from bench.servers import Server

LOGINS_A_SECOND = 10


@dataclass
class Round:
    """What one round of one target cost and brought."""

    sample: Sample
    cpu_us: float
    #: Time of the database's own processes, a request; 0 where the server has none.
    database_us: float = 0.0
    #: The share of the machine that went to programs that have no part in this.
    others: float = 0.0


@dataclass
class Target:
    """One line of the table: who is asked what, and what came of it."""

    title: str
    server: Server
    plan: Callable[[int], Plan]
    rows: tuple[str, ...] = ()
    logins: Plan | None = None
    statements: int | None = None
    #: The root of a database's processes that work for this target beside the server's.
    database_pid: int | None = None
    #: Memory of the server in MB after this target's first second.
    pss_mb: float = 0.0
    rounds: list[Round] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def each(self, what: Callable[[Round], float]) -> list[float]:
        return [what(done) for done in self.rounds]

    @property
    def cpu(self) -> float:
        """CPU µs a request: the median of the rounds."""
        return median(self.each(lambda done: done.cpu_us))

    @property
    def p99(self) -> float:
        return median(self.each(lambda done: done.sample.p99))

    def play(self, turn: int, seconds: float, connections: int, wrk: bool | None = None) -> Round:
        """Load the server for a round and write down whatever is wrong."""
        plan, server = self.plan(turn), self.server
        before = [server.count(query) for query in self.rows]
        cpu, database, own = cpu_us(server.pid), self._database_us(), own_us()
        busy, began = machine_us()[0], time.perf_counter()
        with _logins(server.port, self.logins) as seen:
            sample = load.run(server.port, plan, seconds, connections, wrk)
        cpu, database = cpu_us(server.pid) - cpu, self._database_us() - database
        busy, cores, own = machine_us()[0] - busy, machine_us()[1], own_us() - own
        others = (busy - cpu - database - own) / ((time.perf_counter() - began) * 1e6 * cores)
        after = [server.settled(query) for query in self.rows]
        self.faults += faults(
            sample, [b - a for a, b in zip(before, after, strict=True)], connections
        )
        self.faults += seen
        answers = max(1, sample.requests)
        return Round(sample, cpu / answers, database / answers, max(0, others))

    def _database_us(self) -> float:
        return cpu_us(self.database_pid) if self.database_pid else 0.0


def faults(sample: Sample, added: list[int], connections: int) -> list[str]:
    """Everything about a round that must not be; empty when all is well.

    At the end of a round each connection may be cut off with a request under way: so many rows
    may be there without an answer that was counted, but no answer without its row.
    """
    found = []
    if sample.wrong:
        found.append(f"{sample.wrong} wrong answers, the first: {sample.first_wrong}")
    if sample.errors:
        found.append(f"{sample.errors} connections failed or timed out")
    if not sample.right:
        found.append("no right answer at all")
    for rows in added:
        if rows < sample.right:
            found.append(f"{sample.right - rows} of {sample.right} rows were lost")
        elif rows > sample.right + connections:
            found.append(f"{rows} rows came of {sample.right} answers")
    return found


def play_all(
    targets: list[Target],
    rounds: int,
    seconds: float,
    connections: int,
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Warm each target up for a second, then A B C, A B C, …"""
    for target in targets:
        note(f"warming up: {target.title}")
        target.play(0, 1, connections)
        target.pss_mb = pss_mb(target.server.pid)
    for turn in range(1, rounds + 1):
        for target in targets:
            note(f"round {turn} of {rounds}: {target.title}")
            target.rounds.append(target.play(turn, seconds, connections))


@contextmanager
def _logins(port: int, plan: Plan | None) -> Iterator[list[str]]:
    """Ten people a second sign in while the block runs, however long each of them waits."""
    faults: list[str] = []
    if plan is None:
        yield faults
        return
    stop = threading.Event()

    def sign_in(number: int) -> None:
        try:
            wrong = load.ask(port, plan, number)
        except OSError as error:
            wrong = str(error)
        if wrong:
            faults.append(f"a sign-in failed: {wrong}")

    def pace() -> None:
        people: list[threading.Thread] = []
        began = time.monotonic()
        while not stop.wait(max(0, began + len(people) / LOGINS_A_SECOND - time.monotonic())):
            people.append(threading.Thread(target=sign_in, args=(len(people),)))
            people[-1].start()
        for person in people:
            person.join()

    pacer = threading.Thread(target=pace)
    pacer.start()
    try:
        yield faults
    finally:
        stop.set()
        pacer.join()
