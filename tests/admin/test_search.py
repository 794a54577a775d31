"""Search by any part of a name, on both engines, and without a scan of the whole table."""

import base64
import re
from contextlib import contextmanager

import pytest
from peewee import PostgresqlDatabase, SqliteDatabase

from portal.database import database
from portal.models import Application, Refusal, User
from portal.models.search import find_people
from tests.engines import on_both_engines
from tests.factories import make_application, make_user

pytestmark = on_both_engines

LIST = "/admin/applications"
CHIPS = ("", "attention", "broken", "trusted", "public", "never", "disabled")
SORTS = ("name", "-name", "last_used", "-last_used")


@pytest.fixture
def browser(browser_of, alice):
    return browser_of(alice)


def names(response) -> list[str]:
    assert response.status_code == 200
    return re.findall(r'class="name" href="[^"]*">([^<]*)<', response.text)


def search(browser, query, **more) -> list[str]:
    return names(browser.get(LIST, query_string={"q": query, **more}))


def counts(browser, query) -> dict[str, str]:
    text = browser.get(LIST, query_string={"q": query}).text
    return dict(re.findall(r'id="chip-(\w+)".*?<span>([^<]+)</span>', text))


def check_index() -> None:
    """SQLite compares the index with the table's rows, and says "malformed" when they differ."""
    if isinstance(database.obj, SqliteDatabase):
        for table in ("application", "user_account"):
            database.execute_sql(
                f"INSERT INTO {table}_search ({table}_search, rank) VALUES ('integrity-check', 1)"
            )


@pytest.mark.parametrize(
    "query",
    [
        "porting Too",
        "  REPORTING ",
        "ing",
        "ﬁne",
        "c_special",
        "PECIA",
        "dora",
        "ora@exam",
        "a Lov",
    ],
)
def test_any_part_of_a_name_a_client_id_or_the_owner_is_found(browser, alice, query):
    dora = make_user("dora", name="Dora Lovelace")
    make_application(dora, name="Fine Reporting Tools", client_id="c_SpecialOne")
    make_application(alice, name="Wiki", client_id="c_1111111111")
    assert search(browser, query) == ["Fine Reporting Tools"]


@pytest.mark.parametrize(
    "name",
    [
        '100%_"*',
        "a\\b\\c",
        "it's OR -- x",
        "日本語アプリ",
        "🦊🦊🦊🦊",
        "NEAR(a b)",
        "^start AND",
        "{x} : y",
        "Straße Ωmega",
    ],
)
def test_every_character_stands_for_itself(browser, alice, name):
    make_application(alice, name=name)
    make_application(alice, name="Aaa bbb ccc 100 xyz")
    response = browser.get(LIST, query_string={"q": name})
    assert len(names(response)) == 1
    assert response.text.count("No application matches") == 0
    assert len(search(browser, name[-4:])) == 1


@pytest.mark.parametrize("query", ["%%%", "___", '"""', "***", "\\\\\\", "\0\0\0\0", "a\0b", "AND",
                                   "\ud7ff\ue000x", "x" * 300, "'; DROP", "( OR )"])  # fmt: skip
def test_odd_searches_find_nothing_and_do_no_harm(browser, alice, query):
    make_application(alice, name="Wiki", client_id="c_1111111111")
    assert search(browser, query) == ([] if query.strip("\0") else ["Wiki"])
    assert browser.get("/admin/users", query_string={"q": query}).status_code == 200


def test_one_or_two_characters_find_how_names_begin_and_the_page_says_so(browser, alice):
    for name in ("Wiki", "Window", "Owl", "%W"):
        make_application(alice, name=name)
    assert search(browser, "wi") == ["Wiki", "Window"]
    assert search(browser, "W") == ["Wiki", "Window"]
    assert search(browser, "%") == ["%W"]
    assert search(browser, "_") == []
    assert "Type three or more" in browser.get(f"{LIST}?q=wi").text
    assert "Type three or more" not in browser.get(f"{LIST}?q=wik").text


def test_people_are_found_and_the_page_says_what_is_left_out(browser, alice, monkeypatch):
    for number in range(4):
        make_user(f"dora{number}", name=f"Theodora {number}")
    address = "/admin/users"
    found = browser.get(f"{address}?q=theodo")
    assert names(found) == [f"Theodora {number}" for number in range(4)]
    assert "people match" not in found.text
    short = browser.get(f"{address}?q=do")
    assert len(names(short)) == 4
    assert "Type three or more" in short.text
    monkeypatch.setattr("portal.models.search.MOST_FOUND", 3)
    assert "people match, and not all are shown" in browser.get(f"{address}?q=theodo").text


def test_the_index_follows_every_change(browser, alice):
    application, _ = make_application(alice, name="Old name")
    other, _ = make_application(alice, name="Second")
    application.change(name="Fresh name")
    assert search(browser, "old nam") == []
    assert search(browser, "fresh nam") == ["Fresh name"]
    application.change(scopes=["openid"])
    with database.atomic() as step:
        other.change(name="Never there")
        step.rollback()
    assert search(browser, "never ther") == []
    assert search(browser, "second") == ["Second"]
    other.remove()
    assert search(browser, "second") == []
    dora = make_user("dora", email="dora@first.example")
    application.change(owner=dora)
    dora.change_profile(email="dora@later.example", name="Theodora")
    assert search(browser, "first.exam") == []
    assert search(browser, "later.exam") == search(browser, "theod") == ["Fresh name"]
    check_index()


def test_importing_the_same_again_changes_what_is_found(app, browser, alice, tmp_path):
    runner = app.test_cli_runner()
    make_application(alice, name="Imported one")
    file = tmp_path / "applications.yaml"
    done = runner.invoke(args=["application", "export"])
    file.write_text(done.stdout.replace("Imported one", "Renamed thing"))
    done = runner.invoke(args=["application", "import", str(file)])
    assert done.exit_code == 0, done.output
    assert "Renamed thing" in search(browser, "renamed th")
    check_index()


def test_a_search_keeps_chip_order_and_pages(browser, alice):
    for number in range(30):
        make_application(alice, name=f"Alpha {number:02}", trusted=number % 2 == 0)
        make_application(alice, name=f"Beta {number:02}")
    first = browser.get(LIST, query_string={"q": "alpha", "sort": "-name"})
    assert names(first) == [f"Alpha {number:02}" for number in range(29, 4, -1)]
    assert search(browser, "alpha", chip="trusted")[0] == "Alpha 00"
    assert len(search(browser, "alpha", chip="trusted")) == 15
    assert counts(browser, "alpha")["all"] == "30"
    assert counts(browser, "alpha")["trusted"] == "15"
    assert counts(browser, "alpha")["disabled"] == "0"


def test_a_search_with_too_many_matches_says_so_and_still_finds_the_few(
    browser, alice, monkeypatch
):
    monkeypatch.setattr("portal.models.search.MOST_FOUND", 3)
    monkeypatch.setattr("portal.admin.application_list.MOST_FOUND", 3)
    monkeypatch.setattr("portal.admin.application_filters.FEW", 3)
    oldest, _ = make_application(alice, name="Alpha oldest", trusted=True)
    Refusal.note(oldest.id, "secret_wrong")
    for number in range(5):
        make_application(alice, name=f"Alpha {number}")
    page = browser.get(LIST, query_string={"q": "alpha"})
    assert names(page) == ["Alpha 2", "Alpha 3", "Alpha 4"]
    assert "More than 3 applications match" in page.text
    found = counts(browser, "alpha")
    assert (found["all"], found["trusted"], found["attention"]) == ("3+", "1", "1")
    assert search(browser, "alpha", chip="trusted") == ["Alpha oldest"]
    assert search(browser, "alpha", chip="attention") == ["Alpha oldest"]
    assert "More than" not in browser.get(LIST, query_string={"q": "alpha old"}).text


def test_without_an_index_everything_is_found_row_by_row(browser, alice):
    """As where FTS5 or pg_trgm is not to be had."""
    make_application(alice, name="100% Wiki")
    tables = ("application", "user_account")
    with database.atomic() as step:
        for table in tables:
            if isinstance(database.obj, PostgresqlDatabase):
                database.execute_sql(f"DROP INDEX {table}_search")
            else:
                database.execute_sql(f"DROP TABLE {table}_search")
        assert search(browser, "0% wi") == search(browser, "alice@ex") == ["100% Wiki"]
        assert search(browser, "0_ wi") == []
        assert find_people("lic") == ([alice.id], False)
        step.rollback()


def test_a_person_is_found_by_the_name_as_it_is_written(browser, alice):
    jg = make_user("jg", name="Jürgen Groß")
    make_application(jg, name="His own")
    for text in ("Groß", "groß", "Jürgen Groß", "jürgen"):
        assert search(browser, text) == ["His own"], text
        assert names(browser.get("/admin/users", query_string={"q": text})) == ["Jürgen Groß"]
    assert search(browser, "Groß%") == []
    make_application(jg, name="Straßamt")
    assert search(browser, "straßa") == ["Straßamt"]
    make_application(jg, name="ßamt")  # "ßa" is three letters when it is folded
    assert search(browser, "ßa") == ["ßamt"]


def test_too_many_people_are_told_from_too_many_applications(browser, monkeypatch):
    oldest = make_user("oldest", email="oldest@many.example")
    application, _ = make_application(oldest, name="Hidden")
    application.disable()
    for number in range(4):
        make_user(f"many{number}", email=f"p{number}@many.example")
    monkeypatch.setattr("portal.models.search.MOST_FOUND", 3)
    monkeypatch.setattr("portal.admin.application_list.MOST_FOUND", 3)
    page = browser.get(LIST, query_string={"q": "many.example"})
    assert "More than 3 people match" in page.text
    assert "None of the matches that were looked at" in page.text
    assert "No application matches" not in page.text
    found = counts(browser, "many.example")
    assert (found["all"], found["disabled"]) == ("0+", "0+")
    assert search(browser, "oldest") == ["Hidden"]


def test_a_filter_of_many_rows_does_not_deny_what_was_not_looked_at(browser, alice, monkeypatch):
    monkeypatch.setattr("portal.models.search.MOST_FOUND", 3)
    monkeypatch.setattr("portal.admin.application_list.MOST_FOUND", 3)
    monkeypatch.setattr("portal.admin.application_filters.FEW", 1)
    for number in range(2):
        make_application(alice, name=f"Alpha {number}")[0].disable()
    for number in range(2, 7):
        make_application(alice, name=f"Alpha {number}")
    page = browser.get(LIST, query_string={"q": "alpha", "chip": "disabled"})
    assert names(page) == []
    assert "None of the matches that were looked at" in page.text
    assert "No application matches" not in page.text
    short = browser.get(LIST, query_string={"q": "al"})
    assert "Type three or more" in short.text
    assert "More than 3 applications match" in short.text


@pytest.mark.parametrize("cursor", ["[" * 2000, "[[", '["a"]', '["a", true]', "x"])
def test_an_odd_place_in_the_list_is_its_beginning(browser, alice, cursor):
    for number in range(3):
        make_application(alice, name=f"Alpha {number}")
    place = base64.urlsafe_b64encode(cursor.encode()).decode()
    for name in ("after", "before"):
        page = browser.get(LIST, query_string={name: place, "from": "999999999"})
        assert names(page) == ["Alpha 0", "Alpha 1", "Alpha 2"]
        assert "1–3 of 3" in page.text


def test_a_number_in_the_address_is_believed_as_far_as_it_can_be(browser, alice):
    for number in range(3):
        make_application(alice, name=f"Alpha {number}")
    place = base64.urlsafe_b64encode(b'["a", 1]').decode()
    page = browser.get(LIST, query_string={"after": place, "from": "999999999"})
    assert "1–3 of 3" in page.text


# Plans


@contextmanager
def explained():
    """The plan of every SELECT of a block, as the engine tells it."""
    run, plans = [], []

    def hook(event) -> None:
        run.append((event.sql, event.params))

    database.obj.query_hooks.append(hook)
    try:
        yield plans
    finally:
        database.obj.query_hooks.remove(hook)
    sqlite = isinstance(database.obj, SqliteDatabase)
    for sql, params in run:
        if sql.lstrip().startswith("SELECT"):
            explain = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
            rows = database.execute_sql(f"{explain} {sql}", params).fetchall()
            plans.append("\n".join(str(row[-1]) for row in rows))


def reads_every_row(plan: str) -> bool:
    """Whether a table that grows is read from end to end.

    A partial index that is scanned holds the rows of its filter alone, in the wanted order.
    """
    tables = r"(application|user_account|refusal|t\d)\b"
    whole = re.search(rf"^SCAN {tables}(?! USING (COVERING )?INDEX)", plan, re.M)
    return bool(whole or re.search(r"Seq Scan on (application|user_account|refusal)\b", plan))


@pytest.fixture
def indexes_preferred(app):
    """PostgreSQL reads tiny tables whole when it may; now only where no index would do."""
    postgres = isinstance(database.obj, PostgresqlDatabase)
    for setting in ("enable_seqscan", "enable_sort") if postgres else ():
        database.execute_sql(f"SET {setting} = off")
    yield
    for setting in ("enable_seqscan", "enable_sort") if postgres else ():
        database.execute_sql(f"RESET {setting}")


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("sort", SORTS)
def test_every_list_is_read_from_an_index_in_its_order(
    browser, alice, indexes_preferred, chip, sort
):
    make_application(alice)
    with explained() as plans:
        browser.get(LIST, query_string={"chip": chip, "sort": sort})
    assert len(plans) >= 3
    assert [plan for plan in plans if reads_every_row(plan)] == []
    # What was refused within a day is sorted; the rest stands in its index in this order.
    (page,) = [plan for plan in plans if "user_account" in plan or " t2 USING" in plan][-1:]
    assert chip in ("attention", "broken") or page.count("TEMP B-TREE") <= 1, page


@pytest.mark.parametrize("query", ["wiki", "wi"])
@pytest.mark.parametrize("chip", CHIPS)
def test_no_search_reads_every_row(browser, alice, indexes_preferred, query, chip):
    make_application(alice, name="Wiki")
    with explained() as plans:
        assert browser.get(LIST, query_string={"q": query, "chip": chip}).status_code == 200
    assert len(plans) >= 3
    assert [plan for plan in plans if reads_every_row(plan)] == []


def test_the_plans_would_show_a_scan(browser, alice, indexes_preferred):
    with explained() as plans:
        list(Application.select().where(Application.redirect_uris.contains("x")))
        list(User.select().where(User.sub.contains("x")))
    assert all(reads_every_row(plan) for plan in plans)
