"""The audit log."""

from peewee import *


def up(migrator, db):
    class AuditEvent(Model):
        id = BigIntegerField(primary_key=True)
        at = BigIntegerField(index=True)
        event = TextField()
        actor_id = BigIntegerField(null=True)
        actor = TextField()
        application_id = BigIntegerField(null=True)
        person_id = BigIntegerField(null=True)
        subject = TextField(default="")
        before = TextField(default="{}")
        after = TextField(default="{}")
        address = TextField(default="")
        hash = BlobField()

        class Meta:
            database = db
            table_name = "audit_event"
            indexes = (
                (("application_id", "id"), False),
                (("person_id", "id"), False),
                (("actor_id", "id"), False),
                (("event", "id"), False),
            )

    db.create_tables([AuditEvent])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("audit_event"))
