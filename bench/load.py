"""Ask one server as fast as it answers, on connections that stay open, and check every answer.

wrk does it where it is installed; Python's threads are the fallback, slower but as strict.
"""

import http.client
import re
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import percentile

SCRIPT = Path(__file__).with_name("load.lua")
TIMEOUT_SECONDS = 10
#: Of a slice: what was sent in it shall be answered before the next one begins.
USED = 0.95
#: Threads of wrk that share the connections where no answer is needed for the next request: each
#: has the whole plan in memory.
SHARING_THREADS = 2
REFRESH_TOKEN = re.compile(r'"refresh_token": ?"([^"]+)"')
#: Bytes that Lua reads in a string only by their number.
NOT_PLAIN = re.compile(rb"[^ !#-\[\]-~]")


@dataclass(frozen=True)
class Right:
    """A right answer: its status, and a text in its body or in one of its headers."""

    status: int
    text: str
    header: str | None = None


@dataclass(frozen=True)
class Chain:
    """Requests that follow from the answers: one refresh token a connection to start with."""

    before: str
    tokens: list[str]


@dataclass(frozen=True)
class Turns:
    """When to send: in every `of`th slice of `seconds`, while others ask other servers."""

    place: int
    of: int
    seconds: float

    def wait(self) -> None:
        """Until it is this one's turn."""
        cycle = self.of * self.seconds
        into = (time.time() - self.place * self.seconds) % cycle
        if into > self.seconds * USED:
            time.sleep(cycle - into)


@dataclass(frozen=True)
class Plan:
    """What to send, in turn, and which answers are right."""

    method: str
    requests: list[tuple[str, str]]  # path and body
    right: list[Right]
    headers: dict[str, str] = field(default_factory=dict)
    chain: Chain | None = None
    turns: Turns | None = None


@dataclass
class Sample:
    """What one round of load saw; latencies in ms."""

    right: int
    wrong: int
    errors: int
    seconds: float
    p50: float
    p99: float
    max: float
    first_wrong: str = ""

    @property
    def requests(self) -> int:
        return self.right + self.wrong


def is_right(plan: Plan, status: int, headers: Any, body: str) -> bool:
    """Whether this is one of the plan's right answers."""
    return any(
        status == fine.status
        and fine.text in (headers.get(fine.header, "") if fine.header else body)
        for fine in plan.right
    )


def ask(port: int, plan: Plan, number: int = 0) -> str | None:
    """Send one of the plan's requests; returns the answer when it is wrong."""
    connection = _Connection(port, plan, number, 1, 0)
    answer, body = connection.ask()
    connection.http.close()
    right = is_right(plan, answer.status, answer.headers, body)
    return None if right else f"{answer.status} {body[:500]}"


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def run(port: int, plan: Plan, seconds: float, connections: int, wrk: bool | None = None) -> Sample:
    """One round of load on 127.0.0.1."""
    if plan.chain and len(plan.chain.tokens) < connections:
        raise ValueError("Each connection needs a refresh token of its own.")
    use = has_wrk() if wrk is None else wrk
    return (_run_wrk if use else _run_python)(port, plan, seconds, connections)


def _run_wrk(port: int, plan: Plan, seconds: float, connections: int) -> Sample:
    # wrk's script does not learn which connection an answer came from. With one connection a
    # thread it need not, and each thread can follow its own chain.
    share = plan.turns and not plan.chain
    threads = min(SHARING_THREADS, connections) if share else connections
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(f"return {_lua(_table(plan, threads))}\n")
        file.flush()
        command = [
            *("wrk", f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s"),
            *(f"--timeout={TIMEOUT_SECONDS}s", "-s", str(SCRIPT)),
            *(f"http://127.0.0.1:{port}/", "--", file.name),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 2 * TIMEOUT_SECONDS
        )
    line = next((x for x in done.stdout.splitlines() if x.startswith("RESULT ")), None)
    if done.returncode or line is None:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    facts = line.split(" ", 8)[1:]
    right, wrong, errors = map(int, facts[:3])
    duration, p50, p99, most = (float(fact) / 1e3 for fact in facts[3:7])
    return Sample(right, wrong, errors, duration / 1e3, p50, p99, most, facts[7])


def _table(plan: Plan, threads: int) -> dict[str, Any]:
    chain = plan.chain and {"before": plan.chain.before, "tokens": plan.chain.tokens}
    turns = plan.turns and {**vars(plan.turns), "used": USED}
    return {
        "method": plan.method,
        "headers": plan.headers,
        # In one text, since Lua takes no more than 65,536 constants.
        "requests": "".join(f"{path} {body}\n" for path, body in plan.requests),
        "right": [vars(answer) for answer in plan.right],
        # So that the threads do not send the same thing at the same time.
        "stride": max(1, len(plan.requests) // threads),
        "chain": chain,
        "turns": turns,
    }


def _lua(value: Any) -> str:
    """A value as Lua writes it."""
    if isinstance(value, dict):
        pairs = (f"[{_lua(k)}]={_lua(v)}" for k, v in value.items() if v is not None)
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "{" + ",".join(map(_lua, value)) + "}"
    if isinstance(value, str):
        return '"' + NOT_PLAIN.sub(lambda it: b"\\%03d" % it[0][0], value.encode()).decode() + '"'
    return "nil" if value is None else str(value)


class _Connection(threading.Thread):
    """The fallback's connection: sends, waits, checks, until the time is over."""

    def __init__(self, port: int, plan: Plan, place: int, stride: int, end: float) -> None:
        super().__init__(daemon=True)
        self.plan, self.end, self.turn = plan, end, place * stride
        self.token = plan.chain.tokens[place] if plan.chain else ""
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self.right = self.wrong = self.errors = 0
        self.first_wrong = ""
        self.times: list[float] = []

    def run(self) -> None:
        while time.perf_counter() < self.end:
            if self.plan.turns:
                self.plan.turns.wait()
            began = time.perf_counter()
            try:
                self._check(*self.ask())
            except (OSError, http.client.HTTPException):
                self.errors += 1
                self.http.close()
                time.sleep(0.01)
            else:
                self.times.append((time.perf_counter() - began) * 1e3)
        self.http.close()

    def ask(self) -> tuple[http.client.HTTPResponse, str]:
        path, body = self.plan.requests[self.turn % len(self.plan.requests)]
        self.turn += 1
        if self.plan.chain:
            body = self.plan.chain.before + self.token
        self.http.request(self.plan.method, path, body, self.plan.headers)
        answer = self.http.getresponse()
        return answer, answer.read().decode(errors="replace")

    def _check(self, answer: http.client.HTTPResponse, body: str) -> None:
        if is_right(self.plan, answer.status, answer.headers, body):
            self.right += 1
            if self.plan.chain:
                found = REFRESH_TOKEN.search(body)
                self.token = found[1] if found else "missing"
            return
        self.wrong += 1
        self.first_wrong = self.first_wrong or f"{answer.status} {body[:200]}"


def _run_python(port: int, plan: Plan, seconds: float, connections: int) -> Sample:
    began = time.perf_counter()
    stride = max(1, len(plan.requests) // connections)
    threads = [
        _Connection(port, plan, place, stride, began + seconds) for place in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = [value for thread in threads for value in thread.times] or [0.0]
    return Sample(
        right=sum(thread.right for thread in threads),
        wrong=sum(thread.wrong for thread in threads),
        errors=sum(thread.errors for thread in threads),
        seconds=time.perf_counter() - began,
        p50=percentile(times, 50),
        p99=percentile(times, 99),
        max=max(times),
        first_wrong=next((t.first_wrong for t in threads if t.first_wrong), ""),
    )
