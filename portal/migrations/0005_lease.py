"""Who deletes what has expired, so that one process does it at a time."""

from peewee import *


def up(migrator, db):
    class Lease(Model):
        name = TextField(primary_key=True)
        holder = TextField()
        until = BigIntegerField()
        done_at = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "lease"

    db.create_tables([Lease])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("lease"))
