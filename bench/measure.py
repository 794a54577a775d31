"""What the kernel says about a tree of processes, and a little arithmetic."""

import os
from collections.abc import Sequence
from math import inf
from pathlib import Path
from statistics import median

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """A process and everything below it."""
    children: dict[int, list[int]] = {}
    for path in PROC.iterdir():
        if path.name.isdigit() and (fields := _stat(int(path.name))):
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_us(root: int) -> float:
    """User and system time of the tree so far, in µs, with that of children that have ended."""
    total = 0
    for pid in tree(root):
        if fields := _stat(pid):
            # utime, stime, cutime and cstime are fields 14 to 17 of proc(5); ours start at 3.
            total += sum(map(int, fields[11:15]))
    return total * TICK_US


def machine_us() -> tuple[float, int]:
    """What all cores together have worked so far, in µs, and how many there are."""
    lines = (PROC / "stat").read_text().splitlines()
    # user nice system idle iowait irq softirq steal; guests are counted as users already.
    spent = list(map(int, lines[0].split()[1:9]))
    return (sum(spent) - spent[3] - spent[4]) * TICK_US, sum(x[:3] == "cpu" for x in lines) - 1


def own_us() -> float:
    """What this process and the children that it has waited for have worked, in µs."""
    return sum(os.times()[:4]) * 1e6


def pss_mb(root: int) -> float:
    """Memory of the tree in MB; a page that n processes share counts one nth for each."""
    total = 0
    for pid in tree(root):
        try:
            text = (PROC / str(pid) / "smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:")
    return total * 1024 / 1e6


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` % of the values do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def spread(values: Sequence[float]) -> float:
    """How far apart the values are: (largest - smallest) / median."""
    return (max(values) - min(values)) / (median(values) or inf)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None when the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name before may hold blanks and brackets.
    return text.rpartition(")")[2].split()
