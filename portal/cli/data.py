"""`db upgrade`, `assets fetch` and `cleanup`: what the portal keeps on the disk."""

import base64
import hashlib
import os
import tempfile
import time
import urllib.request
from pathlib import Path

import click
from flask import current_app

from portal import htmx, sweep
from portal.cleanup import Interrupted
from portal.cli.command import (
    BadInput,
    Failure,
    Group,
    command,
    current_settings,
    note,
    print_json,
)
from portal.copying import see_whole
from portal.database import database, migrate
from portal.models import Lease, Scope
from portal.oauth import current_server
from portal.text import plural

FETCH_SECONDS = 30
MOST_BYTES = 1024 * 1024
#: How often a long `cleanup` says how far it is.
PROGRESS_SECONDS = 2

db = Group("db", help="The database's schema.")
assets = Group("assets", help="Files that pages load.")


@command("upgrade", db)
def upgrade(as_json: bool) -> None:
    """Make or migrate the schema; run again as often as you like."""
    names = upgrade_database()
    if as_json:
        print_json({"applied": names})
    else:
        click.echo("\n".join(f"Applied {name}" for name in names) or "The database is up to date.")


def upgrade_database() -> list[str]:
    """Migrate, and see to what is built in; returns the names of the migrations that ran.

    The first signing keys are made here, so that no request has to wait for them.
    """
    names = migrate()
    see_whole(database.obj)
    Scope.add_built_in()
    current_server().keys.prepare()
    return names


@command("fetch", assets)
@click.option("--from", "source", type=click.Path(), help="A copy on this machine instead.")
def fetch(source: str | None, as_json: bool) -> None:
    """Get htmx for PORTAL_HTMX=local, checked against its hash."""
    data = _read(source) if source else _download(htmx.CDN_URL)
    found = "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode()
    if found != htmx.INTEGRITY:
        raise BadInput(
            f"{source or htmx.CDN_URL} is not htmx {htmx.VERSION}: its hash is {found}. Nothing"
            " was changed; give the file dist/htmx.min.js of that version with --from."
        )
    path = current_settings().instance / "assets" / htmx.LOCAL_FILE
    _write(path, data)
    if as_json:
        print_json({"path": str(path), "version": htmx.VERSION, "integrity": found})
    else:
        click.echo(f"htmx {htmx.VERSION} is in {path}. Start the portal with PORTAL_HTMX=local.")


@command("cleanup")
def cleanup(as_json: bool) -> None:
    """Delete what has expired; tell applications again who signed out.

    Safe to interrupt and to run again; a server that runs does the same by itself.
    """
    see_whole(database.obj)
    shown = time.monotonic()

    def show(kind: str, gone: int) -> None:
        nonlocal shown
        if gone and time.monotonic() - shown >= PROGRESS_SECONDS:
            shown = time.monotonic()
            note(f"{gone:,} {kind.replace('_', ' ')} deleted so far")

    try:
        done = sweep.once(current_app, show=show)
    except Interrupted:
        done = None
    if done is None:
        holder = Lease.get_by_id(sweep.LEASE).holder
        if as_json:
            print_json({"busy": holder})
        else:
            click.echo(f"Another process is at it already ({holder}): nothing to do here.")
        return
    sent = done["logouts_sent"]
    if as_json:
        print_json(done)
    else:
        if sent:
            click.echo(f"Told {plural(sent, 'application')} that somebody signed out.")
        gone = [
            f"{count:,} {name.replace('_', ' ')}"
            for name, count in done.items()
            if count and name != "logouts_sent"
        ]
        click.echo(f"Deleted {', '.join(gone)}." if gone else "Nothing had expired.")


def _read(source: str) -> bytes:
    try:
        with open(source, "rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise BadInput(f"{source} cannot be read: {error.strerror}.") from None


def _download(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - a constant
            return answer.read(MOST_BYTES)
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise Failure(
            f"{address} cannot be fetched ({reason}): download it elsewhere and use --from FILE."
        ) from None


def _write(path: Path, data: bytes) -> None:
    """Put the file in place at once: a page never gets half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.") from None
