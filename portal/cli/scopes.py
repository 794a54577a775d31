"""`scope …`: the catalogue from the command line."""

import click
from peewee import IntegrityError

from portal import approval, audit
from portal.cli.command import BadInput, Group, command, print_json, print_table
from portal.database import transaction
from portal.models import Application, Scope
from portal.models.scope import SCOPE_NAME

TITLE_LENGTH = 100
DESCRIPTION_LENGTH = 300
#: How many applications a message names.
NAMED = 5

scope = Group("scope", help="What applications may ask for.")


@command("list", scope)
def list_scopes(as_json: bool) -> None:
    """The catalogue: built-in scopes first."""
    scopes = Scope.catalogue()
    if as_json:
        print_json([_as_dict(row) for row in scopes])
    else:
        print_table(
            ("Name", "Title", "Description", "Sensitive", "Built in"),
            [
                (s.name, s.title, s.description, _tick(s.sensitive), _tick(s.builtin))
                for s in scopes
            ],
        )


@command("create", scope)
@click.argument("name")
@click.option("--title", required=True, help='What people read first: "Read your reports".')
@click.option("--description", required=True, help="One sentence under the title.")
@click.option("--sensitive", is_flag=True, help="Ask people to look twice.")
def create(name: str, title: str, description: str, sensitive: bool, as_json: bool) -> None:
    """Add a scope that applications may then be given."""
    title, description = title.strip(), description.strip()
    if not SCOPE_NAME.fullmatch(name):
        raise BadInput(
            "Use letters, digits and : . _ / - in the scope's name, at most 64, and start with"
            " a letter or a digit."
        )
    for what, text, most in (
        ("title", title, TITLE_LENGTH),
        ("description", description, DESCRIPTION_LENGTH),
    ):
        if not text or len(text) > most or not text.isprintable():
            raise BadInput(f"Give a {what} of 1 to {most} characters on one line (--{what}).")
    try:
        with transaction():
            made = Scope.register(name, title, description, sensitive)
            audit.added(made)
    except IntegrityError:
        raise BadInput(f"There is a scope {name} already: choose another name.") from None
    if as_json:
        print_json(_as_dict(made))
    else:
        click.echo(f"Scope {made.name} is in the catalogue.")


@command("delete", scope)
@click.argument("name")
@click.option("--force", is_flag=True, help="Also when applications have it; they lose it.")
def delete(name: str, force: bool, as_json: bool) -> None:
    """Take a scope out of the catalogue."""
    row = Scope.get_or_none(Scope.name == name) if SCOPE_NAME.fullmatch(name) else None
    if row is None:
        raise BadInput(f"There is no scope {name!r}: scope list shows all of them.")
    users = list(Application.allowed_scope(row.name))
    holders = [application.name for application in users]
    if holders and not force and not row.builtin:
        more = f" and {len(holders) - NAMED} more" if len(holders) > NAMED else ""
        raise BadInput(
            f"{row.name} is used by {', '.join(holders[:NAMED])}{more}: take it from them first,"
            " or use --force."
        )
    try:
        with transaction():
            with audit.deleting(row):
                row.remove()
            for application in users:
                approval.follow(application)
    except ValueError as error:
        raise BadInput(str(error)) from None
    if as_json:
        print_json({"name": row.name, "deleted": True, "applications": len(holders)})
    else:
        click.echo(f"Scope {row.name} is deleted.")


def _as_dict(row: Scope) -> dict[str, object]:
    return {
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "sensitive": row.sensitive,
        "builtin": row.builtin,
    }


def _tick(value: bool) -> str:
    return "yes" if value else ""
