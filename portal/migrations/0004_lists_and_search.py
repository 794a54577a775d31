"""Lists and search for a million rows: an index for each order of each filter, and of substrings.

SQLite: FTS5 tables of trigrams that triggers keep equal to `application` and `user_account`. A
later migration that makes one of these tables anew must make its triggers anew, too.
PostgreSQL: GIN indexes of pg_trgm. Without FTS5 or pg_trgm the portal searches row by row.
"""

import logging

from peewee import *

log = logging.getLogger("portal.migrations")

FILTERS = {
    "trusted": "trusted",
    "public": "NOT confidential",
    "disabled": "disabled_at IS NOT NULL",
}
INDEXES = {
    **{
        f"application_{name}_by_{order}": f"application ({column}, id) WHERE {condition}"
        for name, condition in FILTERS.items()
        for order, column in (("name", "name_key"), ("use", "last_used_at"))
    },
    "application_never_by_name": "application (name_key, id) WHERE last_used_at < 1",
    "refusal_last_at_application_id": "refusal (last_at, application_id)",
    "user_account_admins": "user_account (username_key) WHERE is_admin",
    "user_account_disabled": "user_account (username_key) WHERE disabled_at IS NOT NULL",
}
#: What a search looks into.
SEARCHED = {
    "application": ("name_key", "client_id"),
    "user_account": ("username_key", "email_key", "name"),
}
#: PostgreSQL reads a prefix from an index only when it is sorted by character.
PREFIXES = {"application": "name_key", "user_account": "username_key"}


def up(migrator, db):
    for name, what in INDEXES.items():
        db.execute_sql(f"CREATE INDEX {name} ON {what}")
    if isinstance(db, PostgresqlDatabase):
        for table, column in PREFIXES.items():
            db.execute_sql(f"CREATE INDEX {table}_prefix ON {table} ({column} text_pattern_ops)")
    try:
        with db.atomic():
            make = index_postgres if isinstance(db, PostgresqlDatabase) else index_sqlite
            make(db)
    except DatabaseError as error:
        reason = " ".join(str(error).split())
        log.warning("Searches will read every row, which is slow beyond 100,000: %s", reason)


def index_postgres(db):
    db.execute_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    for table, columns in SEARCHED.items():
        parts = ", ".join(f"{column} gin_trgm_ops" for column in columns)
        db.execute_sql(f"CREATE INDEX {table}_search ON {table} USING gin ({parts})")


def index_sqlite(db):
    for table, columns in SEARCHED.items():
        names = ", ".join(columns)
        old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("old", "new"))
        changed = " OR ".join(f"old.{column} IS NOT new.{column}" for column in columns)
        index = f"{table}_search"
        forget = f"INSERT INTO {index} ({index}, rowid, {names}) VALUES ('delete', old.id, {old})"
        add = f"INSERT INTO {index} (rowid, {names}) VALUES (new.id, {new})"
        db.execute_sql(
            f"CREATE VIRTUAL TABLE {index} USING fts5 ({names}, content='{table}',"
            " content_rowid='id', tokenize='trigram')"
        )
        for event, what in (
            ("INSERT", add),
            ("DELETE", forget),
            (f"UPDATE OF {names}", f"{forget}; {add}"),
        ):
            when = f"WHEN {changed} " if "UPDATE" in event else ""
            db.execute_sql(
                f"CREATE TRIGGER {index}_{event[:6].lower()} AFTER {event} ON {table} {when}"
                f"BEGIN {what}; END"
            )
        db.execute_sql(f"INSERT INTO {index} ({index}) VALUES ('rebuild')")


def down(migrator, db):
    for table in SEARCHED:
        if isinstance(db, PostgresqlDatabase):
            db.execute_sql(f"DROP INDEX {table}_prefix")
            db.execute_sql(f"DROP INDEX IF EXISTS {table}_search")
            continue
        for event in ("insert", "delete", "update"):
            db.execute_sql(f"DROP TRIGGER IF EXISTS {table}_search_{event}")
        db.execute_sql(f"DROP TABLE IF EXISTS {table}_search")
    for name in INDEXES:
        db.execute_sql(f"DROP INDEX {name}")
