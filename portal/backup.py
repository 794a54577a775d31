"""Backups: the whole portal in one SQLite file, whichever engine serves; and back again."""

import os
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from peewee import Database, DatabaseError

from portal import copying
from portal.database import Sqlite, connected, is_missing, migrate, newer_migrations
from portal.disk import settle
from portal.letters import MOST_REPEATED, printable
from portal.models import TABLES, Application, SigningKey
from portal.models.signing_key import WrongSecretKey

#: Pages a step, for the progress bar; the snapshot is one whatever the steps.
PAGES = 4096
#: Restored applications get a version that no running process can have in memory.
LOWEST_VERSION, VERSIONS = 2**20, 2**30

#: What SQLite says of a file that is no database, or a damaged one.
NO_DATABASE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}

#: What is told as the work goes on: how much is done, and of how much.
OnProgress = Callable[[int, int], None]


class BackupRefused(Exception):
    """It cannot be done as asked: one line that says what to change."""


def write_backup(source: Database, path: Path, on_progress: OnProgress) -> dict[str, int]:
    """Write a consistent copy of the portal to `path` (mode 600), at once; rows of each table.

    The portal may serve meanwhile. OSError and sqlite3.Error when the file cannot be written.
    """
    with _file_beside(path) as made:
        if isinstance(source, Sqlite):
            with copying.snapshot(source), closing(sqlite3.connect(made)) as file:
                _copy_pages(source.connection(), file, on_progress)
        else:
            _export(source, made, on_progress)
        with _opened(made) as file:
            see_undamaged(file, "The database", "restore an earlier backup")
            counts = _counted(file)
        made.replace(path)
    return counts


def restore_backup(
    path: Path, target: Database, encryption_key: bytes, force: bool, on_progress: OnProgress
) -> dict[str, int]:
    """Put the portal in the file in the place of what `target` holds, all or nothing.

    Works on a copy of the file in TMPDIR; OSError when there is no such folder. Raises
    BackupRefused; with `force` it replaces a portal that is used, and takes a backup that another
    secret key belongs to.
    """
    with tempfile.TemporaryDirectory(prefix="portal-restore-") as folder:
        made = Path(folder) / "portal.db"
        _copy_file(path, made)
        with _opened(made) as file:
            see_undamaged(file, str(path), "use another backup")
            _check_release(file, path)
            if not force and not is_missing(target) and copying.is_used(target):
                raise BackupRefused(
                    "The database is not empty: make a backup of it, then use --force to replace"
                    " what it holds."
                )
            migrate(file)
            if not force and not _belongs(file, encryption_key):
                raise BackupRefused(
                    "The backup belongs to another PORTAL_SECRET_KEY: set that one, or use --force"
                    " and make new signing keys with flask --app wsgi keys rotate all --now."
                )
            _renew_versions(file)
            counts = _counted(file)
            if isinstance(target, Sqlite):
                target.make_file()
                # Through SQLite, not over its file: other processes have that open.
                _copy_pages(file.connection(), target.connection(), on_progress)
                settle(target.disk)
            else:
                _import(file, target, sum(counts.values()), on_progress)
    return counts


def _export(source: Database, made: Path, on_progress: OnProgress) -> None:
    with _opened(made) as file, copying.snapshot(source):
        migrate(file)
        with file.atomic():
            _copy_all(source, file, on_progress)


def _import(file: Database, target: Database, total: int, on_progress: OnProgress) -> None:
    migrate(target)
    with target.atomic():
        copying.clear(target)  # takes locks: requests wait until all is there
        copying.end(target)  # one into this database, which is over now
        _copy_all(file, target, on_progress, total)


def _copy_all(source: Database, target: Database, on_progress: OnProgress, total: int = 0) -> None:
    total = total or sum(copying.count_rows(source, table) for table in TABLES)
    done = 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        on_progress(done, total)

    copying.copy_rows(source, target, on_rows)
    if wrong := [row.table for row in copying.compare(source, target) if not row.same]:
        raise BackupRefused(f"What arrived is not what was sent: {', '.join(wrong)}.")


def _copy_pages(
    source: sqlite3.Connection, target: sqlite3.Connection, on_progress: OnProgress
) -> None:
    def tell(_status: int, remaining: int, total: int) -> None:
        on_progress(total - remaining, total)

    source.backup(target, pages=PAGES, progress=tell, sleep=0.01)


@contextmanager
def _file_beside(path: Path) -> Iterator[Path]:
    """An empty file (mode 600) in the same folder, for `replace`; gone if something fails."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        for ending in ("", "-journal", "-wal", "-shm"):
            Path(name + ending).unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    """The file as a database; a single file again, on the disk, when the block ends."""
    try:
        with connected(f"sqlite:///{path}") as database:
            yield database
            database.execute_sql("PRAGMA synchronous = FULL")
            database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute_sql("PRAGMA journal_mode = DELETE")
    finally:
        Path(f"{path}.migrate").unlink(missing_ok=True)


def _copy_file(path: Path, made: Path) -> None:
    """Copy a backup, and see that it is one; what comes later changes the copy alone."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise BackupRefused(f"{path} is no ordinary file: copy it into one first.")
        with path.open("rb") as file:
            begins = file.read(16)
    except OSError as error:
        raise BackupRefused(f"{path} cannot be read: {error.strerror}.") from None
    try:
        made.touch(0o600)
        with (
            closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as file,
            closing(sqlite3.connect(made)) as copy,
        ):
            file.backup(copy)
            copy.text_factory = bytes  # damage is not always UTF-8
            tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master")}
    except UnicodeDecodeError:  # not even its schema is
        tables = set()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) not in NO_DATABASE:
            raise BackupRefused(
                f"{path} cannot be copied to {made.parent.parent} ({error}): set TMPDIR to a folder"
                " with room for it."
            ) from None
        tables = set()
    if begins != b"SQLite format 3\0" or not {b"schema_migration", b"user_account"} <= tables:
        raise BackupRefused(f"{path} is not a backup of Portal, or it is damaged.")


def _check_release(file: Database, path: Path) -> None:
    if newer := newer_migrations(file):
        raise BackupRefused(
            f"{path} was made by a newer release of Portal ({newer[-1]}): use that release."
        )


def _belongs(file: Database, encryption_key: bytes) -> bool:
    """Whether the signing keys in the backup can be used with this portal's secret key."""
    with SigningKey.bind_ctx(file):
        try:
            for key in SigningKey.select():
                key.unlocked(encryption_key)
        except WrongSecretKey:
            return False
    return True


def _renew_versions(file: Database) -> None:
    with Application.bind_ctx(file):
        version = LOWEST_VERSION + secrets.randbelow(VERSIONS - LOWEST_VERSION)
        Application.update(version=version).execute()


def see_undamaged(file: Database, what: str, remedy: str, pragma: str = "integrity_check") -> None:
    """Let SQLite look at every page; BackupRefused with the remedy when one is damaged."""
    try:
        found = [line for (line,) in file.execute_sql(f"PRAGMA {pragma}").fetchall()]
    except (DatabaseError, sqlite3.Error, UnicodeDecodeError) as error:
        found = [str(error)]
    if found != ["ok"]:
        reason = printable(" ".join(found[0].split()), MOST_REPEATED)
        raise BackupRefused(f"{what} is damaged ({reason}): {remedy}.")


def _counted(file: Database) -> dict[str, int]:
    """The rows of each table."""
    # A backup from before an upgrade may lack a table.
    here = set(file.get_tables())
    tables = [table for table in TABLES if table._meta.table_name in here]
    return {table._meta.table_name: copying.count_rows(file, table) for table in tables}
