"""How many applications may ask for each scope is counted in an index."""

INDEX = "application_scopes"


def up(migrator, db):
    db.execute_sql(f"CREATE INDEX {INDEX} ON application (scopes)")


def down(migrator, db):
    db.execute_sql(f"DROP INDEX {INDEX}")
