"""`application setup`: an application's settings, ready to paste into its software."""

import click

from portal import cards
from portal.cli.application_settings import find
from portal.cli.applications import application
from portal.cli.command import BadInput, command, current_settings, note, print_json, print_table


@command("setup", application)
@click.argument("client_id", metavar="ID")
@click.option("--for", "name", metavar="CARD", help="What it is: grafana, django, curl, …")
def setup(client_id: str, name: str | None, as_json: bool) -> None:
    """Its settings in the words of its software; without --for, what there is a card for."""
    row = find(client_id)
    if name is None:
        _list(as_json)
        return
    card = cards.card_named(name)
    if card is None:
        known = ", ".join(card.name for card in cards.CARDS)
        raise BadInput(f"There is no card {name!r}: use {known}.")
    filled = cards.fill(card, row, current_settings().issuer)
    if as_json:
        print_json(
            {
                "card": card.name,
                "files": [text._asdict() for text in filled.texts],
                "problems": [problem.sentence for problem in filled.problems],
            }
        )
        return
    for problem in filled.problems:
        note(f"Warning: {problem.sentence}")
    for text in filled.texts:
        # One text goes to a file as it is; several need their names between them.
        if len(filled.texts) > 1:
            click.echo(f"==> {text.title} <==")
        click.echo(text.content)


def _list(as_json: bool) -> None:
    if as_json:
        print_json([{"card": it.name, "title": it.title, "kind": it.kind} for it in cards.CARDS])
    else:
        rows = [(it.name, it.title, it.callback_shown) for it in cards.CARDS]
        print_table(("Card", "For", "Called back at"), rows)
