"""What a token family remembers: where it was used, and what ended it."""

from peewee import *

COLUMNS = {
    "history": TextField(null=True),
    "ended_verdict": TextField(null=True),
    "ended_from": TextField(null=True),
    "ended_late": IntegerField(null=True),
}
INDEX = "token_family_reused"


def up(migrator, db):
    for name, field in COLUMNS.items():
        migrator.migrate(migrator.add_column("token_family", name, field))
    # Few families end so: the pages about them look here instead of at all of them.
    db.execute_sql(
        f"CREATE INDEX {INDEX} ON token_family (application_id, ended_at)"
        " WHERE ended_verdict IS NOT NULL"
    )


def down(migrator, db):
    db.execute_sql(f"DROP INDEX {INDEX}")
    for name in reversed(COLUMNS):
        migrator.migrate(migrator.drop_column("token_family", name))
