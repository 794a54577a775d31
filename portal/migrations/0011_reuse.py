"""Which networks secrets were used from, who sent them elsewhere, and what was split."""

from peewee import *

SHARED, SPLIT = "secret_network_shared", "application_split"
COLUMNS = {
    "split_from": "BIGINT",
    "sharing_allowed_at": "BIGINT",
    "sharing_allowed_by": "TEXT",
}


def up(migrator, db):
    class ApplicationSecret(Model):
        id = BigIntegerField(primary_key=True)

        class Meta:
            database = db
            table_name = "application_secret"

    class SecretNetwork(Model):
        id = BigIntegerField(primary_key=True)
        secret = ForeignKeyField(ApplicationSecret, on_delete="CASCADE", index=False)
        network = TextField()
        version = IntegerField()
        first_at = BigIntegerField()
        last_at = BigIntegerField()
        returns = IntegerField(default=0)
        returned_at = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "secret_network"
            indexes = ((("secret", "network"), True),)

    class MisusedSecret(Model):
        id = BigIntegerField(primary_key=True)
        secret = ForeignKeyField(ApplicationSecret, on_delete="CASCADE", index=False)
        named_id = BigIntegerField(index=True)
        network = TextField(default="")
        count = IntegerField(default=1)
        first_at = BigIntegerField()
        last_at = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "misused_secret"
            indexes = ((("secret", "named_id"), True),)

    db.create_tables([SecretNetwork, MisusedSecret])
    db.execute_sql(
        f"CREATE INDEX {SHARED} ON secret_network (secret_id, version, last_at) WHERE returns >= 3"
    )
    # Not by the migrator: on SQLite it would make the table anew, without its triggers.
    for name, kind in COLUMNS.items():
        kind = kind if isinstance(db, PostgresqlDatabase) else kind.replace("BIGINT", "INTEGER")
        db.execute_sql(f"ALTER TABLE application ADD COLUMN {name} {kind}")
    db.execute_sql(f"CREATE INDEX {SPLIT} ON application (split_from) WHERE split_from IS NOT NULL")


def down(migrator, db):
    db.execute_sql(f"DROP INDEX {SPLIT}")
    for name in reversed(COLUMNS):
        db.execute_sql(f"ALTER TABLE application DROP COLUMN {name}")
    migrator.migrate(
        migrator.drop_table("misused_secret"),
        migrator.drop_table("secret_network"),
    )
