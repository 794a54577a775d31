"""On which day an application last took each scope for itself: one line, not a row for each day."""

MACHINE = "kind = 'machine_scope' OR (kind = 'flow' AND value = 'client_credentials')"


def up(migrator, db):
    # Peewee would make the SQLite table anew, without the triggers that search needs.
    db.execute_sql("ALTER TABLE application ADD COLUMN machine_days TEXT NOT NULL DEFAULT ''")
    found = {}
    rows = db.execute_sql(
        "SELECT application_id, value, MAX(day) FROM usage WHERE kind = 'machine_scope'"
        " GROUP BY application_id, value ORDER BY application_id, value"
    )
    for application_id, scope, day in rows.fetchall():
        found.setdefault(application_id, []).append(f"{scope}={day}")
    for application_id, days in found.items():
        db.execute_sql(
            f"UPDATE application SET machine_days = {db.param} WHERE id = {db.param}",
            (" ".join(days), application_id),
        )
    db.execute_sql(f"DELETE FROM usage WHERE {MACHINE}")


def down(migrator, db):
    db.execute_sql("ALTER TABLE application DROP COLUMN machine_days")
