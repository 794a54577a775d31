"""The portal as it runs in production: its own process, port and database."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.database import database, open_database
from portal.models import OneTimeLink

ROOT = Path(__file__).parent.parent.parent
FLASK = (sys.executable, "-m", "flask", "--app", "wsgi")
START_SECONDS = 30
STOP_SECONDS = 15


class PortalServer:
    """`flask --app wsgi serve`, ended by its process id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"http://localhost:{self.port}"
        self.database_url = f"sqlite:///{folder}/portal.db"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PORTAL_", "FLASK_"))}
        self.environ = {
            **kept,
            "PORT": str(self.port),
            "DATABASE_URL": self.database_url,
            "PORTAL_SECRET_KEY": "a key that only the browser tests use",
        }

    def start(self) -> None:
        """Make the database and serve; returns when the portal answers."""
        with self.log.open("ab") as log:
            how = {"cwd": ROOT, "env": self.environ, "stdin": subprocess.DEVNULL}
            how |= {"stdout": log, "stderr": log}
            subprocess.run([*FLASK, "db", "upgrade"], **how, check=True, timeout=60)
            self.process = subprocess.Popen([*FLASK, "serve"], **how)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.address}/readyz", timeout=2).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"The portal did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it as a service manager does."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> Path:
        return self.folder / "portal.log"

    @contextmanager
    def models(self) -> Iterator[None]:
        """The models of this process write into the server's database inside the block."""
        open_database(self.database_url)
        try:
            yield
        finally:
            database.close()

    def setup_link(self) -> str:
        """The link that makes the first administrator."""
        with self.models():
            return f"{self.address}/setup/{OneTimeLink.make()}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
