"""What each address, scope and grant flow was used for, from now on."""

import time

from peewee import *


def up(migrator, db):
    class Usage(Model):
        id = BigIntegerField(primary_key=True)
        application_id = BigIntegerField()
        day = IntegerField()
        kind = TextField()
        value = TextField()
        count = IntegerField()

        class Meta:
            database = db
            table_name = "usage"
            indexes = ((("application_id", "day", "kind", "value"), True),)

    db.create_tables([Usage])
    if not db.execute_sql("SELECT 1 FROM application LIMIT 1").fetchone():
        return  # nothing was used before
    moment = int(time.time())
    # An id of this moment: the row goes with the rows of today.
    Usage.insert(
        id=moment * 1000 << 21,
        application_id=0,
        day=moment // 86400,
        kind="since",
        value=str(moment),
        count=0,
    ).execute()


def down(migrator, db):
    migrator.migrate(migrator.drop_table("usage"))
