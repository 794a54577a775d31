"""The command line of `python -m bench`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.workloads import WORKLOADS

NAMES = [workload.name for workload in WORKLOADS]
EPILOG = """\
Exit codes: 0 all right and every goal met; 1 a wrong answer, a failed connection or a lost row;
2 options that cannot be used, or a server that does not start; 3 a goal was missed (the moonshot
does not count); 4 the yardstick varied by more than 25 %, so no goal was judged.
"""


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m bench",
        description="How fast Portal is, next to a bare Flask response on the same server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=_between(1, 50), default=5, help="rounds of A B C A B C (5)")
    add("--seconds", type=_between(1, 30), default=2, help="seconds a round (2)")
    add("--workers", type=_between(1, 16), default=2, help="processes a server (2)")
    add("--threads", type=_between(1, 16), default=2, help="working threads a process (2)")
    add("--only", type=_names, default=NAMES, help=f"some of {','.join(NAMES)}")
    add("--peers", action="store_true", help="also django-oauth-toolkit and node oidc-provider")
    add("--postgres", action="store_true", help="also on a throw-away PostgreSQL")
    add("--database-url", metavar="URL", help="an empty database instead of a new SQLite file")
    add("--port", type=_between(1024, 65000), default=8100, help="the first port to use (8100)")
    add("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args(arguments)


def _between(least: int, most: int):  # type: ignore[no-untyped-def]
    def read(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"choose a whole number from {least} to {most}")
        return int(text)

    return read


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"there is no {name!r}: choose of {','.join(NAMES)}")
    return names
