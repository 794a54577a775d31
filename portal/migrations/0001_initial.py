"""All tables of the first release, as they were then (frozen copies)."""

from peewee import *


def up(migrator, db):
    class AccessToken(Model):
        id = BigIntegerField(primary_key=True)
        hash = BlobField()
        application_id = BigIntegerField()
        epoch = IntegerField()
        family_id = BigIntegerField(null=True)
        user_id = BigIntegerField(null=True)
        scopes = TextField()
        created_at = BigIntegerField()
        expires_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "access_token"

    db.create_tables([AccessToken])

    class User(Model):
        id = BigIntegerField(primary_key=True)
        username = TextField()
        username_key = TextField(unique=True)
        email = TextField()
        email_key = TextField(unique=True)
        name = TextField(default="")
        sub = TextField(unique=True)
        password_hash = TextField(null=True)
        is_admin = BooleanField(default=False)
        disabled_at = BigIntegerField(null=True)
        created_at = BigIntegerField()
        last_sign_in_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "user_account"

    db.create_tables([User])

    class Application(Model):
        id = BigIntegerField(primary_key=True)
        client_id = TextField(unique=True)
        name = TextField()
        name_key = TextField()
        owner = ForeignKeyField(User, on_delete="RESTRICT")
        grants = TextField()
        redirect_uris = TextField(default="")
        post_logout_redirect_uris = TextField(default="")
        scopes = TextField(default="")
        confidential = BooleanField(default=True)
        require_pkce = BooleanField(default=True)
        resource_server = BooleanField(default=False)
        token_format = TextField(default="opaque")
        trusted = BooleanField(default=False)
        trust_reason = TextField(default="")
        disabled_at = BigIntegerField(null=True)
        version = IntegerField(default=1)
        epoch = IntegerField(default=1)
        created_at = BigIntegerField()
        updated_at = BigIntegerField()
        last_used_at = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "application"
            indexes = ((("name_key", "id"), False), (("last_used_at", "id"), False))

    db.create_tables([Application])

    class ApplicationSecret(Model):
        id = BigIntegerField(primary_key=True)
        application = ForeignKeyField(Application, on_delete="CASCADE")
        hash = BlobField(index=True)
        prefix = TextField()
        created_at = BigIntegerField()
        expires_at = BigIntegerField(null=True)
        last_used_at = BigIntegerField(null=True)
        retired_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "application_secret"

    db.create_tables([ApplicationSecret])

    class AuthorizationCode(Model):
        id = BigIntegerField(primary_key=True)
        hash = BlobField()
        application_id = BigIntegerField()
        epoch = IntegerField()
        user_id = BigIntegerField()
        redirect_uri = TextField(null=True)
        scopes = TextField()
        code_challenge = TextField(null=True)
        nonce = TextField(null=True)
        auth_time = BigIntegerField()
        session_id = BigIntegerField(null=True)
        created_at = BigIntegerField()
        expires_at = BigIntegerField()
        used_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "authorization_code"

    db.create_tables([AuthorizationCode])

    class Consent(Model):
        id = BigIntegerField(primary_key=True)
        user_id = BigIntegerField()
        application_id = BigIntegerField(index=True)
        scopes = TextField()
        granted_at = BigIntegerField()
        updated_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "consent"
            indexes = ((("user_id", "application_id"), True),)

    db.create_tables([Consent])

    class DeviceCode(Model):
        id = BigIntegerField(primary_key=True)
        hash = BlobField()
        user_code = TextField(unique=True)
        application_id = BigIntegerField()
        epoch = IntegerField()
        scopes = TextField()
        interval = IntegerField(default=5)
        last_poll_at = BigIntegerField(null=True)
        created_at = BigIntegerField()
        expires_at = BigIntegerField()
        user_id = BigIntegerField(null=True)
        auth_time = BigIntegerField(null=True)
        session_id = BigIntegerField(null=True)
        approved_at = BigIntegerField(null=True)
        denied_at = BigIntegerField(null=True)
        used_at = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "device_code"

    db.create_tables([DeviceCode])

    class OneTimeLink(Model):
        hash = BlobField(primary_key=True)
        user_id = BigIntegerField(index=True, null=True)
        expires_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "one_time_link"

    db.create_tables([OneTimeLink])

    class Refusal(Model):
        id = BigIntegerField(primary_key=True)
        application_id = BigIntegerField()
        reason = TextField()
        detail = TextField(default="")
        key = TextField()
        reference = TextField(unique=True)
        count = IntegerField(default=1)
        first_at = BigIntegerField()
        last_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "refusal"
            indexes = (
                (("application_id", "reason", "key"), True),
                (("application_id", "last_at"), False),
            )

    db.create_tables([Refusal])

    class Scope(Model):
        name = TextField(primary_key=True)
        title = TextField()
        description = TextField()
        sensitive = BooleanField(default=False)
        builtin = BooleanField(default=False)
        created_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "scope"

    db.create_tables([Scope])

    class Session(Model):
        id = BigIntegerField(primary_key=True)
        hash = BlobField(unique=True)
        user_id = BigIntegerField(index=True)
        auth_time = BigIntegerField()
        created_at = BigIntegerField()
        last_seen_at = BigIntegerField()
        expires_at = BigIntegerField()
        address = TextField(default="")
        user_agent = TextField(default="")

        class Meta:
            database = db
            table_name = "session"

    db.create_tables([Session])

    class Throttle(Model):
        key = TextField(primary_key=True)
        tries = IntegerField(default=0)
        last_at = BigIntegerField()

        class Meta:
            database = db
            table_name = "throttle"

    db.create_tables([Throttle])

    class TokenFamily(Model):
        id = BigIntegerField(primary_key=True)
        application_id = BigIntegerField()
        user_id = BigIntegerField()
        epoch = IntegerField()
        scopes = TextField()
        refresh_hash = BlobField(null=True)
        previous_hash = BlobField(null=True)
        rotated_at = BigIntegerField(null=True)
        rotations = IntegerField(default=0)
        auth_time = BigIntegerField()
        session_id = BigIntegerField(null=True)
        created_at = BigIntegerField()
        last_used_at = BigIntegerField()
        expires_at = BigIntegerField(index=True)
        ended_at = BigIntegerField(null=True)
        ended_reason = TextField(null=True)

        class Meta:
            database = db
            table_name = "token_family"
            indexes = ((("user_id", "application_id"), False), (("application_id",), False))

    db.create_tables([TokenFamily])


def down(migrator, db):
    for table in (
        "token_family",
        "throttle",
        "session",
        "scope",
        "refusal",
        "one_time_link",
        "device_code",
        "consent",
        "authorization_code",
        "application_secret",
        "application",
        "user_account",
        "access_token",
    ):
        migrator.migrate(migrator.drop_table(table))
