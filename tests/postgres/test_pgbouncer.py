"""A connection pooler between: transactions of one session may run on another connection each."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import create_app
from portal.database import close_database, database, migrate
from tests.browser.portal_server import free_port
from tests.conftest import usual_settings
from tests.factories import make_application, make_user
from tests.flows import RelyingApp
from tests.postgres.cluster import ACCOUNT
from tests.races.crowd import together
from tests.requirements import require

pytestmark = pytest.mark.postgres

SETTINGS = """
[databases]
* = host=127.0.0.1 port={server} user={account}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
logfile = {folder}/pgbouncer.log
"""


@pytest.fixture
def pooled(postgres) -> Iterator[str]:
    """The address of an empty database behind pgbouncer in transaction mode."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    require("pgbouncer", None if program else "it is not installed: sudo apt install pgbouncer")
    postgres.create("pooled")
    folder, port = Path(postgres.log).parent, free_port()
    values = {"server": postgres.port, "account": ACCOUNT, "port": port, "folder": folder}
    file = folder / "pgbouncer.ini"
    file.write_text(SETTINGS.format(**values))
    command = [program, str(file)]
    if os.geteuid() == 0:  # it refuses to run as root
        command = [
            "setpriv",
            f"--reuid={ACCOUNT}",
            f"--regid={ACCOUNT}",
            "--clear-groups",
            *command,
        ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log, end = folder / "pgbouncer.log", time.monotonic() + 10
    while not log.exists() or "process up" not in log.read_text():
        assert time.monotonic() < end, "pgbouncer did not start"
        time.sleep(0.02)
    yield f"postgresql://{ACCOUNT}@127.0.0.1:{port}/pooled"
    process.terminate()
    process.wait(10)


def test_the_portal_works_behind_pgbouncer_in_transaction_mode(pooled, tmp_path):
    app = create_app(usual_settings(f"{pooled}?prepare=off&pool=10", tmp_path))
    try:
        assert migrate()
        application, secret = make_application(make_user("alice"), grants=["client_credentials"])
        rp = RelyingApp(app.test_client(), application, secret)

        def work(_: int) -> list[int]:
            # More often than psycopg waits before it would prepare.
            return [rp.token("client_credentials").status_code for _ in range(8)]

        assert {status for seen in together(8, work) for status in seen} == {200}
        assert database.execute_sql("SELECT count(*) FROM access_token").fetchone() == (64,)
        assert database.execute_sql("SELECT last_used_at > 0 FROM application").fetchone() == (
            True,
        )
    finally:
        database.close()
        close_database()
