"""Trust that ends: what was approved, by whom and until when, and what waits for approval.

What is trusted already counts as approved as it is, for a year from now.
"""

import json
import time

from peewee import *

YEAR = 365 * 86400
BATCH = 500
ENDS = "application_trust_ends"


def up(migrator, db):
    # Peewee would make the SQLite table anew, without the triggers that search needs.
    moment = "INTEGER" if isinstance(db, SqliteDatabase) else "BIGINT"
    db.execute_sql(f"ALTER TABLE application ADD COLUMN trust_ends_at {moment}")
    db.execute_sql("ALTER TABLE application ADD COLUMN trust_approved TEXT NOT NULL DEFAULT ''")
    db.execute_sql(
        f"CREATE INDEX {ENDS} ON application (trust_ends_at) WHERE trust_ends_at IS NOT NULL"
    )

    class Trust(Model):
        application_id = BigIntegerField(primary_key=True)
        approved_at = BigIntegerField(null=True)
        approved_by = TextField(default="")
        approved_owner = TextField(default="")
        told_end = BigIntegerField(default=0)
        asked_at = BigIntegerField(null=True)
        asker_ids = TextField(default="")
        asked_by = TextField(default="")
        asked_until = BigIntegerField(null=True)
        asked_subject = TextField(default="")
        refused_at = BigIntegerField(null=True)
        refused_by = TextField(default="")
        note = TextField(default="")

        class Meta:
            database = db
            table_name = "trust"

    db.create_tables([Trust])
    db.execute_sql("CREATE INDEX trust_asked ON trust (asked_at) WHERE asked_at IS NOT NULL")
    approve_existing(db, Trust)


def approve_existing(db, trust):
    mark = trust._meta.database.param
    now = int(time.time())
    trusted = db.execute_sql(
        "SELECT a.id, a.redirect_uris, a.scopes, a.owner_id, a.confidential, u.username"
        " FROM application a JOIN user_account u ON u.id = a.owner_id WHERE a.trusted"
    ).fetchall()
    rows = []
    for row_id, uris, scopes, owner_id, confidential, owner in trusted:
        what = [sorted(uris.split()), sorted(scopes.split()), owner_id, bool(confidential)]
        text = json.dumps(what, ensure_ascii=False, separators=(",", ":"))
        db.execute_sql(
            f"UPDATE application SET trust_ends_at = {mark}, trust_approved = {mark},"
            f" version = version + 1 WHERE id = {mark}",
            (now + YEAR, text, row_id),
        )
        rows.append(
            {
                "application_id": row_id,
                "approved_at": now,
                "approved_by": "upgrade",
                "approved_owner": owner,
            }
        )
    for start in range(0, len(rows), BATCH):
        trust.insert_many(rows[start : start + BATCH]).execute()


def down(migrator, db):
    migrator.migrate(migrator.drop_table("trust"))
    db.execute_sql(f"DROP INDEX {ENDS}")
    db.execute_sql("ALTER TABLE application DROP COLUMN trust_approved")
    db.execute_sql("ALTER TABLE application DROP COLUMN trust_ends_at")
