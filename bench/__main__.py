"""`python -m bench`: start everybody, ask everybody, print who was how fast."""

import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import Progress

from bench import goals, report
from bench.cast import CONNECTIONS, Cast
from bench.measure import pss_mb
from bench.options import read_options
from bench.rounds import Target, play_all
from bench.servers import Failed, Server, refuse_filled


def main(arguments: Sequence[str] | None = None) -> int:
    options, console = read_options(arguments), Console(width=None if sys.stdout.isatty() else 120)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="portal-bench-")))
        cast = Cast(options, folder, stack, lambda text: console.print(text, highlight=False))
        try:
            if options.database_url:
                refuse_filled(options.database_url)
            cast.start()
        except (Failed, RuntimeError) as error:
            print(f"Error: {error}", file=sys.stderr)
            return 2
        targets = list(cast.targets.values())
        seconds = len(targets) * (options.rounds * (options.seconds + 0.5) + 1.5)
        console.print(f"Measuring for about {seconds:.0f} seconds", highlight=False)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("", total=len(targets) * (options.rounds + 1))

            def note(text: str) -> None:
                progress.update(task, advance=1, description=text)

            play_all(targets, options.rounds, options.seconds, CONNECTIONS, note)
        footprints = [_footprint(server, targets) for server in cast.servers]
    noisy = goals.is_noisy(cast.targets)
    verdicts = [] if noisy else goals.judge(cast.targets)
    report.print_all(console, cast.targets, footprints, verdicts, noisy)
    if options.json:
        report.write_json(options.json, cast.targets, footprints, verdicts, noisy)
    return report.exit_code(cast.targets, verdicts, noisy)


def _footprint(server: Server, targets: Sequence[Target]) -> report.Footprint:
    first = next(target for target in targets if target.server is server)
    return report.Footprint(server.title, first.pss_mb, pss_mb(server.pid), server.cold_ms)


if __name__ == "__main__":
    # The servers have sessions of their own: nobody else would end them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Error: stopped."))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
