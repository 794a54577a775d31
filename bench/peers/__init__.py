"""Other servers that do the same work: installed by `make bench PEERS=1`, each in its own corner.

Each gets what its manual offers to be fast: one client in the database, SQLite with WAL and
`synchronous=NORMAL`, a durable row for every token, no access log.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.load import Plan, Right
from bench.seed import Credentials
from bench.workloads import token_plan

HERE = Path(__file__).parent
PYTHON = HERE.parent.parent / ".venv-bench/bin/python"
CLIENT = Credentials("bench", "a-secret-of-the-bench-and-of-nothing-else")
RIGHT = [Right(200, '"access_token":')]


class Peer(NamedTuple):
    """How to start a peer on a port, and which query counts its tokens."""

    name: str
    title: str
    command: Callable[[int, int, int], list[str]]
    plan: Plan
    rows: str
    #: Makes the tables and the client in a new database.
    prepare: Callable[[dict[str, str]], None]

    def environ(self, database: Path) -> dict[str, str]:
        return {
            "BENCH_DATABASE": str(database),
            "BENCH_CLIENT_ID": CLIENT.client_id,
            "BENCH_CLIENT_SECRET": CLIENT.secret,
            "NODE_ENV": "production",
        }


def _prepare_toolkit(environ: dict[str, str]) -> None:
    command = [str(PYTHON), str(HERE / "oauth_toolkit.py")]
    subprocess.run(command, env={**os.environ, **environ}, check=True, timeout=60)


def _prepare_node(environ: dict[str, str]) -> None:
    """The server makes its tables itself; the file must be there to be counted."""
    sqlite3.connect(environ["BENCH_DATABASE"]).close()


def _toolkit_command(port: int, workers: int, threads: int) -> list[str]:
    return [
        *(str(PYTHON), "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", str(workers)),
        *("--worker-class", "gthread", "--threads", str(threads), "--keep-alive", "60"),
        *("--log-level", "warning", "--chdir", str(HERE), "oauth_toolkit:application"),
    ]


TOOLKIT = Peer(
    "django-oauth-toolkit",
    "django-oauth-toolkit, client secret unhashed",
    _toolkit_command,
    token_plan("/token/", CLIENT, RIGHT, "read"),
    "SELECT COUNT(*) FROM oauth2_provider_accesstoken",
    _prepare_toolkit,
)
NODE = Peer(
    "oidc-provider",
    "node oidc-provider, better-sqlite3, 1 process",
    lambda port, workers, threads: ["node", str(HERE / "oidc_provider.mjs"), str(port)],
    token_plan("/token", CLIENT, RIGHT, "read"),
    "SELECT COUNT(*) FROM ClientCredentials",
    _prepare_node,
)


def what_is_missing(peer: Peer) -> str | None:
    """Why the peer cannot run here; None when it can."""
    if peer is TOOLKIT:
        if not PYTHON.exists():
            return "its packages are not installed in .venv-bench: make bench PEERS=1"
        check = [str(PYTHON), "-c", "import django, gunicorn, oauth2_provider"]
    else:
        if shutil.which("node") is None:
            return "node is not installed"
        if not (HERE / "node_modules").exists():
            return "its packages are not installed in bench/peers: make bench PEERS=1"
        check = ["node", "--input-type=module", "-e", _NODE_CHECK]
    done = subprocess.run(check, cwd=HERE, capture_output=True, text=True, timeout=60)
    lines = [line for line in done.stderr.splitlines() if "Error" in line]
    return None if done.returncode == 0 else (lines or ["it does not start"])[-1].strip()


_NODE_CHECK = (
    'import "oidc-provider"; import Database from "better-sqlite3"; new Database(":memory:")'
)
