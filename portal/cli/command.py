"""What every command shares: `--json`, one line for an error, and its exit code."""

import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext
from peewee import DatabaseError, InterfaceError

from portal.copying import HalfCopied
from portal.database import (
    Unwritable,
    database,
    describe,
    is_missing,
    on_sqlite,
    pending_migrations,
)
from portal.letters import MOST_REPEATED, is_whole, printable
from portal.models.signing_key import WrongSecretKey
from portal.settings import Settings

#: Wide enough for a redirect URI; a table that goes to a file is never cut.
PIPE_WIDTH = 200


class BadInput(click.ClickException):
    """What was asked for cannot be done as it stands: one line that says what to change."""

    exit_code = 2


class Failure(click.ClickException):
    """It should have worked: one line that says what went wrong and what to do."""

    exit_code = 1


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn Click's usage block and the database's errors into a line each."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise BadInput(" ".join(error.format_message().split())) from None
    except (HalfCopied, WrongSecretKey) as error:
        raise Failure(str(error)) from None
    except (DatabaseError, InterfaceError) as error:
        raise Failure(_database_trouble(error)) from None


def _database_trouble(error: Exception) -> str:
    if isinstance(error, Unwritable):
        return f"{error}. Whoever runs this must be able to write into that folder."
    where = describe(current_settings().database_url)
    try:
        database.close()
        if missing := upgrade_needed():
            return missing
    except (DatabaseError, InterfaceError) as away:
        reason = str(away).partition("\n")[0].rstrip(":. ")
        remedy = "it may be read and written to" if on_sqlite() else "it runs"
        return (
            f"The database {where} cannot be reached ({reason}): check DATABASE_URL and that"
            f" {remedy}."
        )
    if "prepared statement" in str(error):
        return f"The database {where} is behind a pooler: add ?prepare=off to DATABASE_URL."
    return f"The database {where} refused: {' '.join(str(error).split())}."


def upgrade_needed() -> str | None:
    """What to run before the database can be used; None when it can."""
    if not pending_migrations():
        return None
    if not is_missing() and database.table_exists("user_account"):
        return "The database is not up to date: run flask --app wsgi db upgrade first."
    where = describe(current_settings().database_url)
    return (
        f"There is no portal in {where} yet: check DATABASE_URL, or make a new one with flask --app"
        " wsgi db upgrade."
    )


class Command(click.Command):
    """A command whose errors are one line each."""

    def make_context(
        self, info_name: str | None, args: list[str], *rest: Any, **extra: Any
    ) -> click.Context:
        with _one_line():
            if not all(map(is_whole, args)):
                raise BadInput(f"This is not UTF-8: {printable(' '.join(args), MOST_REPEATED)}")
            return super().make_context(info_name, args, *rest, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line():
            return super().invoke(ctx)


class Group(click.Group):
    """Commands about one subject: `user create`, `user list`."""

    command_class = Command

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line():
            return super().invoke(ctx)


def command(name: str | None = None, group: Group | None = None) -> Callable[[Callable], Command]:
    """A command of the portal: it has the app, and `--json` arrives as `as_json`."""

    def decorate(function: Callable) -> Command:
        option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
        make: Any = group.command if group else click.command
        return make(name, cls=Command)(option(with_appcontext(function)))

    return decorate


def current_settings() -> Settings:
    return current_app.extensions["portal.settings"]


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_rows(rows: Iterable[object]) -> None:
    """One JSON document on standard output: a list that need not fit in memory."""
    separator = "[\n"
    for row in rows:
        text = json.dumps(row, indent=2, ensure_ascii=False)
        click.echo(separator + textwrap.indent(text, "  "), nl=False)
        separator = ",\n"
    click.echo("[]" if separator == "[\n" else "\n]")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under headings, as wide as the terminal."""
    # The server has the commands in memory, too, but never a table.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for row in rows:
        # As plain text: a name may hold what looks like markup.
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(table)


def print_facts(title: str, facts: Sequence[tuple[str, object]]) -> None:
    """A title and, indented under it, what there is to know."""
    click.echo(title)
    width = max(len(name) for name, _ in facts) + 2
    for name, value in facts:
        click.echo(f"  {name:<{width}}{value}".rstrip())


def note(text: str) -> None:
    """A remark for the person, out of a program's way."""
    click.echo(text, err=True)
