"""Applications offered to somebody else."""

from peewee import *


def up(migrator, db):
    class Offer(Model):
        application_id = BigIntegerField(primary_key=True)
        owner_id = BigIntegerField(index=True)
        heir_id = BigIntegerField()
        state = TextField(default="open")
        reason = TextField(default="")
        offered_at = BigIntegerField()
        answered_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "offer"
            indexes = ((("heir_id", "state", "application_id"), False),)

    db.create_tables([Offer])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("offer"))
