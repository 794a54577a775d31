"""A process of its own for `bench.scale`: issue tokens, or say how much memory that takes.

python -m bench.scale_child issue|memory URL APPLICATIONS FOLDER SECONDS|REQUESTS
"""

import json
import sys
import time
from pathlib import Path

from bench.scale_portal import Portal, Sample, WrongAnswer

CLIENTS = 50


def main(what: str, url: str, applications: str, folder: str, number: str) -> None:
    side = Portal(url, int(applications), Path(folder))
    clients = [side.random_number() for _ in range(CLIENTS)]
    print(json.dumps({"issue": issue, "memory": memory}[what](side, clients, int(number))))


def issue(side: Portal, clients: list[int], seconds: int) -> dict:
    """Issue tokens one after the other; the slowest of a hundred in milliseconds, and errors."""
    sample, errors, turn = Sample(), 0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        call = side.token_call(clients[turn % CLIENTS])
        turn += 1
        try:
            sample.add(call)
        except WrongAnswer:
            errors += 1
    return {"p99": sample.p99 * 1000, "issued": len(sample.wall), "errors": errors}


def memory(side: Portal, clients: list[int], requests: int) -> dict:
    """Bytes after so many requests: what the process alone has, and what it has mapped."""
    for turn in range(requests):
        side.token_call(clients[turn % CLIENTS])()
    text = Path("/proc/self/smaps_rollup").read_text()
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in text.splitlines()[1:]}
    return {"anonymous": sizes["Anonymous"], "rss": sizes["Rss"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
