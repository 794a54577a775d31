"""On SQLite, what a token request asks of an application stands in one index.

The row itself is wide, and among a million of them another page that nobody has read. SQLite would
go by the index that keeps client IDs apart, since that finds one row at most: a condition that no
query has, and that every row meets, leaves it to that. On PostgreSQL an index like this would save
nothing, and each note of a use would have to change it.
"""

from peewee import SqliteDatabase

COLUMNS = (
    "client_id, version, disabled_at, epoch, last_used_at, grants, scopes, resources, machine_days,"
    " token_format, confidential, resource_server"
)


def up(migrator, db):
    if isinstance(db, SqliteDatabase):
        db.execute_sql(f"CREATE INDEX application_asked ON application ({COLUMNS})")
        keep_apart(db, "WHERE id > 0")


def down(migrator, db):
    if isinstance(db, SqliteDatabase):
        db.execute_sql("DROP INDEX application_asked")
        keep_apart(db, "")


def keep_apart(db, condition):
    db.execute_sql("DROP INDEX application_client_id")
    it = "UNIQUE INDEX application_client_id ON application (client_id)"
    db.execute_sql(f"CREATE {it} {condition}")
