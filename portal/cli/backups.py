"""`db copy`, `backup` and `restore`: move a portal, and keep it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import click
from peewee import Database, DatabaseError, InterfaceError

from portal import audit, copying
from portal import backup as backups
from portal.backup import OnProgress
from portal.cli.command import (
    BadInput,
    Failure,
    command,
    note,
    print_json,
    print_table,
)
from portal.cli.data import db
from portal.database import Sqlite, connected, database, describe, on_sqlite
from portal.models import TABLES, SigningKey
from portal.models.signing_key import WrongSecretKey
from portal.oauth import current_server
from portal.settings import SettingError, check_database_url
from portal.text import plural

KEEP_THE_KEY = (
    "Keep PORTAL_SECRET_KEY (or instance/secret_key) as well, and apart from it: the backup holds"
    " hashes of passwords and secrets, and signing keys that are encrypted with it."
)


@command("copy", db)
@click.argument("source")
@click.argument("target")
@click.option("--restart", is_flag=True, help="Empty what an unfinished copy left, begin anew.")
def copy(source: str, target: str, restart: bool, as_json: bool) -> None:
    """Copy a portal from SOURCE to TARGET, addresses as in DATABASE_URL.

    Stop the portal first: what is written meanwhile does not arrive. The target must be empty.
    A copy that was interrupted goes on where it stopped when you run it again.
    """
    with _setting_errors():
        check_database_url(source)
        check_database_url(target)
    if describe(source) == describe(target):
        raise BadInput("SOURCE and TARGET are the same database.")
    if source.startswith("sqlite:///") and not Path(source.removeprefix("sqlite:///")).exists():
        raise BadInput(f"There is no file {source.removeprefix('sqlite:///')}.")
    began = monotonic()
    with (
        _refusals("Interrupted: run the same command again, and it goes on from here."),
        _at(source) as one,
        _at(target, makes=True) as other,
        _bar("Copying") as on_progress,
    ):
        if isinstance(one, Sqlite):
            backups.see_undamaged(one, describe(source), "restore a backup first", "quick_check")
        copying.begin(one, other, _name(source), restart)
        compared = _copy(one, other, on_progress)
        if all(row.same for row in compared):
            copying.end(other)
    seconds = monotonic() - began
    wrong = [row.table for row in compared if not row.same]
    _report(compared, seconds, as_json)
    if wrong:
        raise Failure(
            f"The source or the target was written to meanwhile ({', '.join(wrong)}): stop the"
            " portal and copy again with --restart."
        )
    note(
        f"Now set DATABASE_URL to {describe(target)}, as you gave it here, keep PORTAL_SECRET_KEY"
        " or instance/secret_key as it is, and start the portal. Keep the source until you are"
        " content."
    )


@command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def backup(file: Path, force: bool, as_json: bool) -> None:
    """Write the whole portal to FILE, while it serves; the same format for both engines."""
    try:
        if file.is_dir() or not file.parent.is_dir():
            raise BadInput(f"{file} must be the name of a file in a folder that is there.")
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise BadInput(f"{file} is no ordinary file: choose another name.")
        if file.exists() and on_sqlite() and file.samefile(database.obj.database):
            raise BadInput(f"{file} is the portal's own database: choose another name.")
        if file.exists() and not force:
            raise BadInput(f"{file} is there already: choose another name, or use --force.")
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}.") from None
    copying.see_whole(database.obj)
    with _refusals(), _bar("Backing up") as on_progress:
        try:
            counts = backups.write_backup(database.obj, file, on_progress)
        except OSError as error:
            raise Failure(f"{file} cannot be written: {error.strerror}.") from None
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "bytes": size, "rows": counts})
    else:
        click.echo(f"{file} holds {plural(sum(counts.values()), 'row')} ({size:,} bytes).")
    note(KEEP_THE_KEY)


@command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the portal that is in the database.")
def restore(file: Path, force: bool, as_json: bool) -> None:
    """Put the portal that FILE holds into the database, all or nothing.

    What happened after the backup is undone: tokens, sign-ins and decisions since then are gone,
    and what was ended since then lives again.
    """
    key = current_server().keys.encryption_key
    with _refusals(), _bar("Restoring") as on_progress:
        try:
            counts = backups.restore_backup(file, database.obj, key, force, on_progress)
        except OSError as error:
            raise Failure(f"A copy of {file} cannot be made: {error.strerror}.") from None
    current_server().keys.forget()
    audit.record("portal.restored", subject=file.name)
    if as_json:
        print_json({"file": str(file), "rows": counts})
    else:
        click.echo(f"Restored {plural(sum(counts.values()), 'row')} from {file}.")
    note("Portals that run notice at their next request, and new signing keys within a minute.")
    try:
        for row in SigningKey.published():
            row.unlocked(key)
    except WrongSecretKey as error:
        note(f"Nobody can sign in yet: {error}")


@contextmanager
def _refusals(interrupted: str = "Interrupted: nothing was changed.") -> Iterator[None]:
    try:
        yield
    except (copying.CopyRefused, backups.BackupRefused) as error:
        raise BadInput(str(error)) from None
    except KeyboardInterrupt:
        raise Failure(interrupted) from None
    except sqlite3.Error as error:
        raise Failure(f"SQLite refused: {error}. Nothing was changed.") from None


@contextmanager
def _bar(title: str) -> Iterator[OnProgress]:
    """A progress bar on standard error; called with what is done and of how much."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _copy(one: Database, other: Database, on_progress: OnProgress) -> list[copying.Compared]:
    with copying.snapshot(one):
        total = sum(copying.count_rows(one, table) for table in TABLES)
        done = sum(copying.count_rows(other, table) for table in TABLES)

        def on_rows(count: int) -> None:
            nonlocal done
            done += count
            on_progress(done, total)

        copying.copy_rows(one, other, on_rows, places=True)
    # With the source as it is by now, so that later changes show.
    return copying.compare(one, other)


@contextmanager
def _setting_errors() -> Iterator[None]:
    try:
        yield
    except SettingError as error:
        text = str(error).removeprefix("DATABASE_URL: ").replace("DATABASE_URL", "An address", 1)
        raise BadInput(text) from None


@contextmanager
def _at(url: str, makes: bool = False) -> Iterator[Database]:
    with _setting_errors(), connected(url) as opened:
        try:
            if makes and isinstance(opened, Sqlite):
                opened.make_file()
            opened.connect()
        except (DatabaseError, InterfaceError) as error:
            reason = " ".join(str(error).split())
            raise Failure(f"{describe(url)} cannot be reached: {reason}") from None
        yield opened


def _name(url: str) -> str:
    """What tells one source from another when a copy goes on."""
    if url.startswith("sqlite:///"):
        return f"sqlite:///{Path(url.removeprefix('sqlite:///')).absolute()}"
    return describe(url)


def _report(compared: list[copying.Compared], seconds: float, as_json: bool) -> None:
    rows = sum(row.target for row in compared)
    if as_json:
        tables = {row.table: row._asdict() for row in compared}
        print_json({"rows": rows, "seconds": round(seconds, 1), "tables": tables})
        return
    shown = [
        (row.table, f"{row.source:,}", f"{row.target:,}", "yes" if row.same else "NO")
        for row in compared
    ]
    print_table(("Table", "Source", "Target", "Same"), shown)
    click.echo(f"{plural(rows, 'row')} in {seconds:.1f} seconds.")
