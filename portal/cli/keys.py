"""`keys …`: the keys that sign ID tokens, logout tokens and JWT access tokens."""

import click

from portal import audit
from portal.cli.command import BadInput, Group, command, print_json, print_table
from portal.database import transaction
from portal.models import SigningKey
from portal.models.signing_key import ANNOUNCE_SECONDS, EC, READY, RSA
from portal.oauth import current_server
from portal.text import date, iso

KINDS = {"ec": (EC,), "rsa": (RSA,), "all": (EC, RSA)}
SIGNS_WITH = {EC: "ES256", RSA: "RS256 PS256"}

keys = Group("keys", help="Keys that sign tokens; each is replaced by itself every 90 days.")


@command("list", keys)
def list_keys(as_json: bool) -> None:
    """Every key, the oldest first; never its private part."""
    rows = list(SigningKey.select().order_by(SigningKey.id))
    if as_json:
        print_json([_as_dict(row, rows) for row in rows])
        return
    print_table(
        ("Key ID", "Algorithms", "State", "Made", "Signs from", "Published until"),
        [
            (
                row.kid,
                SIGNS_WITH[row.kind],
                _state(row, rows),
                date(row.created_at),
                date(row.active_at),
                date(row.ends_at) if row.ends_at else "",
            )
            for row in rows
        ],
    )


@command("rotate", keys)
@click.argument("kind", metavar="KIND", type=click.Choice(list(KINDS)))
@click.option("--now", "at_once", is_flag=True, help="Sign with it at once: a key has leaked.")
def rotate(kind: str, at_once: bool, as_json: bool) -> None:
    """A new key: ec, rsa or all. It is published an hour before it signs."""
    ring = current_server().keys
    if not at_once:  # with another secret key nothing could be signed once it is its turn
        for present in SigningKey.published():
            present.unlocked(ring.encryption_key)
    with transaction():
        made = [
            SigningKey.rotate(
                name,
                ring.encryption_key,
                announce_seconds=0 if at_once else ANNOUNCE_SECONDS,
                keep_seconds=ring.keep_seconds,
            )
            for name in KINDS[kind]
        ]
        for row in made:
            audit.record("key.rotated", subject=row.kid, after={"signs_from": iso(row.active_at)})
    ring.forget()
    if as_json:
        rows = list(SigningKey.select())
        print_json([_as_dict(row, rows) for row in made])
        return
    for row in made:
        when = "within a minute" if at_once else f"from {iso(row.active_at)}"
        click.echo(f"{row.kid} signs {when}.")
    if at_once:
        click.echo("The former keys still prove what they signed: retire the one that leaked.")


@command("retire", keys)
@click.argument("kid", metavar="KID")
def retire(kid: str, as_json: bool) -> None:
    """Stop publishing a key at once: nothing that it signed is believed any more."""
    row = SigningKey.get_or_none(SigningKey.kid == kid) if "\0" not in kid else None
    if row is None:
        raise BadInput(f"There is no key {kid!r}: keys list shows the key IDs.")
    with transaction():
        if not row.retire():
            kind = row.kind.lower()
            raise BadInput(
                f"{kid} is the only {row.kind} key that can sign: run keys rotate {kind} --now"
                " first."
            )
        audit.record("key.retired", subject=row.kid)
    current_server().keys.forget()
    if as_json:
        print_json(_as_dict(SigningKey.get_by_id(row.id), list(SigningKey.select())))
    else:
        click.echo(f"{kid} is retired.")


def _state(row: SigningKey, rows: list[SigningKey]) -> str:
    """What the key does now: announced, signs, kept (to check what it signed) or ended."""
    if row.state != READY:
        return row.state
    signer = SigningKey.signer(rows, row.kind)
    return "signs" if signer and signer.id == row.id else "kept"


def _as_dict(row: SigningKey, rows: list[SigningKey]) -> dict[str, object]:
    return {
        "kid": row.kid,
        "kind": row.kind.lower(),
        "algorithms": SIGNS_WITH[row.kind].split(),
        "state": _state(row, rows),
        "created_at": iso(row.created_at),
        "active_at": iso(row.active_at),
        "ends_at": iso(row.ends_at) if row.ends_at else None,
    }
