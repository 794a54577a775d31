"""Move a portal to another database, back it up, bring it back: nothing lost, nothing doubled."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from peewee import AutoField, CompositeKey

from portal import copying
from portal.credentials import new_id
from portal.database import connect, connected, database, migrate
from portal.models import TABLES, AccessToken, Application, Refusal, Scope, SigningKey, User
from tests.conftest import SECRET_KEY
from tests.engines import on_both_engines
from tests.factories import make_application, make_full_person, make_scope
from tests.flows import RelyingApp

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    make_scope("reports:read", sensitive=True)
    application, secret = make_application(
        alice,
        grants=["authorization_code", "client_credentials", "refresh_token"],
        scopes=["openid", "profile", "reports:read"],
    )
    return RelyingApp(app.test_client(), application, secret)


@pytest.fixture
def lived_in(rp, browser_of) -> RelyingApp:
    """A portal in which most tables hold something."""
    rp.sign_in(browser_of(make_full_person("bob")))
    assert rp.token("client_credentials", scope="reports:read").status_code == 200
    assert rp.token("client_credentials", scope="wrong").status_code == 400
    return rp


@pytest.fixture
def elsewhere(request, tmp_path) -> str:
    """The address of an empty database of each engine."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres").create("elsewhere")
    return f"sqlite:///{tmp_path}/elsewhere/portal.db"


to_both_engines = pytest.mark.parametrize(
    "elsewhere",
    ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
    indirect=True,
)


def content(url: str) -> dict[str, list[tuple]]:
    """Every row of every table, read the way the models read it."""
    opened = connect(url)
    found = {}
    for table in TABLES:
        with table.bind_ctx(opened):
            rows = list(table.select().order_by(table._meta.primary_key).tuples())
        found[table._meta.table_name] = [
            tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in rows
        ]
    opened.close()
    if hasattr(opened, "close_idle"):
        opened.close_idle()
    return found


def test_no_table_numbers_its_rows_by_itself():
    """Copied rows keep their keys: a sequence would go on from one, and a key has one column."""
    for table in TABLES:
        assert not isinstance(table._meta.primary_key, AutoField | CompositeKey), table


# db copy


@on_both_engines
@to_both_engines
def test_a_copy_holds_the_same_rows_of_the_same_kinds(lived_in, flask, settings, elsewhere):
    answer = flask("db", "copy", settings.database_url, elsewhere, "--json")
    assert "DATABASE_URL" in answer.err
    assert "PORTAL_SECRET_KEY" in answer.err
    told = answer.json
    before, after = content(settings.database_url), content(elsewhere)
    assert after == before
    assert min(len(before[name]) for name in ("application", "access_token", "token_family"))
    assert told["rows"] == sum(map(len, before.values()))
    assert all(table["same"] for table in told["tables"].values())


@pytest.mark.postgres
def test_the_copy_serves(lived_in, flask, settings, postgres, tmp_path):
    """A signed-in person stays so, tokens live, and a new one is issued, on the other engine."""
    token = lived_in.token("client_credentials").get_json()["access_token"]
    url = postgres.create("elsewhere")
    assert flask("db", "copy", settings.database_url, url).code == 0
    program = (
        "import sys, json\n"
        "from types import SimpleNamespace\n"
        "from portal import create_app\n"
        "from tests.flows import RelyingApp\n"
        "rp = RelyingApp(create_app().test_client(), SimpleNamespace(client_id=sys.argv[1]),"
        " sys.argv[2])\n"
        "print(json.dumps([rp.is_active(sys.argv[3]), rp.token('client_credentials').status_code]))"
    )
    done = run(url, "-c", program, lived_in.client_id, lived_in.secret, token)
    assert json.loads(done.stdout) == [True, 200], done.stderr


@pytest.mark.postgres
def test_a_nul_character_that_postgresql_refuses_becomes_a_question_mark(
    lived_in, flask, settings, postgres
):
    Refusal.update(detail="a\0b").execute()
    url = postgres.create("elsewhere")
    assert flask("db", "copy", settings.database_url, url).code == 0
    assert postgres.execute("SELECT detail FROM refusal", "elsewhere") == [("a?b",)]


@pytest.mark.postgres
def test_a_killed_copy_goes_on_where_it_stopped(app, flask, settings, postgres):
    application, _ = make_application()
    count, first = 300_000, new_id()
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as raw:
        raw.executemany(
            "INSERT INTO access_token (id, hash, application_id, epoch, scopes, resources,"
            " created_at, expires_at) VALUES (?, x'00ff', ?, 1, 'public', '', 1, 2)",
            ((first + number, application.id) for number in range(count)),
        )
        raw.commit()
    url = postgres.create("elsewhere")
    copying = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", "db", "copy", settings.database_url, url],
        cwd=ROOT,
        env=environ(settings.database_url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    arrived = 0
    while not arrived and copying.poll() is None:
        time.sleep(0.02)
        if postgres.execute("SELECT to_regclass('access_token')", "elsewhere")[0][0]:
            arrived = rows(postgres)
    copying.send_signal(signal.SIGKILL)
    copying.wait()
    arrived = rows(postgres)
    assert 0 < arrived < count
    assert "--restart" in flask("db", "copy", other_portal(settings), url).complaint
    told = flask("db", "copy", settings.database_url, url, "--json").json
    assert told["tables"]["access_token"] == {
        "table": "access_token",
        "source": count,
        "target": count,
        "same": True,
    }
    assert rows(postgres) == count
    assert postgres.execute("SELECT to_regclass('copy_place')", "elsewhere") == [(None,)]


def rows(postgres) -> int:
    return postgres.execute("SELECT count(*) FROM access_token", "elsewhere")[0][0]


def other_portal(settings) -> str:
    url = settings.database_url.replace("portal.db", "other.db")
    opened = connect(url)
    migrate(opened)
    opened.close()
    return url


def test_a_target_that_was_used_before_the_copy_was_whole(lived_in, flask, settings, tmp_path):
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    assert flask("db", "copy", settings.database_url, url).code == 0
    with closing(sqlite3.connect(tmp_path / "elsewhere.db")) as raw:
        # As if it had been killed early, and others had written the rows that are there.
        raw.execute("CREATE TABLE copy_place (table_name TEXT PRIMARY KEY, last_key, source)")
        place = [(table._meta.table_name, settings.database_url) for table in TABLES]
        raw.executemany("INSERT INTO copy_place VALUES (?, NULL, ?)", place)
        raw.commit()
    served = run(url, "-m", "flask", "--app", "wsgi", "serve", "--port", "1")
    assert served.returncode == 1
    assert "holds only a part of" in served.stderr
    before = (tmp_path / "elsewhere.db").read_bytes()
    for command in (
        ["backup", str(tmp_path / "half.db")],
        ["doctor"],
        ["user", "create", "eve", "--email", "eve@example.org"],
        ["keys", "rotate", "all"],
        ["keys", "rotate", "all", "--now"],
        ["demo"],
        ["db", "upgrade"],
        ["cleanup"],
        ["serve", "--demo", "--port", "1"],
    ):
        done = run(url, "-m", "flask", "--app", "wsgi", *command)
        assert done.returncode
        assert "holds only a part of" in done.stdout + done.stderr, (command, done.stderr)
    assert (tmp_path / "elsewhere.db").read_bytes() == before
    assert not (tmp_path / "half.db").exists()
    assert "--restart" in flask("db", "copy", settings.database_url, url).complaint
    assert flask("db", "copy", settings.database_url, url, "--restart").code == 0


def test_what_was_written_meanwhile_is_noticed(lived_in, flask, settings, tmp_path):
    """The copy that an interruption left is behind its source: it says so and begins anew."""
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    assert flask("db", "copy", settings.database_url, url).code == 0
    with closing(sqlite3.connect(tmp_path / "elsewhere.db")) as raw:
        # As if it had been killed just before its end.
        raw.execute("CREATE TABLE copy_place (table_name TEXT PRIMARY KEY, last_key, source)")
        for table in TABLES:
            name, key = table._meta.table_name, table._meta.primary_key.column_name
            last = f"CASE typeof({key}) WHEN 'blob' THEN hex({key}) ELSE {key} END"
            raw.execute(
                "INSERT INTO copy_place VALUES"
                f" (?, (SELECT {last} FROM {name} ORDER BY {key} DESC), ?)",
                (name, settings.database_url),
            )
        raw.commit()
    User.update(is_admin=True).where(User.username == "bob").execute()
    answer = flask("db", "copy", settings.database_url, url)
    assert answer.code == 1
    assert "(user_account)" in answer.err
    assert "--restart" in answer.err
    assert flask("db", "copy", settings.database_url, url, "--restart").code == 0
    assert content(url) == content(settings.database_url)


def test_the_database_that_a_copy_cannot_reach_is_named(lived_in, flask, settings):
    pytest.importorskip("psycopg")
    answer = flask("db", "copy", settings.database_url, "postgresql://portal:hush@127.0.0.1:1/new")
    assert answer.code == 1
    assert "postgresql://127.0.0.1:1/new cannot be reached" in answer.err
    assert "hush" not in answer.err


def test_an_address_with_a_password_that_is_not_escaped_is_refused(lived_in, flask, settings):
    answer = flask("db", "copy", settings.database_url, "postgresql://portal:hu/sh@host/new")
    assert answer.code == 2
    assert "%2F" in answer.complaint
    assert "sh@" not in answer.err


def test_a_target_that_was_only_upgraded_counts_as_empty(lived_in, flask, settings, tmp_path):
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    assert run(url, "-m", "flask", "--app", "wsgi", "db", "upgrade").returncode == 0
    assert flask("db", "copy", settings.database_url, url).code == 0
    assert content(url) == content(settings.database_url)


def test_a_target_that_is_used_is_left_alone(lived_in, flask, settings, tmp_path):
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    assert flask("db", "copy", settings.database_url, url).code == 0
    again = flask("db", "copy", settings.database_url, url)
    assert again.complaint == "The target holds something already: give an empty database."
    with closing(sqlite3.connect(tmp_path / "poems.db")) as raw:
        raw.execute("CREATE TABLE poem (text TEXT)")
    assert flask("db", "copy", settings.database_url, f"sqlite:///{tmp_path}/poems.db").complaint
    with closing(sqlite3.connect(tmp_path / "poems.db")) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("poem",)]


@pytest.mark.parametrize(
    ("source", "target", "complaint"),
    [
        ("sqlite:///{here}/none.db", "sqlite:///{here}/new.db", "There is no file"),
        ("{url}", "{url}", "the same database"),
        ("mysql://h/x", "{url}", "An address must start with sqlite:/// or postgresql://"),
        ("{url}", "postgresql://h/x?pool=none", "pool must be"),
    ],
)
def test_addresses_that_cannot_be(flask, settings, tmp_path, source, target, complaint):
    names = {"here": tmp_path, "url": settings.database_url}
    answer = flask("db", "copy", source.format(**names), target.format(**names))
    assert complaint in answer.complaint
    assert not (tmp_path / "none.db").exists()


# backup and restore


@on_both_engines
@to_both_engines
def test_a_backup_of_either_engine_restores_into_either(
    lived_in, flask, settings, elsewhere, tmp_path
):
    file = tmp_path / "kept.db"
    answer = flask("backup", str(file), "--json")
    assert "PORTAL_SECRET_KEY" in answer.err
    before = content(settings.database_url)
    assert answer.json["rows"] == {name: len(found) for name, found in before.items()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "kept" in path.name] == ["kept.db"]
    done = run(elsewhere, "-m", "flask", "--app", "wsgi", "restore", str(file))
    assert done.returncode == 0, done.stderr
    after = content(elsewhere)
    version = [field.name for field in Application._meta.sorted_fields].index("version")
    for found in (before, after):
        found["application"] = [row[:version] + row[version + 1 :] for row in found["application"]]
    # The restore itself is told, and nothing else differs.
    assert after["audit_event"].pop()[2] == "portal.restored"
    assert after == before
    checked = run(elsewhere, "-m", "flask", "--app", "wsgi", "audit", "verify")
    assert checked.returncode == 0, checked.stderr


@on_both_engines
def test_restoring_takes_back_what_happened_since_and_running_portals_notice(
    lived_in, flask, tmp_path
):
    file = str(tmp_path / "kept.db")
    application = Application.get()
    assert flask("backup", file).code == 0
    later = lived_in.token("client_credentials").get_json()["access_token"]
    # This process has the next version in memory, with the scope still there.
    application.change(name="Second")
    assert lived_in.token("client_credentials", scope="reports:read").status_code == 200
    assert flask("restore", file).complaint.startswith("The database is not empty")
    assert flask("restore", file, "--force").code == 0
    assert Application.get().name == "Acme Reports"
    assert lived_in.token("client_credentials").status_code == 200
    assert not lived_in.is_active(later)
    # What comes after is another second version: it is not mistaken for the one in memory.
    Application.get().change(scopes=["openid"])
    refused = lived_in.token("client_credentials", scope="reports:read")
    assert refused.get_json()["error"] == "invalid_scope"


@to_both_engines
def test_a_restore_takes_the_place_of_a_copy_that_was_not_finished(
    lived_in, flask, settings, elsewhere, tmp_path
):
    assert flask("db", "copy", settings.database_url, elsewhere).code == 0
    with connected(elsewhere) as target, copying.CopyPlace.bind_ctx(target):
        copying.CopyPlace.create_table()
        copying.CopyPlace.insert(table_name="user_account", source="another").execute()
    assert flask("backup", str(tmp_path / "kept.db")).code == 0
    program = ["-m", "flask", "--app", "wsgi"]
    refused = run(elsewhere, *program, "user", "disable", "bob")
    assert "holds only a part of another" in refused.stderr
    done = run(elsewhere, *program, "restore", str(tmp_path / "kept.db"), "--force")
    assert done.returncode == 0, done.stderr
    assert (
        run(elsewhere, *program, "user", "create", "eve", "--email", "e@e.example").returncode == 0
    )


@on_both_engines
def test_requests_go_on_while_the_portal_is_backed_up_and_restored(lived_in, flask, tmp_path):
    file, stop, seen = str(tmp_path / "kept.db"), threading.Event(), []

    def load() -> None:
        try:
            while not stop.is_set():
                seen.append(lived_in.token("client_credentials").status_code)
        finally:
            database.close()

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.2)
        answers = [flask("backup", file), flask("restore", file, "--force")]
        time.sleep(0.2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [answer.code for answer in answers] == [0, 0], answers
    assert set(seen) == {200}
    with closing(sqlite3.connect(file)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = raw.execute("SELECT count(*) FROM access_token").fetchone()[0]
    assert 0 < kept < len(seen) + 2
    assert AccessToken.select().count() > kept


def test_a_backup_replaces_nothing_unless_told_to(lived_in, flask, tmp_path):
    file = tmp_path / "kept.db"
    file.write_text("precious")
    assert "is there already" in flask("backup", str(file)).complaint
    assert file.read_text() == "precious"
    assert flask("backup", str(file), "--force").code == 0
    assert "folder" in flask("backup", str(tmp_path / "none" / "kept.db")).complaint
    unwritable = flask("backup", str(tmp_path / ("x" * 300)))
    assert unwritable.code == 1
    assert "cannot be written: File name too long." in unwritable.err


def test_a_backup_never_replaces_the_database_that_it_is_of(lived_in, flask, settings):
    own = settings.database_url.removeprefix("sqlite:///")
    assert "own database" in flask("backup", own, "--force").complaint
    assert flask("user", "list").code == 0


def test_a_file_that_is_no_backup_is_refused(lived_in, flask, tmp_path):
    file = tmp_path / "kept.db"
    assert "cannot be read" in flask("restore", str(file), "--force").complaint
    file.write_text("not a database")
    assert "is not a backup" in flask("restore", str(file), "--force").complaint
    assert flask("backup", str(file), "--force").code == 0
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    answer = flask("restore", str(file), "--force")
    assert answer.code != 0
    assert answer.err.count("\n") == 1
    assert User.named("bob")


def test_a_backup_with_damaged_pages_is_named(lived_in, flask, tmp_path):
    file = tmp_path / "kept.db"
    assert flask("backup", str(file)).code == 0
    with file.open("r+b") as raw:
        raw.seek(4096 * 5)
        raw.write(b"\xff" * 40_000)
    told = flask("restore", str(file), "--force").complaint
    assert told.startswith(f"{file} is damaged (")
    assert "use another backup" in told
    assert flask("user", "list").code == 0


@pytest.mark.parametrize("damage", ["schema", "pages"])
def test_damage_is_said_in_a_line_before_anything_is_written(lived_in, flask, tmp_path, damage):
    file, url = tmp_path / "kept.db", f"sqlite:///{tmp_path}/elsewhere.db"
    assert flask("backup", str(file)).code == 0
    whole = file.read_bytes()
    if damage == "schema":
        file.write_bytes(whole.replace(b"CREATE TABLE", b"CREATE \xff\xfe\xfdLE"))
    else:
        file.write_bytes(whole[: 4096 * 5] + b"\xff" * 40_000 + whole[4096 * 5 + 40_000 :])
    told = flask("restore", str(file), "--force").complaint
    assert str(file) in told
    assert "damaged" in told
    answer = flask("db", "copy", f"sqlite:///{file}", url)
    assert answer.code
    assert "damaged" in answer.err
    assert answer.err.count("\n") == 1
    with closing(sqlite3.connect(tmp_path / "elsewhere.db")) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_backup_is_an_ordinary_file(lived_in, flask, tmp_path, kind):
    """`--force` must not put a file in the place of a device or a link."""
    file, target = tmp_path / "odd", tmp_path / "precious"
    target.write_text("precious")
    if kind == "link":
        file.symlink_to(target)
    else:
        os.mkfifo(file)
        assert "no ordinary file" in flask("restore", str(file), "--force").complaint
    assert "no ordinary file" in flask("backup", str(file), "--force").complaint
    assert file.is_symlink() or file.is_fifo()
    assert target.read_text() == "precious"


def test_a_backup_of_a_newer_release_is_refused_and_one_of_an_older_is_migrated(
    lived_in, flask, settings, tmp_path
):
    file = tmp_path / "kept.db"
    assert flask("backup", str(file)).code == 0
    with closing(sqlite3.connect(file)) as raw:
        raw.execute(
            "INSERT INTO schema_migration (name, applied) VALUES ('9999_later', '2040-01-01')"
        )
        raw.commit()
    assert "newer release" in flask("restore", str(file), "--force").complaint
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("DELETE FROM schema_migration WHERE name IN ('0003_email_link', '9999_later')")
        raw.execute("ALTER TABLE user_account DROP COLUMN email_link")
        raw.commit()
    User.update(name="Changed").execute()
    assert flask("restore", str(file), "--force").code == 0
    assert {user.name for user in User.select()} == {"Alice", "Bob"}
    assert Scope.select().count() == 8


def test_a_backup_that_cannot_be_copied_is_not_called_damaged(lived_in, flask, settings, tmp_path):
    file = tmp_path / "kept.db"
    assert flask("backup", str(file)).code == 0
    line = f"ulimit -f 100; {sys.executable} -m flask --app wsgi restore {file} --force"
    full = subprocess.run(
        ["sh", "-c", line],
        cwd=ROOT,
        env=environ(settings.database_url, SECRET_KEY),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert full.returncode == 2
    assert full.stderr.count("\n") == 1
    assert "TMPDIR" in full.stderr


def test_a_backup_that_another_secret_key_belongs_to_is_refused(lived_in, settings, tmp_path):
    file = tmp_path / "kept.db"
    flask = ("-m", "flask", "--app", "wsgi")
    assert run(settings.database_url, *flask, "backup", str(file)).returncode == 0
    other = f"sqlite:///{tmp_path}/other.db"
    answer = run(other, *flask, "restore", str(file), key="o" * 40)
    assert answer.returncode == 2
    assert "another PORTAL_SECRET_KEY" in answer.stderr
    assert run(other, *flask, "restore", str(file)).returncode == 0
    forced = run(other, *flask, "restore", str(file), "--force", key="o" * 40)
    assert forced.returncode == 0
    assert "Nobody can sign in yet" in forced.stderr
    assert "another PORTAL_SECRET_KEY" in forced.stderr


def test_keys_of_another_secret_key_are_only_made_for_at_once(lived_in, settings):
    rotate = ("-m", "flask", "--app", "wsgi", "keys", "rotate", "all")
    before = SigningKey.select().count()
    answer = run(settings.database_url, *rotate, key="o" * 40)
    assert answer.returncode == 1
    assert "another PORTAL_SECRET_KEY" in answer.stderr
    assert SigningKey.select().count() == before
    assert run(settings.database_url, *rotate, "--now", key="o" * 40).returncode == 0


def environ(url: str, key: str = SECRET_KEY) -> dict[str, str]:
    kept = {name: v for name, v in os.environ.items() if not name.startswith(("PORTAL_", "PORT"))}
    return {**kept, "DATABASE_URL": url, "PORTAL_SECRET_KEY": key}


def run(url: str, *arguments: str, key: str = SECRET_KEY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environ(url, key),
        capture_output=True,
        text=True,
        timeout=60,
    )
