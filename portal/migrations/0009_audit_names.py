"""Find events by the name of what is deleted by now."""

from playhouse.migrate import *


def up(migrator, db):
    migrator.migrate(migrator.add_index("audit_event", ("subject", "id"), False))


def down(migrator, db):
    migrator.migrate(migrator.drop_index("audit_event", "audit_event_subject_id"))
