"""What served whom: sign-ins by redirect URI and grants by scope, a row a day."""

from peewee import *


def up(migrator, db):
    class Usage(Model):
        application_id = BigIntegerField()
        kind = TextField()
        value = TextField()
        day = IntegerField(index=True)
        count = IntegerField(default=0)

        class Meta:
            database = db
            table_name = "usage"
            primary_key = CompositeKey("application_id", "kind", "value", "day")

    db.create_tables([Usage])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("usage"))
