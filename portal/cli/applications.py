"""`application …`: applications from the command line, by the rules of the form."""

from typing import Any

import click

from portal import audit
from portal.attention import needs_attention
from portal.cli.application_file import export, import_file
from portal.cli.application_settings import (
    as_dict,
    as_settings,
    change,
    check,
    find,
    follow_trust,
    read_day,
    read_options,
    settings_options,
)
from portal.cli.command import (
    BadInput,
    Group,
    command,
    current_settings,
    note,
    print_facts,
    print_json,
    print_json_rows,
    print_table,
)
from portal.cli.secrets import add_secret, retire_secret, secrets
from portal.cli.secrets import as_dict as secret_as_dict
from portal.cli.users import person_named
from portal.clock import now
from portal.database import transaction
from portal.models import Application, ApplicationSecret, Trust, User
from portal.models.application import TooManySecrets
from portal.oauth import effects
from portal.oauth.checkup import RED
from portal.oauth.checkup import check as check_up
from portal.text import ago, date
from portal.trust import told, usual_end

DAY = 24 * 60 * 60

application = Group("application", help="Applications that ask this portal for tokens.")
application.add_command(export)
application.add_command(import_file)
for _command in (secrets, add_secret, retire_secret):
    application.add_command(_command)


@command("create", application)
@click.option("--name", required=True, help="What people see.")
@click.option("--owner", required=True, help="Username or e-mail address.")
@settings_options
def create(name: str, owner: str, as_json: bool, **given: Any) -> None:
    """Add an application; its secret is printed once."""
    day = given.pop("trust_until")
    settings = {"name": name, **read_options(given)}
    ends_at = _end(settings, day)
    settings.setdefault("grants", [])
    with transaction():
        person = person_named(owner)
        check(settings)
        made, secret = Application.register(owner=person, **settings)
        audit.added(made)
        follow_trust(made, bool(settings.get("trusted")), ends_at)
    _print_with_secret(find(made.client_id), secret, f"{made.name} is ready.", as_json)


@command("list", application)
@click.option("--attention", is_flag=True, help="Only those that need attention or are broken.")
def list_applications(attention: bool, as_json: bool) -> None:
    """Every application, by name."""
    query = Application.select(Application, User).join(User)
    if attention:
        (lasting,), (lately,) = needs_attention(now())
        query = query.where(lasting | lately)
    rows = query.order_by(Application.name_key, Application.id).iterator()
    if as_json:
        print_json_rows(as_dict(row) for row in rows)
    else:
        print_table(
            ("Client ID", "Name", "Owner", "Flows", "Kind", "State", "Last used"),
            [
                (
                    row.client_id,
                    row.name,
                    row.owner.username,
                    ", ".join(row.flow_names),
                    "Confidential" if row.confidential else "Public",
                    "" if row.is_enabled else "Disabled",
                    ago(row.last_used_at),
                )
                for row in rows
            ],
        )


@command("show", application)
@click.argument("client_id", metavar="ID")
def show(client_id: str, as_json: bool) -> None:
    """One application; of its secrets only how they begin."""
    row = find(client_id)
    if as_json:
        print_json({**as_dict(row), "secrets": [secret_as_dict(s) for s in _secrets(row)]})
    else:
        live = [(f"secret {s.prefix}…", _secret_state(s)) for s in row.live_secrets]
        print_facts(row.name, [*_facts(row), *live])


@command("health", application)
@click.argument("client_id", metavar="ID")
@click.pass_context
def health(context: click.Context, client_id: str, as_json: bool) -> None:
    """What is wrong with an application, and what to do first.

    Exit code 1 when it is broken.
    """
    row = find(client_id)
    checkup = check_up(row)
    if as_json:
        print_json({"client_id": row.client_id, "health": checkup.colour, "checks": [
            {"check": it.check, "health": it.colour, "text": it.text, "advice": it.advice}
            for it in checkup.findings
        ]})  # fmt: skip
    else:
        click.echo(f"{row.name}: {checkup.words.lower()}")
        for it in checkup.findings:
            click.echo(f"{it.colour:<6} {it.text}{': ' if it.advice else ''}{it.advice}")
    if checkup.colour == RED:
        context.exit(1)


@command("update", application)
@click.argument("client_id", metavar="ID")
@click.option("--name")
@click.option("--owner", help="Username or e-mail address.")
@click.option("--dry-run", is_flag=True, help="Only say what the change would end.")
@settings_options
def update(
    client_id: str,
    name: str | None,
    owner: str | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Change the settings that are given; a list replaces the former list.

    "" empties a list that may be empty, such as --redirect-uri "".
    """
    with transaction():
        row = find(client_id)
        day = given.pop("trust_until")
        settings = read_options(given)
        ends_at = _end(settings, day)
        if name is not None:
            settings["name"] = name
        check({**as_settings(row), **settings})
        if owner is not None:
            settings["owner"] = person_named(owner)
        if not settings:
            raise BadInput("Say what to change, for example --name: see --help.")
        if not dry_run:
            with audit.changing("application.changed", row):
                secret = change(row, settings)
            follow_trust(row, bool(settings.get("trusted")), ends_at)
    if dry_run:
        _print_effects(row, settings, as_json)
        return
    _print_with_secret(find(client_id), secret, f"{row.name} is changed.", as_json)


@command("rotate-secret", application)
@click.argument("client_id", metavar="ID")
@click.option(
    "--keep-days",
    type=click.IntRange(0, 365),
    default=0,
    help="How long the old secret keeps working; 0 (default) stops it at once.",
)
def rotate_secret(client_id: str, keep_days: int, as_json: bool) -> None:
    """A new secret, printed once; it works at once."""
    row = find(client_id)
    if not row.confidential:
        raise BadInput(f"{row.name} is public and has no secret: update it with --confidential.")
    try:
        with audit.changing("application.rotated_secret", row):
            secret = row.rotate_secret(keep_days * DAY)
    except TooManySecrets as error:
        raise BadInput(str(error)) from None
    _print_with_secret(row, secret, f"{row.name} has a new secret.", as_json)


@command("disable", application)
@click.argument("client_id", metavar="ID")
def disable(client_id: str, as_json: bool) -> None:
    """Refuse every request; everything issued is dead at once and stays dead."""
    row = find(client_id)
    with audit.changing("application.disabled", row):
        row.disable()
    _done(row, f"{row.name} is disabled.", as_json)


@command("enable", application)
@click.argument("client_id", metavar="ID")
def enable(client_id: str, as_json: bool) -> None:
    """Serve it again; what was issued before stays dead."""
    row = find(client_id)
    with audit.changing("application.enabled", row):
        row.enable()
    _done(row, f"{row.name} is enabled.", as_json)


@command("delete", application)
@click.argument("client_id", metavar="ID")
def delete(client_id: str, as_json: bool) -> None:
    """Delete an application and everything issued to it."""
    row = find(client_id)
    with audit.deleting(row):
        row.remove()
    if as_json:
        print_json({"client_id": row.client_id, "deleted": True})
    else:
        click.echo(f"{row.name} is deleted.")


def _end(settings: dict[str, Any], day: str | None) -> int | None:
    """When the trust ends that is given here; marking it again gives it anew."""
    marked = settings.get("trusted")
    if day and not marked:
        raise BadInput("--trust-until says how long --trusted lasts: add --trusted.")
    return read_day(day) if day else usual_end() if marked else None


def _print_effects(row: Application, settings: dict[str, Any], as_json: bool) -> None:
    seconds = current_settings().access_token_seconds
    ends = [str(effect) for effect in effects.of_change(row, settings, seconds)]
    if as_json:
        print_json({"client_id": row.client_id, "effects": ends})
        return
    click.echo("\n".join(ends) or "It takes nothing away.")
    note("Nothing was changed: leave --dry-run out to change it.")


def _print_with_secret(row: Application, secret: str | None, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json({**as_dict(row), "client_secret": secret})
    else:
        facts: list[tuple[str, object]] = [("Client ID", row.client_id)]
        if secret:
            facts.append(("Client secret", f"{secret}   (shown only now)"))
        print_facts(sentence, facts)


def _done(row: Application, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(find(row.client_id)))
    else:
        click.echo(sentence)


def _facts(row: Application) -> list[tuple[str, object]]:
    yes_no = {True: "yes", False: "no"}
    return [
        ("client ID", row.client_id),
        ("owner", row.owner.username),
        ("flows", ", ".join(row.grants)),
        ("redirect URIs", "  ".join(row.redirect_uris)),
        ("after sign-out", "  ".join(row.post_logout_redirect_uris)),
        ("scopes", " ".join(row.scopes)),
        ("confidential", yes_no[row.confidential]),
        ("PKCE required", yes_no[row.require_pkce]),
        ("resource server", yes_no[row.resource_server]),
        ("token format", row.token_format),
        ("ID token algorithm", row.id_token_alg),
        ("account numbers", row.subject_type),
        ("resource servers", "  ".join(row.resources)),
        ("back-channel logout", row.backchannel_logout_uri),
        ("trusted", f"{yes_no[row.trusted]}  {row.trust_reason}".rstrip()),
        ("trust", told(row, Trust.of(row.id))),
        ("enabled", yes_no[row.is_enabled]),
        ("people connected", row.people_connected()),
        ("last used", ago(row.last_used_at)),
    ]


def _secrets(row: Application) -> list[ApplicationSecret]:
    rows = ApplicationSecret.select().where(ApplicationSecret.application == row)
    return list(rows.order_by(ApplicationSecret.id.desc()))


def _secret_state(secret: ApplicationSecret) -> str:
    until = f", until {date(secret.expires_at)}" if secret.expires_at else ""
    return f"made {date(secret.created_at)}, last used {ago(secret.last_used_at)}{until}"
