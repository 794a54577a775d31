"""Commands: `flask --app wsgi …`. Each one calls the models; each takes `--json`."""

from flask import Flask

from portal.cli import (
    audit,
    backups,
    data,
    demo,
    devices,  # noqa: F401 (adds `application device-code`)
    doctor,
    keys,
    scopes,
    server,
    setup_cards,
    users,
)

COMMANDS = (
    server.serve,
    data.db,
    data.assets,
    data.cleanup,
    doctor.doctor,
    audit.audit,
    backups.backup,
    backups.restore,
    users.user,
    users.setup_link,
    setup_cards.application,
    scopes.scope,
    keys.keys,
    demo.demo,
)


def init_app(app: Flask) -> None:
    """Register the commands."""
    for command in COMMANDS:
        app.cli.add_command(command)
