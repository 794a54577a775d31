"""The link that confirms an e-mail address."""

from peewee import *


def up(migrator, db):
    field = TextField(null=True)
    migrator.migrate(migrator.add_column("user_account", "email_link", field))


def down(migrator, db):
    migrator.migrate(migrator.drop_column("user_account", "email_link"))
