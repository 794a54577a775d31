"""A PostgreSQL cluster for one run: on loopback, on a port of its own, gone afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: root may not run PostgreSQL, so the package's own account does.
ACCOUNT = "postgres"
#: What makes a server durable makes tests slow; the cluster is thrown away.
OPTIONS = (
    "-c listen_addresses=127.0.0.1",
    "-c unix_socket_directories=''",
    "-c fsync=off",
    "-c full_page_writes=off",
    "-c synchronous_commit=off",
    "-c max_connections=200",
    "-c shared_buffers=64MB",
    "-c autovacuum=off",
)


class Cluster:
    """A running PostgreSQL server, and the addresses of its databases."""

    def __init__(self, programs: Path, directory: Path, options: Iterable[str] = OPTIONS) -> None:
        self._programs = programs
        self._directory = directory
        self._options = options
        self._data = directory / "data"
        self.port = _free_port()
        self.log = directory / "log"

    def start(self) -> None:
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", ACCOUNT, "-E", "UTF8", "-N")
        self.resume()

    def resume(self) -> None:
        options = " ".join((*self._options, f"-p {self.port}"))
        start = ("-l", self.log, "-w", "-t", "60", "-o", options, "start")
        self._run("pg_ctl", "-D", self._data, *start)

    def halt(self) -> None:
        """End it in order, cutting off who is connected; `resume` brings it back."""
        self._run("pg_ctl", "-D", self._data, "-m", "fast", "-w", "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside the block its processes stand still, while the kernel keeps its connections."""
        first = (self._data / "postmaster.pid").read_text().split()[0]
        os.kill(int(first), signal.SIGSTOP)
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        stopped = [int(pid) for pid in (*children, first)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def create(self, name: str) -> str:
        """An empty database of this name, in place of an older one; returns its address."""
        for statement in (
            f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
            f'CREATE DATABASE "{name}"',
        ):
            self.execute(statement)
        return self.url(name)

    def create_on(self, name: str, disk: Path) -> str:
        """An empty database on another disk, a directory that anybody may write to."""
        location = disk / name
        location.mkdir()
        if os.geteuid() == 0:
            shutil.chown(location, ACCOUNT)
        self.execute(f"CREATE TABLESPACE {name} LOCATION '{location}'")
        self.execute(f"CREATE DATABASE {name} TABLESPACE {name}")
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://{ACCOUNT}@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        """Run one statement beside the portal; the rows it returns."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", ACCOUNT, "--", *command]
        # Files, not pipes: the server inherits them and would keep a pipe open for ever.
        output = self._directory / "output"
        with output.open("w") as file:
            done = subprocess.run(command, stdout=file, stderr=file, cwd=self._directory)
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{output.read_text()}")


@contextmanager
def running_cluster(programs: Path, options: Iterable[str] = OPTIONS) -> Iterator[Cluster]:
    """A cluster that lives as long as the block."""
    # Not pytest's directory: that one is closed to other accounts.
    directory = Path(tempfile.mkdtemp(prefix="portal-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, ACCOUNT)
        cluster = Cluster(programs, directory, options)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def find_programs() -> Path | None:
    """Where initdb and pg_ctl are, the newest version first; None when they are not."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version, reverse=True)
    if found:
        return found[0].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def what_is_missing() -> str | None:
    """Why no cluster can run here, and what to install; None when one can."""
    if find_programs() is None:
        return "PostgreSQL is not installed: sudo apt install postgresql"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed: pip install 'portal[postgres]'"
    return None


def _version(initdb: Path) -> float:
    text = initdb.parent.parent.name
    return float(text) if text.replace(".", "", 1).isdigit() else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
