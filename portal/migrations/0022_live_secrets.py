"""What a token request asks of an application's secrets stands in one index."""

NEW, OLD = "application_secret_live", "applicationsecret_application_id"
COLUMNS = "application_id, retired_at, hash, expires_at, last_used_at, last_used_from"


def up(migrator, db):
    db.execute_sql(f"CREATE INDEX {NEW} ON application_secret ({COLUMNS})")
    db.execute_sql(f"DROP INDEX {OLD}")


def down(migrator, db):
    db.execute_sql(f"CREATE INDEX {OLD} ON application_secret (application_id)")
    db.execute_sql(f"DROP INDEX {NEW}")
