"""Fill a database with applications and access tokens as years of use would leave them.

Rows go straight into the tables; what they say depends on their number alone, so that every run
seeds the same.
"""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from peewee import SqliteDatabase
from rich.progress import Progress

from portal.clock import now, now_ms
from portal.credentials import ID_BITS, hash_secret
from portal.database import database
from portal.models import AccessToken, Application, ApplicationSecret, Trust, User
from portal.models.application import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN
from portal.models.concern import LONGEST_SECONDS, NEVER_USED_SECONDS, UNUSED
from portal.models.last_use import CROWD_SECONDS
from portal.models.trust import subject
from portal.models.usage import today
from portal.models.user import fold
from portal.trust import USUAL_SECONDS, end_of_day

OWNERS = 500
BATCH = 10_000
TOKEN_BATCH = 200_000
LIFETIME = 900
#: Of all tokens, how many have expired: what a sweep every few minutes finds.
EXPIRED = 0.1
#: So long ago the first token was made, in seconds.
SPAN = int(LIFETIME * (1 + EXPIRED))
YEAR_MS = 365 * 24 * 3600 * 1000
FIRST = "Acme Blue Northern Harbour City Green Silver Open Quick Daily Global Local".split()
SECOND = "Reports Wiki Mail Warehouse Payroll Tickets Calendar Insights Orders Backup Chat".split()


def client_id(number: int) -> str:
    digest = b64encode(sha256(str(number).encode()).digest(), altchars=b"xY")
    return f"c_{digest[:22].decode()}"


def client_secret(number: int) -> str:
    return f"pcs_{number:043d}"


def is_machine(number: int) -> bool:
    """Whether this application may ask for tokens on its own (and is not disabled)."""
    return number % 10 >= 3 and number % 200 != 3


def name_of(number: int) -> str:
    """Some words in thousands of names, a number in one, and three names like no other."""
    if number in (7, 77, 777):
        return f"Zephyr Observatory {number}"
    return f"{FIRST[number % len(FIRST)]} {SECOND[number // 7 % len(SECOND)]} {number}"


def seed(applications: int, tokens: int, progress: Progress) -> None:
    """Bring the open, migrated database to so many applications and tokens."""
    sqlite = isinstance(database.obj, SqliteDatabase)
    if sqlite:  # a seed that breaks is made anew
        database.execute_sql("PRAGMA synchronous = OFF")
    if not Application.select().exists():
        _people()
        _applications(applications, progress)
    missing = tokens - AccessToken.select().count()
    if missing > 0:
        _tokens(applications, missing, SPAN, progress)
    elif _expired() < tokens * EXPIRED / 2:
        # An earlier run deleted them, and what it issued in their place lives on.
        _tokens(applications, int(tokens * EXPIRED), SPAN - LIFETIME, progress)
    _use_lately()
    if sqlite:
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute_sql("PRAGMA synchronous = NORMAL")
    else:
        database.execute_sql("VACUUM ANALYZE")


def _expired() -> int:
    """How many there are: ids tell when each was made, so this reads no others."""
    first_that_lives = (now_ms() - LIFETIME * 1000) << ID_BITS
    return AccessToken.select().where(AccessToken.id < first_that_lives).count()


def _use_lately() -> None:
    """Note what the tokens say: each application that gets them has been used just now.

    So many tokens that live a quarter of an hour come to one for each application in two minutes;
    a use is noted when the last note is an hour old.
    """
    then = now() - _within(CROWD_SECONDS, Application.id)
    concerns = Application.concerns.bin_and(~UNUSED)
    days = {"public": today()}
    rows = Application.update(last_used_at=then, concerns=concerns, machine_days=days)
    rows.where(Application.confidential).execute()
    secret = ApplicationSecret
    then = now() - _within(CROWD_SECONDS, secret.id)
    secret.update(last_used_at=then, last_used_from="127.0.0.0/24").execute()


def _within(seconds: int, row_id: Any) -> Any:
    """What is left of the second of an id: Peewee's >> and % are IS and LIKE."""
    made = row_id / (1000 << ID_BITS)
    return made - made / seconds * seconds


def application_ids(applications: int) -> tuple[int, int]:
    """The first id, and how far the next one is: ids that sort by time, over a year."""
    first = Application.select(Application.id).order_by(Application.id).limit(1).scalar()
    return first, ((YEAR_MS // applications) << ID_BITS)


def _people() -> None:
    for number in range(OWNERS):
        User.register(
            f"owner{number}",
            f"owner{number}@example.org",
            name=f"Owner {number}",
            is_admin=not number,
        )


def _applications(applications: int, progress: Progress) -> None:
    owners = [row.id for row in User.select(User.id).order_by(User.id)]
    start, step = now_ms() - YEAR_MS, YEAR_MS // applications
    task = progress.add_task(f"{applications:,} applications", total=applications)
    for numbers in _batches(applications, BATCH):
        rows = [_application(n, (start + n * step) << ID_BITS, owners) for n in numbers]
        secrets = [
            (row[0], row[0], hash_secret(client_secret(n)), "pcs_0000", now(), "", "")
            for n, row in zip(numbers, rows, strict=True)
            if row[9]
        ]
        with database.atomic():
            _insert(Application, _COLUMNS, rows)
            _insert(ApplicationSecret, _SECRET_COLUMNS, secrets)
            _insert(Trust, _TRUST_COLUMNS, [_trust(row) for row in rows if row[_TRUSTED]])
        progress.update(task, advance=len(rows))


_COLUMNS = (
    "id client_id name name_key owner_id grants redirect_uris post_logout_redirect_uris scopes"
    " confidential require_pkce resource_server token_format id_token_alg subject_type resources"
    " backchannel_logout_uri trusted trust_reason disabled_at version epoch created_at updated_at"
    " last_used_at machine_days concerns look_again_at trust_ends_at trust_approved"
).split()
_TRUSTED = _COLUMNS.index("trusted")
_TRUST_COLUMNS = (
    "application_id approved_at approved_by approved_owner told_end asker_ids asked_by"
    " asked_subject refused_by note"
).split()
_SECRET_COLUMNS = "id application_id hash prefix created_at name last_used_from".split()


def _application(number: int, row_id: int, owners: list[int]) -> tuple:
    public, disabled = number % 10 < 3, number % 200 == 3
    grants = (AUTHORIZATION_CODE, REFRESH_TOKEN) if public else (CLIENT_CREDENTIALS,)
    name, at = name_of(number), (row_id >> ID_BITS) // 1000
    used = 0 if number % 5 < 2 else now() - number % 8_000_000
    unused = not used and at < now() - NEVER_USED_SECONDS and not disabled
    trusted, owner = number % 5000 == 1, owners[number % len(owners)]
    uri = f"https://app{number}.example.org/callback"
    scopes = "public profile email" if number % 50 else "public reports:read"
    return (
        row_id,
        client_id(number),
        name,
        fold(name),
        owner,
        " ".join(grants),
        uri,
        "",
        scopes,
        not public,
        True,
        False,
        "opaque",
        "RS256",
        "public",
        "",
        "",
        trusted,
        "Ours" if trusted else "",
        at if disabled else None,
        1,
        1,
        at,
        at,
        used,
        "",
        UNUSED if unused else 0,
        now() + number % LONGEST_SECONDS,
        end_of_day(at + USUAL_SECONDS) if trusted else None,
        subject([uri], scopes.split(), owner, not public) if trusted else "",
    )


def _trust(application: tuple) -> tuple:
    """Approved when it was added, by the only administrator there is."""
    it = dict(zip(_COLUMNS, application, strict=True))
    owner = f"owner{int(it['name'].rpartition(' ')[2]) % OWNERS}"
    return (it["id"], it["created_at"], "owner0, the only administrator", owner, 0, *[""] * 5)


def _insert(table: type, columns: list[str], rows: list[tuple]) -> None:
    name = table._meta.table_name  # type: ignore[attr-defined]
    raw = database.connection()
    if isinstance(database.obj, SqliteDatabase):
        marks = ", ".join("?" * len(columns))
        raw.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})", rows)
        return
    with raw.cursor().copy(f"COPY {name} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _tokens(applications: int, tokens: int, seconds: int, progress: Progress) -> None:
    """Made one after the other for so many seconds, beginning with what has expired."""
    first, step = application_ids(applications)
    span = seconds * 1000
    start = now_ms() - SPAN * 1000
    sqlite = isinstance(database.obj, SqliteDatabase)
    series = (
        "WITH RECURSIVE s(n) AS (SELECT {} UNION ALL SELECT n + 1 FROM s WHERE n < {} - 1)"
        if sqlite
        else "WITH s AS (SELECT n::bigint FROM generate_series({}, {} - 1) AS n)"
    )
    blob = "randomblob(32)" if sqlite else "sha256(int8send(n))"
    # The id within a millisecond counts on; Knuth's multiplier spreads over the applications.
    made = f"({start} + n * {span} / {tokens})"
    row_id = f"(({made} << {ID_BITS}) + n % {1 << ID_BITS})"
    task = progress.add_task(f"{tokens:,} access tokens", total=tokens)
    for numbers in _batches(tokens, TOKEN_BATCH):
        with database.atomic():
            database.connection().execute(
                "INSERT INTO access_token (id, hash, application_id, epoch, scopes, resources,"
                f" created_at, expires_at) {series.format(numbers.start, numbers.stop)}"
                f" SELECT {row_id}, {blob}, {first} + n * 7919 % {applications} * {step}, 1,"
                f" 'public', '', {made} / 1000, {made} / 1000 + {LIFETIME} FROM s"
                " WHERE true ON CONFLICT DO NOTHING"  # another run may have made the same id
            )
        progress.update(task, advance=len(numbers))


def _batches(total: int, size: int) -> Iterator[range]:
    return (range(start, min(start + size, total)) for start in range(0, total, size))
