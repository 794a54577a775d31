"""What a million applications and ten million tokens cost, against a hundred and a thousand.

`make bench-scale`, or `python -m bench.scale --applications 100000 --tokens 1000000`. Both portals
run in this process and are asked in turns, so that whatever slows the machine slows both. CPU is
the process's own: on SQLite that is everything, on PostgreSQL the server's part is missing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean, median

from peewee import fn
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from werkzeug.datastructures import MultiDict

from bench.measure import spread
from bench.scale_counted import has_valgrind, instructions
from bench.scale_portal import Portal, Sample, WrongAnswer, in_turns, prepare
from bench.scale_seed import LIFETIME, client_id, name_of, seed
from bench.scale_served import ratio, tokens_over_http
from portal import cleanup
from portal.admin.application_list import Listing
from portal.clock import now
from portal.credentials import hash_secret, new_id
from portal.models import AccessToken, Application
from portal.models.statements import INSERT_ACCESS_TOKEN
from tests.postgres.cluster import find_programs, running_cluster, what_is_missing

SMALL = (100, 1_000)
EACH = 150
#: So often all searches are gone through, and so often each is asked in a turn.
SEARCH_ROUNDS, SEARCHES = 5, 4
FEW_TOKENS = 10_000
LIST = "/admin/applications"
CHIPS = ("", "attention", "broken", "trusted", "public", "never", "disabled")
SORTS = ("name", "-name", "last_used", "-last_used")
MILLISECOND, MICROSECOND = 1e-3, 1e-6


class Report:
    """The table of figures, and whether every goal was met."""

    def __init__(self) -> None:
        self.table = Table(
            "What", "small", "large", "is", "goal", "", box=None, padding=(0, 2, 0, 0)
        )
        self.missed = 0

    def ratio(
        self, what: str, small: float, large: float, unit: float, goal: float,
        measured: float | None = None,
    ) -> None:  # fmt: skip
        """Large may cost so many times what small costs; `measured` is by pairs, if it was."""
        is_now = measured or large / small
        self._row(what, small / unit, large / unit, is_now, goal, f"{is_now:.2f}×", "×")

    def limit(self, what: str, small: float | None, large: float, unit: float, goal: float) -> None:
        """Large may cost so much, in `unit`s."""
        sign = "ms" if unit == MILLISECOND else "µs"
        figure = f"{large / unit:.2f} {sign}"
        self._row(
            what, small and small / unit, large / unit, large / unit, goal, figure, f" {sign}"
        )

    def _row(
        self, what: str, small: float | None, large: float, value: float, goal: float, figure: str,
        sign: str,
    ) -> None:  # fmt: skip
        met = value <= goal
        self.missed += not met
        self.table.add_row(
            what,
            "" if small is None else f"{small:,.2f}",
            f"{large:,.2f}",
            figure,
            f"≤ {goal:g}{sign}",
            "[green]met[/]" if met else "[red]missed[/]",
        )

    def fact(self, what: str, small: str, large: str, figure: str = "") -> None:
        """A figure without a goal."""
        self.table.add_row(what, small, large, figure)


def main() -> int:
    options = _options()
    console, report = Console(), Report()
    with _folder(options.keep) as folder, _urls(options, folder) as (small_url, large_url):
        started = time.time()
        with Progress(console=console) as progress:
            prepare(small_url, *SMALL, progress)
            prepare(large_url, options.applications, options.tokens, progress)
        console.print(f"Seeded in {time.time() - started:.0f} s.")
        sides = (
            Portal(small_url, SMALL[0], folder),
            Portal(large_url, options.applications, folder),
        )
        spread = 0.0
        steps = (_tokens, _inserts, _lists, _searches, _memory, _expiry)
        try:
            for step in steps:
                started = time.time()
                spread = max(spread, step(sides, report, options))
                console.print(f"{step.__name__[1:]}: {time.time() - started:.0f} s")
        except WrongAnswer as error:
            console.print(f"[red]Wrong answer:[/] {error}")
            return 1
    console.print(report.table)
    if options.postgres:
        console.print("CPU is the portal's own; what PostgreSQL itself used is not in it.")
    if spread > 0.25:
        console.print(
            f"[yellow]Noisy:[/] the ratio differed by {spread:.0%} between starts; run again."
        )
        return 0
    console.print("Every goal is met." if not report.missed else f"{report.missed} goals missed.")
    return 1 if report.missed else 0


def _tokens(sides: tuple[Portal, Portal], report: Report, options: argparse.Namespace) -> float:
    """Random clients: among a hundred all are cached, among a million hardly any.

    Their last use is long ago, so it is noted as well. What the server itself costs is on both
    sides: beside it, the figures without the server.
    """
    small, large = tokens_over_http(sides)
    cpu, p99 = ratio(small.cpu, large.cpu), ratio(small.p99, large.p99)
    report.ratio(
        "token, random client: CPU µs", median(small.cpu), median(large.cpu), MICROSECOND, 1.3, cpu
    )
    report.ratio(
        "token, random client: p99 ms", median(small.p99), median(large.p99), MILLISECOND, 1.5, p99
    )
    few, many = in_turns(sides, lambda s: s.token_call(s.random_number()), options.rounds, EACH)
    # One request of many notes the use for all of them: only the mean of all turns shows that.
    alone, among = fmean(few.cpu), fmean(many.cpu)
    figures = f"{alone / MICROSECOND:,.2f}", f"{among / MICROSECOND:,.2f}"
    report.fact("  without the server: CPU µs", *figures, f"{among / alone:.2f}×")
    if has_valgrind():
        alone, among = map(instructions, sides)
        figures = f"{alone:,.0f}", f"{among:,.0f}"
        report.fact("  the same in instructions", *figures, f"{among / alone:.2f}×")
    return spread([b / a for a, b in zip(small.cpu, large.cpu, strict=True)])


def _inserts(sides: tuple[Portal, Portal], report: Report, options: argparse.Namespace) -> float:
    """The statement that stores a token, with 10,000 and with all the rows there."""
    sides[0].enter()
    with Progress(disable=True) as quiet:
        seed(SMALL[0], FEW_TOKENS, quiet)
    some = {}
    for side in sides:
        side.enter()
        some[side] = Application.get(Application.client_id == client_id(side.random_number()))

    def insert(side: Portal):  # type: ignore[no-untyped-def]
        application, moment = some[side], now()
        values = {
            "id": new_id(),
            "hash": hash_secret(str(new_id())),
            "family_id": None,
            "user_id": None,
            "scopes": "public",
            "resources": "",
            "now": moment,
            "expires_at": moment + LIFETIME,
            "client_id": application.client_id,
            "application_id": application.id,
            "version": application.version,
        }

        def run() -> None:
            if INSERT_ACCESS_TOKEN.count(**values) != 1:
                raise WrongAnswer("an insert added no row")

        return run

    small, large = in_turns(sides, insert, options.rounds, 400)
    report.ratio("insert of a token: CPU µs", small.typical, large.typical, MICROSECOND, 1.1)
    return 0


def _lists(sides: tuple[Portal, Portal], report: Report, options: argparse.Namespace) -> float:
    """The list as an administrator sees it, and each way to narrow or order it.

    Always against the whole small list: it fills a page, a filter of it may not.
    """
    for side in sides:
        side.enter().sign_in()
    addresses = {f"list, {chip or 'all'}": f"{LIST}?chip={chip}" for chip in CHIPS}
    addresses |= {f"list, by {sort}": f"{LIST}?sort={sort}" for sort in SORTS[1:]}
    addresses |= {
        f"list, {chip}, by last_used": f"{LIST}?chip={chip}&sort=-last_used" for chip in CHIPS[3:]
    }
    addresses["people"] = "/admin/users"
    for what, address in addresses.items():
        usual = address if what == "people" else LIST

        def look(side: Portal, at: tuple[str, str] = (usual, address)):  # type: ignore[no-untyped-def]
            return side.page_call(at[side is sides[1]])

        small, large = in_turns(sides, look, 5, 4)
        report.ratio(f"{what}: CPU ms", small.typical, large.typical, MILLISECOND, 2)
    return 0


def _searches(sides: tuple[Portal, Portal], report: Report, options: argparse.Namespace) -> float:
    """What a search adds to the page: finding, counting and reading its rows.

    The goal is an absolute one, so each is asked again once all others were.
    """
    last = options.applications - 1
    queries = {
        "rare word": "zephyr observ",
        "common word": "warehouse",
        "all names": "example",
        "no match": "nothing like it",
        "one name": name_of(last),
        "client ID": client_id(last)[5:15],
        "owner": "owner 123",
        "two letters": "ac",
        "special characters": '100%_"*',
    }
    more: list[tuple[str, dict[str, str]]] = [(what, {"q": q}) for what, q in queries.items()]
    more += [
        (f"common word, {chip}", {"q": "warehouse", "chip": chip, "sort": "-last_used"})
        for chip in CHIPS[1:]
    ]
    samples = {what: (Sample(), Sample()) for what, _ in more}
    for _ in range(SEARCH_ROUNDS):
        for what, said in more:

            def look(side: Portal, said: dict[str, str] = said):  # type: ignore[no-untyped-def]
                person = side.administrator()
                return lambda: Listing(MultiDict(said)).context(person)

            in_turns(sides, look, 1, SEARCHES, samples[what])
    for what, pair in samples.items():
        small, large = (sample.quickest(SEARCHES) for sample in pair)
        report.limit(f"search, {what}: CPU ms", small, large, MILLISECOND, 5)
    return 0


def _memory(sides: tuple[Portal, Portal], report: Report, options: argparse.Namespace) -> float:
    """Anonymous memory of a process after the same requests from the same few clients."""
    small, large = (_child(side, "memory", options.requests) for side in sides)
    report.ratio("memory, anonymous MB", small["anonymous"], large["anonymous"], 2**20, 1.1)
    report.fact(
        "  with files that are mapped, MB", f"{small['rss'] >> 20}", f"{large['rss'] >> 20}"
    )
    return 0


def _expiry(sides: tuple[Portal, Portal], report: Report, options: argparse.Namespace) -> float:
    """Delete what has expired while another process issues tokens."""
    side = sides[1].enter()
    oldest = AccessToken.select(fn.MIN(AccessToken.id)).scalar()
    calm = _child(side, "issue", 2)
    busy = subprocess.Popen(_command(side, "issue", 6), stdout=subprocess.PIPE)
    time.sleep(2)  # until it is started
    cpu, clock = time.thread_time(), time.perf_counter()
    gone = 0

    def go_on(kind: str, deleted: int) -> bool:
        nonlocal gone
        gone = deleted if kind == "access_tokens" else gone
        return busy.poll() is None

    # It pauses between its chunks, so a part of all that has expired is enough.
    with suppress(cleanup.Interrupted):
        cleanup.delete_expired(LIFETIME, go_on, everything=False)
    cpu, clock = time.thread_time() - cpu, time.perf_counter() - clock
    answer = json.loads(busy.communicate()[0])
    if busy.returncode or answer["errors"]:
        raise WrongAnswer("a token was refused while expired ones were deleted")
    if gone == 0 or AccessToken.select(fn.MIN(AccessToken.id)).scalar() <= oldest:
        raise WrongAnswer("nothing had expired")
    report.limit(f"delete of {gone:,} expired: CPU µs a row", None, cpu / gone, MICROSECOND, 2)
    report.fact("  it took, s", "", f"{clock:.1f}")
    report.fact(
        "  issuing p99 without and with it, ms", f"{calm['p99']:.1f}", f"{answer['p99']:.1f}"
    )
    return 0


def _child(side: Portal, what: str, number: int) -> dict:
    done = subprocess.run(_command(side, what, number), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise WrongAnswer(f"python -m bench.scale_child {what} failed")
    return json.loads(done.stdout)


def _command(side: Portal, what: str, number: int) -> list[str]:
    folder = str(side.settings.instance)
    return [
        sys.executable, "-m", "bench.scale_child", what, side.url, str(side.applications), folder,
        str(number),
    ]  # fmt: skip


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as folder:
        yield Path(folder)


@contextmanager
def _urls(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str]]:
    if not options.postgres:
        large = f"large-{options.applications}.db"
        yield f"sqlite:///{folder}/small.db", f"sqlite:///{folder}/{large}"
        return
    programs = find_programs()
    if programs is None:
        raise SystemExit(what_is_missing())
    with running_cluster(programs) as cluster:
        yield cluster.create("small"), cluster.create("large")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--applications", type=int, help="in the large portal (1,000,000)")
    parser.add_argument("--tokens", type=int, help="in the large portal (10,000,000)")
    parser.add_argument("--postgres", action="store_true", help="a throw-away PostgreSQL instead")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the databases, use them again"
    )
    parser.add_argument("--rounds", type=int, default=14, help="turns of tokens and inserts (14)")
    parser.add_argument("--requests", type=int, default=5000, help="before memory is read (5000)")
    options = parser.parse_args()
    if options.postgres and options.keep:
        parser.error("--keep is for SQLite: the PostgreSQL cluster is thrown away.")
    scale = 10 if options.postgres else 1
    options.applications = options.applications or 1_000_000 // scale
    options.tokens = options.tokens or 10_000_000 // scale
    return options


if __name__ == "__main__":
    sys.exit(main())
