"""Secrets with names, where they were used from, and how they end by themselves."""

from peewee import *

COLUMNS = {
    "name": TextField(default=""),
    "last_used_from": TextField(default=""),
    "retire_unused_days": IntegerField(null=True),
    "warned_at": BigIntegerField(null=True),
}
INDEX = "application_secret_expires_at_application_id"


def up(migrator, db):
    for name, field in COLUMNS.items():
        migrator.migrate(migrator.add_column("application_secret", name, field))
    db.execute_sql(f"CREATE INDEX {INDEX} ON application_secret (expires_at, application_id)")


def down(migrator, db):
    db.execute_sql(f"DROP INDEX {INDEX}")
    for name in reversed(COLUMNS):
        migrator.migrate(migrator.drop_column("application_secret", name))
