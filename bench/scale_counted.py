"""How many instructions a token takes, counted by valgrind: the same whatever the machine does.

python -m bench.scale_counted URL APPLICATIONS FOLDER REQUESTS is the process that is counted.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.scale_portal import Portal, WrongAnswer
from portal.database import map_file
from portal.models import last_use

#: Valgrind is fifty times slower. The first requests only fill memory.
FIRST, COUNTED = 300, 1500
NEVER = 1 << 40


def has_valgrind() -> bool:
    return shutil.which("valgrind") is not None


def instructions(side: Portal) -> float:
    """What the process executes for a token of a random application, without kernel and server."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = f"valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file={folder}/out"
        asks = sys.executable, "-m", "bench.scale_counted", side.url, str(side.applications)
        command = [*valgrind.split(), *asks, str(side.settings.instance), str(COUNTED)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or collected is None:
        raise WrongAnswer(f"python -m bench.scale_counted failed: {done.stderr[-500:]}")
    return int(collected[1]) / COUNTED


def main(url: str, applications: str, folder: str, requests: str) -> None:
    side = Portal(url, int(applications), Path(folder))
    map_file()  # as a worker that is alone
    # How many uses are due to be noted depends on the time of day.
    last_use.CROWD, last_use.CROWD_SECONDS = 0, NEVER
    for _ in range(FIRST):
        side.token_call(side.random_number())()
    calls = [side.token_call(side.random_number()) for _ in range(int(requests))]
    _count("on")
    for call in calls:
        call()
    _count("off")


def _count(switch: str) -> None:
    command = ["callgrind_control", "-i", switch, str(os.getpid())]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
