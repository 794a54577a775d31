"""The tables that a run prints, and the same as JSON."""

import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench import load
from bench.goals import BUSY, HELLO, Ratio, Verdict, others_share, ratio, yardstick_spread
from bench.rounds import Target

RIGHT, WRONG, MISSED, NOISY = 0, 1, 3, 4  # 2 is for options that cannot be used


class Footprint(NamedTuple):
    """What a server takes before it answers, and while it does."""

    title: str
    first_pss_mb: float
    last_pss_mb: float
    cold_ms: float


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": "wrk" if load.has_wrk() else "Python threads (install wrk for a faster one)",
        "date": time.strftime("%Y-%m-%d"),
    }


def exit_code(targets: Mapping[str, Target], verdicts: Iterable[Verdict], noisy: bool) -> int:
    """1: something was wrong or lost; 4: too noisy to judge; 3: a goal was missed; 0: all well."""
    if any(target.faults for target in targets.values()):
        return WRONG
    if noisy:
        return NOISY
    missed = [v for v in verdicts if not v.met and not v.goal.moonshot]
    return MISSED if missed else RIGHT


def print_all(
    console: Console,
    targets: Mapping[str, Target],
    footprints: Iterable[Footprint],
    verdicts: Iterable[Verdict],
    noisy: bool,
) -> None:
    facts = machine()
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, {facts['date']};"
        f" load by {facts['load']}",
        highlight=False,
    )
    console.print(_targets_table(targets))
    console.print(_footprints_table(footprints))
    for target in targets.values():
        for fault in target.faults:
            console.print(f"[bold red]WRONG[/] {target.title}: ", end="")
            console.print(fault, markup=False, highlight=False)
    if noisy:
        console.print(
            f"[bold yellow]NOISY[/]: hello varied by {yardstick_spread(targets):.0%} from round to"
            " round, so no goal is judged. Run it again on a quiet machine."
        )
        return
    console.print(_goals_table(verdicts))
    if (share := others_share(targets)) > BUSY:
        console.print(
            f"[bold yellow]BUSY[/]: other programs took {share:.0%} of the machine, so latencies"
            " are not judged."
        )


def _targets_table(targets: Mapping[str, Target]) -> Table:
    table = _table("A request costs", "CPU µs", "× hello", "a second", "p50 / p99 / max ms", "SQL")
    for target in targets.values():
        samples = [done.sample for done in target.rounds]
        p50, most = median(s.p50 for s in samples), max(s.max for s in samples)
        table.add_row(
            target.title,
            *_cpu(target, targets[HELLO]),
            f"{median(s.requests / s.seconds for s in samples):,.0f}",
            f"{p50:.1f} / {target.p99:.1f} / {most:.0f}",
            "" if target.statements is None else str(target.statements),
        )
    return table


def _cpu(target: Target, hello: Target) -> tuple[str, str]:
    if target.logins:  # their own time cannot be told from the tokens'
        return "", ""
    database, times = median(target.each(lambda done: done.database_us)), ratio(target, hello)
    return (
        f"{target.cpu:.0f}" + (f" + {database:.0f}" if database else ""),
        f"{times.middle:.2f} ({times.least:.2f}–{times.most:.2f})",
    )


def _footprints_table(footprints: Iterable[Footprint]) -> Table:
    table = _table(
        "A server takes", "MB (PSS) after 1 s", "at the end", "start to first answer, ms"
    )
    for title, *numbers in footprints:
        table.add_row(title, *(f"{number:.0f}" for number in numbers))
    return table


def _goals_table(verdicts: Iterable[Verdict]) -> Table:
    table = _table("Goals", "measured", "")
    for verdict in verdicts:
        missed = "[yellow]not yet" if verdict.goal.moonshot else "[bold red]missed"
        table.add_row(
            verdict.goal.text, f"{verdict.value:.2f}", "[green]met" if verdict.met else missed
        )
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def write_json(
    path: Path,
    targets: Mapping[str, Target],
    footprints: Iterable[Footprint],
    verdicts: Iterable[Verdict],
    noisy: bool,
) -> None:
    hello = targets[HELLO]
    document = {
        "machine": machine(),
        "noisy": noisy,
        "others_share": others_share(targets),
        "targets": {name: _facts(target, hello) for name, target in targets.items()},
        "servers": [footprint._asdict() for footprint in footprints],
        "goals": [
            {"goal": v.goal.text, "most": v.goal.most, "measured": v.value, "met": v.met}
            for v in verdicts
        ],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _facts(target: Target, hello: Target) -> dict[str, Any]:
    times: Ratio = ratio(target, hello)
    return {
        "title": target.title,
        "cpu_us": target.cpu,
        "cpu_includes_logins": target.logins is not None,
        "times_hello": vars(times),
        "statements": target.statements,
        "faults": target.faults,
        "rounds": [
            {
                **vars(done.sample),
                "cpu_us": done.cpu_us,
                "database_us": done.database_us,
                "others": done.others,
            }
            for done in target.rounds
        ],
    }
