"""What speaks against an application, and indexes that find those in every order of the list.

All of them are judged by the first sweep, since `look_again_at` is 0.
"""

from peewee import *

FILTERS = {"attention": "concerns > 0", "broken": "concerns > 63"}
INDEXES = {
    **{
        f"application_{name}_by_{order}": f"application ({column}, id) WHERE {condition}"
        for name, condition in FILTERS.items()
        for order, column in (("name", "name_key"), ("use", "last_used_at"))
    },
    "application_look_again_at": "application (look_again_at)",
    "token_family_application_id_id": "token_family (application_id, id)",
}


def up(migrator, db):
    # Not by the migrator: on SQLite it would make the table anew, without its triggers.
    bigint = "BIGINT" if isinstance(db, PostgresqlDatabase) else "INTEGER"
    db.execute_sql("ALTER TABLE application ADD COLUMN concerns INTEGER NOT NULL DEFAULT 0")
    db.execute_sql(f"ALTER TABLE application ADD COLUMN look_again_at {bigint} NOT NULL DEFAULT 0")
    for name, what in INDEXES.items():
        db.execute_sql(f"CREATE INDEX {name} ON {what}")
    db.execute_sql("DROP INDEX tokenfamily_application_id")


def down(migrator, db):
    db.execute_sql("CREATE INDEX tokenfamily_application_id ON token_family (application_id)")
    for name in INDEXES:
        db.execute_sql(f"DROP INDEX {name}")
    for column in ("look_again_at", "concerns"):
        db.execute_sql(f"ALTER TABLE application DROP COLUMN {column}")
