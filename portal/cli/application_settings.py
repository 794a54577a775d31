"""An application's settings as the commands read, check, change and show them."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time
from typing import Any

import click

from portal import approval, trust
from portal.cli.command import BadInput, note
from portal.models import Application, Scope
from portal.models.application import DEVICE_CODE, GRANTS
from portal.models.signing_key import ALGORITHMS
from portal.oauth.application_rules import (
    NEW,
    SUBJECT_TYPES,
    TOKEN_FORMATS,
    problems,
    warnings,
)
from portal.text import iso

FORMAT_HELP = "opaque: checked by asking Portal; jwt: checked by anybody."
SUBJECT_HELP = "pairwise: account numbers that only this application sees."
RESOURCE_HELP = "A resource server that its tokens may be for; repeat for more."
GRANT_NAMES = {"device_code": DEVICE_CODE, **{grant: grant for grant in GRANTS}}


def settings_options(function: Callable) -> Callable:
    """The options of `create` and `update`."""
    options = (
        click.option("--grant", "grants", multiple=True, help=f"{', '.join(GRANT_NAMES)}; repeat."),
        click.option("--redirect-uri", "redirect_uris", multiple=True, help="Repeat for more."),
        click.option("--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True),
        click.option("--scope", "scopes", multiple=True, help='"openid email"; may be repeated.'),
        click.option("--confidential/--public", default=None, help="Can it keep a secret?"),
        click.option("--trusted/--untrusted", default=None, help="Skip the consent page."),
        click.option("--trust-reason", help="Why it is trusted, for a later review."),
        click.option("--trust-until", metavar="DAY", help="Its last day, UTC; a year if not said."),
        click.option("--pkce/--no-pkce", "require_pkce", default=None, help="On by default."),
        click.option("--resource-server/--no-resource-server", default=None),
        click.option("--token-format", type=click.Choice(TOKEN_FORMATS), help=FORMAT_HELP),
        click.option("--id-token-alg", type=click.Choice(list(ALGORITHMS)), help="RS256 at first."),
        click.option("--subject-type", type=click.Choice(SUBJECT_TYPES), help=SUBJECT_HELP),
        click.option("--resource", "resources", multiple=True, help=RESOURCE_HELP),
        click.option("--backchannel-logout-uri", help="Told when a person signs out."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def find(client_id: str) -> Application:
    """The application with this client ID; BadInput when there is none."""
    row = None if "\0" in client_id else Application.with_client_id(client_id)
    if row is None:
        raise BadInput(
            f"There is no application {client_id!r}: application list shows the client IDs."
        )
    return row


def as_dict(row: Application) -> dict[str, object]:
    """An application as JSON shows it."""
    return {
        "client_id": row.client_id,
        "owner": row.owner.username,
        **as_settings(row),
        "trust_until": trust_until(row),
        "skips_consent": row.skips_consent,
        "enabled": row.is_enabled,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
        "last_used_at": iso(row.last_used_at) if row.last_used_at else None,
    }


def read_options(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that the command line names; an empty list option stays as it is."""
    settings = {key: value for key, value in options.items() if value not in (None, ())}
    for name in ("redirect_uris", "post_logout_redirect_uris", "resources"):
        if name in settings:
            settings[name] = [uri for uri in dict.fromkeys(settings[name]) if uri]
    if "scopes" in settings:
        settings["scopes"] = list(dict.fromkeys(" ".join(settings["scopes"]).split()))
    if "grants" in settings:
        settings["grants"] = read_grants(settings["grants"])
    return settings


def read_grants(names: Iterable[str]) -> list[str]:
    """Grants by their short or full names, in the model's order."""
    wanted = set()
    for name in names:
        if name not in GRANT_NAMES:
            raise BadInput(f"There is no grant {name!r}: use {', '.join(GRANT_NAMES)}.")
        wanted.add(GRANT_NAMES[name])
    return [grant for grant in GRANTS if grant in wanted]


def read_day(text: str) -> int:
    """The end of a day such as 2027-12-31, when trust may end then."""
    try:
        start = datetime.combine(date.fromisoformat(text), time.min, UTC)
    except ValueError:
        raise BadInput(f"{text!r} is no day: write --trust-until 2027-12-31.") from None
    end = trust.end_of_day(int(start.timestamp()))
    if problem := trust.end_problem(end):
        raise BadInput(problem)
    return end


def trust_until(row: Application) -> str | None:
    """The last day of its approved trust."""
    return trust.day(row.trust_ends_at) if row.trusted and row.trust_ends_at else None


def follow_trust(row: Application, marked: bool, ends_at: int | None) -> None:
    """Approve what the command line marks as trusted; say when trust waits for approval."""
    approval.follow(row, ends_at, operator=marked)
    fresh = find(row.client_id)
    if fresh.trusted and not fresh.skips_consent:
        note(
            f"Warning: people see the consent page of {fresh.name} until an administrator"
            " approves its trust. --trusted approves it as it is now."
        )


def check(settings: dict[str, Any]) -> None:
    found = problems(settings, {row.name for row in Scope.select(Scope.name)})
    if found:
        more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
        raise BadInput(f"{found[0].sentence}{more}")
    for sentence in warnings(settings):
        note(f"Warning: {sentence}")


def change(row: Application, settings: dict[str, Any]) -> str | None:
    """Change an application; returns a secret when it needs its first one."""
    row.change(**settings)
    if row.confidential and not row.live_secrets:
        return row.add_secret()
    return None


def as_settings(row: Application) -> dict[str, Any]:
    """An application's settings, as `Application.change` takes them."""
    return {name: getattr(row, name) for name in NEW}
