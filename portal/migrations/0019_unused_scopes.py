"""Indexes for applications with unused scopes, which are left out of what needs attention."""

ORDERS = {"name": "name_key", "use": "last_used_at"}
UNUSED, NEEDED, FORMER = "(concerns & 16) > 0", "(concerns & 239) > 0", "concerns > 0"


def up(migrator, db):
    index(db, "attention", NEEDED)
    index(db, "unused_scopes", UNUSED)


def down(migrator, db):
    for order in ORDERS:
        db.execute_sql(f"DROP INDEX application_unused_scopes_by_{order}")
    db.execute_sql(f"UPDATE application SET concerns = concerns & 239 WHERE {UNUSED}")
    index(db, "attention", FORMER)


def index(db, name, condition):
    for order, column in ORDERS.items():
        db.execute_sql(f"DROP INDEX IF EXISTS application_{name}_by_{order}")
        db.execute_sql(
            f"CREATE INDEX application_{name}_by_{order} ON application ({column}, id)"
            f" WHERE {condition}"
        )
