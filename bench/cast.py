"""Who takes part in a run: the yardstick, Portal in several ways, and its peers."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import goals, peers
from bench.load import Plan
from bench.rounds import Target
from bench.seed import Data, seeded
from bench.servers import (
    Ports,
    Server,
    hello_command,
    portal_command,
    portal_environ,
    running,
)
from bench.workloads import HELLO, WORKLOADS, Workload, count_statements, login_plan
from tests.postgres.cluster import find_programs, running_cluster, what_is_missing

CONNECTIONS = 16
#: Durable, unlike the cluster of the tests.
POSTGRES_OPTIONS = (
    "-c listen_addresses=127.0.0.1",
    "-c unix_socket_directories=''",
    "-c max_connections=200",
)


class Cast:
    """The running servers, and what each is asked; everything ends with the stack."""

    def __init__(
        self, options: Namespace, folder: Path, stack: ExitStack, say: Callable[[str], None]
    ) -> None:
        self.options, self.folder, self.stack, self.say = options, folder, stack, say
        self.ports = Ports(options.port)
        self.size = (options.workers, options.threads)
        self.chosen = [w for w in WORKLOADS if w.name in options.only]
        self.servers: list[Server] = []
        self.targets: dict[str, Target] = {}

    def start(self) -> None:
        """Start everybody; raises Failed when one does not answer rightly."""
        self._add_hello()
        url = self.options.database_url or self._new_file("portal")
        self._add_portal(url, self.chosen)
        refresh = [w for w in self.chosen if w.name == "refresh"]
        if refresh and url.startswith("sqlite:"):
            self._add_portal(
                self._new_file("normal"),
                refresh,
                name="{}-normal",
                note="not waiting for the disk",
                app="bench.normal",
            )
        if self.options.peers:
            for peer in (peers.TOOLKIT, peers.NODE):
                self._add_peer(peer)
        if self.options.postgres:
            self._add_postgres()

    def _add_hello(self) -> None:
        port = self.ports.take()
        server = self._start("Flask hello", hello_command(port, *self.size), HELLO, port)
        self.targets[goals.HELLO] = Target("Flask hello", server, lambda turn: HELLO)

    def _add_portal(
        self,
        url: str,
        workloads: Sequence[Workload],
        *,
        name: str = "{}",
        note: str = "",
        app: str = "wsgi",
        size: tuple[int, int] | None = None,
        database_pid: int | None = None,
    ) -> None:
        """Fill a database, start Portal on it, and take it up under the workloads' names."""
        turns = self.options.rounds + 2  # the warm-up and the counting of statements, too
        with seeded(url, self.folder, CONNECTIONS * turns) as (made, data):
            statements = [
                count_statements(made, w.plan(data, turns - 1, CONNECTIONS)) for w in workloads
            ]
        port, size = self.ports.take(), size or self.size
        probe = WORKLOADS[0].plan(data, 0, CONNECTIONS)
        after = f", {note}" if note else ""
        command = portal_command(port, *size, app)
        server = self._start(f"Portal{after}", command, probe, port, portal_environ(url), url)
        for w, count in zip(workloads, statements, strict=True):
            self.targets[name.format(w.name)] = Target(
                w.title + after,
                server,
                _plan_of(w, data),
                w.rows,
                login_plan(data) if w.logins else None,
                count,
                database_pid,
            )

    def _add_peer(self, peer: peers.Peer) -> None:
        if missing := peers.what_is_missing(peer):
            self.say(f"Without {peer.name}: {missing}")
            return
        file = self.folder / f"{peer.name}.db"
        environ = peer.environ(file)
        peer.prepare(environ)
        port = self.ports.take()
        command, url = peer.command(port, *self.size), f"sqlite:///{file}"
        server = self._start(peer.title, command, peer.plan, port, environ, url)
        self.targets[peer.name] = Target(
            f"Token, {peer.title}", server, lambda turn: peer.plan, (peer.rows,)
        )
        if peer is peers.NODE:
            # What it is compared with: one process with one thread, as node has them.
            self._add_portal(
                self._new_file("one"),
                [w for w in self.chosen if w.name == "token"],
                name="{}-1",
                note="1 process, 1 thread",
                size=(1, 1),
            )

    def _add_postgres(self) -> None:
        if missing := what_is_missing():
            self.say(f"Without PostgreSQL: {missing}")
            return
        programs = find_programs()
        assert programs
        cluster = self.stack.enter_context(running_cluster(programs, POSTGRES_OPTIONS))
        [(directory,)] = cluster.execute("SHOW data_directory")
        pid = int((Path(directory) / "postmaster.pid").read_text().split()[0])
        self._add_portal(
            cluster.create("bench"),
            self.chosen,
            name="pg-{}",
            note="PostgreSQL",
            database_pid=pid,
        )

    def _start(
        self,
        title: str,
        command: list[str],
        probe: Plan,
        port: int,
        environ: dict[str, str] | None = None,
        url: str = "",
    ) -> Server:
        self.say(f"Starting {title}")
        running_server = running(title, command, probe, port, environ or {}, url)
        self.servers.append(self.stack.enter_context(running_server))
        return self.servers[-1]

    def _new_file(self, name: str) -> str:
        return f"sqlite:///{self.folder / name}.db"


def _plan_of(workload: Workload, data: Data) -> Callable[[int], Plan]:
    return lambda turn: workload.plan(data, turn, CONNECTIONS)
