"""What `doctor` looks at on this machine: files, database, keys, people, clock, disk, mail."""

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from peewee import DatabaseError, InterfaceError, SqliteDatabase

from portal import mail
from portal.cli.command import upgrade_needed
from portal.clock import now, now_ms
from portal.copying import HalfCopied, see_whole
from portal.credentials import ID_BITS
from portal.database import database, describe, is_missing, on_sqlite, pending_migrations
from portal.htmx import LOCAL_FILE
from portal.models import AccessToken, SigningKey, User
from portal.models.signing_key import WrongSecretKey
from portal.oauth import current_server
from portal.settings import Settings

DAY = 24 * 60 * 60
GIB = 1024**3
#: Reading a larger file from end to end takes too long for a look.
MOST_CHECKED_BYTES = 2 * GIB
LEAST_FREE_BYTES = GIB // 2
CLOCK_SECONDS = 5
#: SQLite's locks do not hold on these (sqlite.org/useovernet.html).
NETWORK_FILESYSTEMS = {
    "9p",
    "afs",
    "ceph",
    "cifs",
    "fuse.ceph",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
}


class Finding(NamedTuple):
    """One line of `doctor`: a problem says what to change."""

    subject: str
    is_problem: bool
    text: str


def good(subject: str, text: str) -> Finding:
    return Finding(subject, False, text)


def bad(subject: str, text: str) -> Finding:
    return Finding(subject, True, text)


def look(settings: Settings) -> Iterator[Finding]:
    """Everything that can be seen from here, one finding after the other."""
    yield good("settings", f"read; the public address is {settings.issuer}")
    yield from _files(settings)
    yield _disk(settings)
    try:
        yield _schema(settings)
        if not is_missing():
            yield from _database()
            yield _keys()
            yield _administrator()
            yield _sweep(settings)
    except (DatabaseError, InterfaceError) as error:
        reason = " ".join(str(error).split())
        yield bad(
            "database",
            f"{describe(settings.database_url)} does not answer as it should:"
            f" {reason}. Check DATABASE_URL and that it runs.",
        )
    yield _htmx(settings)
    yield _mail(settings)


def _files(settings: Settings) -> Iterator[Finding]:
    paths = [settings.instance / "secret_key"]
    for name in (f.metadata["env"] for f in fields(settings) if f.metadata.get("secret")):
        paths += [Path(os.environ[f"{name}_FILE"])] if os.environ.get(f"{name}_FILE") else []
    if sqlite := _sqlite_path(settings):
        paths += [sqlite, sqlite.with_name(f"{sqlite.name}-wal")]
    open_ones = [str(path) for path in paths if _others_may_read(path)]
    if open_ones:
        names = " ".join(open_ones)
        yield bad("files", f"every user of this machine may read {names}: chmod 600 {names}")
    else:
        yield good("files", "secrets and database are closed to other users")
    if sqlite and (kind := filesystem_of(sqlite.resolve())) in NETWORK_FILESYSTEMS:
        yield bad(
            "files",
            f"{sqlite} is on a network filesystem ({kind}), whose locks SQLite cannot trust: move"
            " it to a local disk, or use PostgreSQL",
        )


def _sqlite_path(settings: Settings) -> Path | None:
    if not settings.database_url.startswith("sqlite:"):
        return None
    return Path(settings.database_url.removeprefix("sqlite:///"))


def _others_may_read(path: Path) -> bool:
    """Whether an ordinary user reaches the file: its own mode, and that of all folders above."""
    try:
        if not path.stat().st_mode & stat.S_IROTH:
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
    except OSError:  # it is not there, or not for us
        return False


def filesystem_of(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The kind of filesystem that holds a path; None where that cannot be known."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return None
    # A later mount covers an earlier one at the same place.
    found = [
        (len(at), order, kind)
        for order, (_, at, kind, *_) in enumerate(lines)
        if path.is_relative_to(at.replace("\\040", " "))
    ]
    return max(found)[2] if found else None


def _disk(settings: Settings) -> Finding:
    folder = (_sqlite_path(settings) or settings.instance / "x").absolute().parent
    while not folder.exists():  # nothing is kept in instance/ when all secrets are elsewhere
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / GIB:.1f} GiB free in {folder}"
    if free < LEAST_FREE_BYTES:
        return bad("disk", f"only {text}: the portal stops issuing when it is full; make room")
    return good("disk", text)


def _schema(settings: Settings) -> Finding:
    where = describe(settings.database_url)
    if is_missing():
        return bad("database", str(upgrade_needed()))
    try:
        see_whole(database.obj)
    except HalfCopied as half:
        return bad("database", str(half))
    if pending := pending_migrations():
        return bad(
            "database",
            f"{where} lacks {', '.join(pending)}: run flask --app wsgi db upgrade",
        )
    if not database.is_writable():
        remedy = (
            "let the portal's user write to that file and its folder, on a disk that is not mounted"
            " to be read only"
            if on_sqlite()
            else "give the primary server, where default_transaction_read_only is off"
        )
        return bad("database", f"{where} can only be read, so nobody gets a token: {remedy}")
    return good("database", f"{where} answers and has the schema of this release")


def _database() -> Iterator[Finding]:
    if not isinstance(database.obj, SqliteDatabase):
        query = "SELECT extract(epoch FROM clock_timestamp())"
        ahead = round(float(database.execute_sql(query).fetchone()[0]) - now_ms() / 1000)
        if abs(ahead) > CLOCK_SECONDS:
            yield bad(
                "clock",
                f"the database's clock differs by {ahead} seconds from this"
                " machine's: switch on time synchronisation (NTP) on both",
            )
        else:
            yield good("clock", "this machine and the database agree")
        return
    pages, size = (
        database.execute_sql(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    if pages * size > MOST_CHECKED_BYTES:
        yield good("integrity", f"not checked: {pages * size / GIB:.0f} GiB take long to read")
        return
    verdict = database.execute_sql("PRAGMA quick_check(1)").fetchone()[0]
    if verdict == "ok":
        yield good("integrity", "SQLite finds no damage")
    else:
        yield bad(
            "integrity",
            f"the file is damaged ({' '.join(verdict.split())}): stop the"
            " portal and restore a backup",
        )


def _keys() -> Finding:
    encryption_key = current_server().keys.encryption_key
    rows = SigningKey.published()
    if not rows:
        return bad("signing keys", "there are none: run flask --app wsgi db upgrade")
    try:
        for row in rows:
            row.unlocked(encryption_key)
    except WrongSecretKey as error:
        return bad("signing keys", str(error))
    return good("signing keys", "they open with this PORTAL_SECRET_KEY")


def _administrator() -> Finding:
    administrators = User.select().where(User.is_admin, User.disabled_at.is_null())
    count = administrators.where(User.password_hash.is_null(False)).count()
    if count:
        return good("administrator", f"{count} can sign in")
    waiting = administrators.order_by(User.id).first()
    command = f"user reset-link {waiting.username}" if waiting else "setup-link"
    why = f": {waiting.username} has chosen no password yet" if waiting else ""
    return bad(
        "administrator",
        f"nobody can administer the portal{why}: flask --app wsgi {command} prints a link",
    )


def _sweep(settings: Settings) -> Finding:
    """By what lies about: it does not matter who sweeps."""
    long_gone = now() - DAY
    made_before = (long_gone - settings.access_token_seconds) * 1000 << ID_BITS
    left = AccessToken.select().where(
        AccessToken.id < made_before, AccessToken.expires_at < long_gone
    )
    if left.limit(1).exists():
        return bad(
            "sweep",
            "tokens that expired more than a day ago are still there: serve deletes them by itself"
            " unless PORTAL_SWEEP_SECONDS=0; otherwise let a timer run flask --app wsgi cleanup",
        )
    return good("sweep", "what has expired is gone")


def _htmx(settings: Settings) -> Finding:
    path = settings.instance / "assets" / LOCAL_FILE
    if settings.htmx == "local" and not path.is_file():
        return bad(
            "htmx",
            f"PORTAL_HTMX is local but {path} is not there: run flask --app wsgi assets fetch",
        )
    return good("htmx", f"PORTAL_HTMX is {settings.htmx}")


def _mail(settings: Settings) -> Finding:
    if not settings.sends_mail:
        return good("mail", "none is sent: PORTAL_SMTP_URL is not set")
    if reason := mail.trouble(settings):
        return bad("mail", f"the mail server cannot be used ({reason}): check PORTAL_SMTP_URL")
    return good("mail", "the mail server takes our sign-in")
