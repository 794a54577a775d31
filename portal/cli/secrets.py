"""`application secrets`, `add-secret` and `retire-secret`: change a secret without downtime."""

from datetime import UTC, datetime
from typing import Any

import click

from portal import rotation
from portal.cli.application_settings import find
from portal.cli.command import BadInput, command, print_facts, print_json, print_table
from portal.clock import now
from portal.models import Application, ApplicationSecret
from portal.models.application import TooManySecrets
from portal.text import DAY, ago, date, iso


@command("secrets")
@click.argument("client_id", metavar="ID")
def secrets(client_id: str, as_json: bool) -> None:
    """The secrets that work: how they begin, when they were used, and whether they may go."""
    live = find(client_id).live_secrets
    if as_json:
        print_json([{**as_dict(it), "advice": rotation.verdict(it, live).text} for it in live])
        return
    print_table(
        ("Secret", "Name", "Created", "Stops", "Last used", "From", "Advice"),
        [
            (
                f"{it.prefix}…",
                it.name,
                date(it.created_at),
                _stops(it),
                ago(it.last_used_at),
                it.last_used_from,
                rotation.verdict(it, live).text,
            )
            for it in live
        ],
    )


@command("add-secret")
@click.argument("client_id", metavar="ID")
@click.option("--name", default="", help="Where it will be used.")
@click.option("--expires-days", type=click.IntRange(1, 3650), help="It stops after so many days.")
def add_secret(client_id: str, name: str, expires_days: int | None, as_json: bool) -> None:
    """Another secret, printed once; the others go on working."""
    row = find(client_id)
    if not row.confidential:
        raise BadInput(f"{row.name} is public and has no secret: update it with --confidential.")
    name = name.strip()
    if len(name) > rotation.NAME_LENGTH or not name.isprintable():
        raise BadInput(f"Give --name at most {rotation.NAME_LENGTH} visible characters.")
    try:
        secret = rotation.add(row, name, now() + expires_days * DAY if expires_days else None)
    except TooManySecrets as error:
        raise BadInput(str(error)) from None
    made = row.live_secrets[0]
    if as_json:
        print_json({**as_dict(made), "client_id": row.client_id, "client_secret": secret})
        return
    print_facts(
        f"{row.name} has another secret; the others go on working.",
        [
            ("Client ID", row.client_id),
            ("Client secret", f"{secret}   (shown only now)"),
            ("Stops", _stops(made)),
        ],
    )


@command("retire-secret")
@click.argument("client_id", metavar="ID")
@click.argument("prefix")
@click.option("--on", "on", metavar="DATE", help="Not now, but after this day (UTC): 2026-12-31.")
@click.option(
    "--unused-days",
    type=click.Choice([str(days) for days in rotation.UNUSED_DAYS]),
    help="Not now, but by itself once unused for so many days.",
)
def retire_secret(
    client_id: str, prefix: str, on: str | None, unused_days: str | None, as_json: bool
) -> None:
    """Retire the secret that begins with PREFIX: now, after a day, or once it is unused."""
    row = find(client_id)
    secret = _secret_like(row, prefix)
    if on and unused_days:
        raise BadInput("Give --on or --unused-days, not both.")
    if on or unused_days:
        end = _end_of(on) if on else None
        days = int(unused_days) if unused_days else None
        done = rotation.change(row, secret, expires_at=end, retire_unused_days=days)
        sentence = f"The secret {secret.prefix}… stops {_stops(secret)}."
    else:
        sentence = f"The secret {secret.prefix}… is retired; it was {rotation.last_use(secret)}."
        done = rotation.retire(row, secret)
    if not done:
        raise BadInput(f"The secret {secret.prefix}… was retired a moment ago.")
    if as_json:
        print_json(as_dict(ApplicationSecret.get_by_id(secret.id)))
    else:
        click.echo(sentence)


def as_dict(secret: ApplicationSecret) -> dict[str, Any]:
    """A secret as JSON shows it: never the secret itself."""
    moments = ("created_at", "expires_at", "last_used_at", "retired_at")
    return {
        "prefix": secret.prefix,
        "name": secret.name,
        "live": secret.is_live,
        **{name: iso(at) if (at := getattr(secret, name)) else None for name in moments},
        "last_used_from": secret.last_used_from or None,
        "retire_unused_days": secret.retire_unused_days,
    }


def _stops(secret: ApplicationSecret) -> str:
    if secret.expires_at:
        return f"after {date(secret.expires_at)}"
    if secret.retire_unused_days:
        return f"once unused for {secret.retire_unused_days} days"
    return "never"


def _secret_like(row: Application, prefix: str) -> ApplicationSecret:
    wanted = prefix.rstrip("….")
    found = [it for it in row.live_secrets if wanted and it.prefix.startswith(wanted)]
    if not found:
        raise BadInput(
            f"No secret of {row.name} that works begins with {wanted[:20]!r}: application secrets"
            f" {row.client_id} shows them."
        )
    if len(found) > 1:
        raise BadInput(f"{len(found)} secrets begin with {wanted!r}: give more of it.")
    return found[0]


def _end_of(day: str) -> int:
    try:
        end = int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) + DAY - 1
    except ValueError:
        raise BadInput("Write the day of --on like 2026-12-31.") from None
    if not now() < end <= now() + rotation.FURTHEST_SECONDS:
        raise BadInput("Give --on today or a later day, within ten years.")
    return end
