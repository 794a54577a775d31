"""When the owner of an application was last told of a refusal."""

from peewee import *


def up(migrator, db):
    migrator.migrate(
        migrator.add_column("refusal", "told_at", BigIntegerField(null=True)),
        migrator.add_index("refusal", ("told_at",), False),
    )


def down(migrator, db):
    migrator.migrate(
        migrator.drop_index("refusal", "refusal_told_at"),
        migrator.drop_column("refusal", "told_at"),
    )
