"""Read an application's events of one kind from an index, however many it has of others."""

from playhouse.migrate import *


def up(migrator, db):
    migrator.migrate(migrator.add_index("audit_event", ("application_id", "event", "id"), False))


def down(migrator, db):
    migrator.migrate(migrator.drop_index("audit_event", "audit_event_application_id_event_id"))
