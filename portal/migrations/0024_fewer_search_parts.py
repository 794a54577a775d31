"""On SQLite, the sweep merges parts of a search index as soon as two are of a size.

Each part costs a search something; FTS5 by itself lets four of each size gather.
"""

from peewee import SqliteDatabase

TABLES = ("application_search", "user_account_search")


def up(migrator, db):
    set_usermerge(db, 2)


def down(migrator, db):
    set_usermerge(db, 4)


def set_usermerge(db, parts):
    if not isinstance(db, SqliteDatabase):
        return
    # Where FTS5 is not to be had there are none.
    asked = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN (?, ?)"
    for (table,) in db.execute_sql(asked, TABLES).fetchall():
        db.execute_sql(f"INSERT INTO {table} ({table}, rank) VALUES ('usermerge', ?)", (parts,))
