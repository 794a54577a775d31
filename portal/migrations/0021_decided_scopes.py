"""The scopes that a person decided on last: what they left out is not asked for at each sign-in."""


def up(migrator, db):
    db.execute_sql("ALTER TABLE consent ADD COLUMN decided TEXT NOT NULL DEFAULT ''")


def down(migrator, db):
    db.execute_sql("ALTER TABLE consent DROP COLUMN decided")
