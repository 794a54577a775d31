"""`serve`: the production server."""

import logging
import os

import click

from portal import serve as serving
from portal.cli.command import (
    Failure,
    command,
    current_settings,
    note,
    print_json,
    upgrade_needed,
)
from portal.cli.data import upgrade_database
from portal.cli.demo import Demo, make_demo, ready_block
from portal.copying import see_whole
from portal.database import close_database, database
from portal.metrics import NoFolder, shared_between_workers
from portal.oauth import current_server
from portal.settings import Settings

log = logging.getLogger(__name__)


@command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65535), help="Instead of the setting PORT.")
@click.option("--workers", type=click.IntRange(1, 64), default=serving.WORKERS, show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=serving.THREADS, show_default=True)
@click.option("--demo", "with_demo", is_flag=True, help="Upgrade the database, add demo data.")
def serve(
    host: str, port: int | None, workers: int, threads: int, with_demo: bool, as_json: bool
) -> None:
    """Serve until SIGTERM or Ctrl+C; requests that are under way are finished."""
    port = port or current_settings().port
    try:
        listening = serving.listen(host, port)
    except serving.NoSuchHost as error:
        raise Failure(f"{error}: choose another one, for example --host 127.0.0.1.") from None
    except serving.CannotListen as error:
        other = "make run PORT=" if with_demo else "--port "
        raise Failure(f"{error}: choose another one, for example {other}{port + 1}.") from None
    with listening:
        demo = _prepare(port, with_demo)
        try:
            with shared_between_workers(current_settings()):
                serving.run(listening, workers, threads, lambda: _say(host, port, demo, as_json))
        except NoFolder:
            raise Failure(
                "PORTAL_METRICS_TOKEN needs a folder for temporary files: set TMPDIR to one that"
                " the server may write to."
            ) from None


def _prepare(port: int, with_demo: bool) -> Demo | None:
    """See that the database is ready; the demo data, when it is wanted."""
    demo = None
    if with_demo:
        upgrade_database()
        demo = make_demo(_issuer(port))
    elif missing := upgrade_needed():
        raise Failure(missing)
    else:
        see_whole(database.obj)
        # One line now rather than an error a request.
        current_server().keys.prepare()
    # The workers open their own connections.
    database.close()
    close_database()
    return demo


def _issuer(port: int) -> str:
    return Settings.from_env({**os.environ, "PORT": str(port)}).issuer


def _say(host: str, port: int, demo: Demo | None, as_json: bool) -> None:
    """Tell that it answers, to whoever started it."""
    issuer = _issuer(port)
    if as_json:
        print_json({"address": issuer, **(demo._asdict() if demo else {})})
    elif demo:
        click.echo(ready_block(issuer, demo))
    elif Settings.from_env().log == "json":
        log.info("ready at %s, listening on %s:%s", issuer, host, port)
    else:
        note(f"Portal is ready at {issuer} (listening on {host}:{port}).")
