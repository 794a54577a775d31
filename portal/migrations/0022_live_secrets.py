"""On SQLite, what a token request asks of an application's secrets stands in one index.

On PostgreSQL that would save nothing, and each note of a use would have to change it.
"""

from peewee import SqliteDatabase

INDEX = "application_secret_live"
COLUMNS = "application_id, retired_at, hash, expires_at, last_used_at, last_used_from"


def up(migrator, db):
    if isinstance(db, SqliteDatabase):
        db.execute_sql(f"CREATE INDEX {INDEX} ON application_secret ({COLUMNS})")


def down(migrator, db):
    if isinstance(db, SqliteDatabase):
        db.execute_sql(f"DROP INDEX {INDEX}")
