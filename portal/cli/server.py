"""`serve`: the production server."""

import os

import click

from portal import serve as serving
from portal.cli.command import Failure, command, current_settings, note, print_json
from portal.cli.data import upgrade_database
from portal.cli.demo import make_demo, ready_block
from portal.database import close_database, database, pending_migrations
from portal.oauth import current_server
from portal.settings import Settings


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
        address = serving.resolve(host, port)
    except serving.CannotListen as error:
        other = "make run PORT=" if with_demo else "--port "
        raise Failure(f"{error}: choose another one, for example {other}{port + 1}.") from None
    issuer = Settings.from_env({**os.environ, "PORT": str(port)}).issuer
    if with_demo:
        upgrade_database()
        shown = make_demo(issuer)
    elif pending_migrations():
        raise Failure("The database is not up to date: run flask --app wsgi db upgrade first.")
    else:
        # One line now rather than an error a request.
        current_server().keys.prepare()
    # The workers open their own connections.
    database.close()
    close_database()

    def ready() -> None:
        if as_json:
            print_json({"address": issuer, **(shown._asdict() if with_demo else {})})
        elif with_demo:
            click.echo(ready_block(issuer, shown))
        else:
            note(f"Portal is ready at {issuer} (listening on {host}:{port}).")

    serving.run(address, port, workers, threads, ready)
