"""OpenID Connect: signing keys, what people say about themselves, resource servers."""

from peewee import *


def up(migrator, db):
    class SigningKey(Model):
        id = BigIntegerField(primary_key=True)
        kid = TextField(unique=True)
        kind = TextField()
        public_jwk = TextField()
        private_jwk = TextField()
        created_at = BigIntegerField()
        active_at = BigIntegerField()
        ends_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "signing_key"

    class LogoutDelivery(Model):
        id = BigIntegerField(primary_key=True)
        application_id = BigIntegerField(index=True)
        sub = TextField()
        sid = BigIntegerField()
        tries = IntegerField(default=0)
        last_error = TextField(default="")
        created_at = BigIntegerField()
        next_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "logout_delivery"

    db.create_tables([SigningKey, LogoutDelivery])
    for table, column, field in columns():
        migrator.migrate(migrator.add_column(table, column, field))


def columns():
    return [
        ("session", "sid", BigIntegerField(default=0)),
        ("user_account", "profile", TextField(default="{}")),
        ("user_account", "profile_updated_at", BigIntegerField(null=True)),
        ("user_account", "email_verified_at", BigIntegerField(null=True)),
        ("application", "id_token_alg", TextField(default="RS256")),
        ("application", "subject_type", TextField(default="public")),
        ("application", "resources", TextField(default="")),
        ("application", "backchannel_logout_uri", TextField(default="")),
        ("authorization_code", "claims", TextField(null=True)),
        ("authorization_code", "resources", TextField(default="")),
        ("device_code", "resources", TextField(default="")),
        ("token_family", "claims", TextField(null=True)),
        ("token_family", "resources", TextField(default="")),
        ("access_token", "resources", TextField(default="")),
    ]


def down(migrator, db):
    for table, column, _ in reversed(columns()):
        migrator.migrate(migrator.drop_column(table, column))
    migrator.migrate(migrator.drop_table("logout_delivery"))
    migrator.migrate(migrator.drop_table("signing_key"))
