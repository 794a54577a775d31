"""`application device-code`: play the device, with the QR code that a device would show."""

import io

import click

from portal.cli.application_settings import find
from portal.cli.applications import application
from portal.cli.command import BadInput, command, current_settings, print_json
from portal.copying import see_whole
from portal.database import database
from portal.models import DeviceCode
from portal.models.application import DEVICE_CODE
from portal.models.scope import DEFAULT_SCOPE
from portal.text import lasting


@command("device-code", application)
@click.argument("client_id")
@click.option("--scope", "scopes", default=DEFAULT_SCOPE, help='What to ask for: "openid email".')
def device_code(client_id: str, scopes: str, as_json: bool) -> None:
    """Start a device's sign-in and show the code, the address and a QR code for a phone.

    The device then asks for its tokens with the curl that is printed.
    """
    see_whole(database.obj)
    row, asked = find(client_id), scopes.split()
    if not row.is_enabled or not row.allows_grant(DEVICE_CODE):
        raise BadInput(f"{row.name} may not use Device Code: tick it, or enable the application.")
    foreign = sorted(set(asked) - {*row.scopes, DEFAULT_SCOPE})
    if foreign:
        raise BadInput(f"{row.name} may not ask for {' '.join(foreign)}: leave it out.")
    settings = current_settings()
    made, code = DeviceCode.start(row.id, row.epoch, asked, settings.device_code_seconds)
    page = f"{settings.issuer}/device"
    complete = f"{page}?user_code={made.shown_code}"
    if as_json:
        print_json(
            {
                "device_code": code,
                "user_code": made.shown_code,
                "verification_uri": page,
                "verification_uri_complete": complete,
                "expires_in": settings.device_code_seconds,
            }
        )
        return
    secret = '-u "$CLIENT_ID:$CLIENT_SECRET"' if row.confidential else f"-d client_id={client_id}"
    click.echo(f"Open {page} and enter {made.shown_code}, or scan this:\n")
    click.echo(qr_code(complete))
    click.echo(
        f"The code lives {lasting(settings.device_code_seconds)}. The device asks for its tokens"
        f" with:\n  curl {secret} -d grant_type={DEVICE_CODE}"
        f" -d device_code={code} {settings.issuer}/oauth/token"
    )


def qr_code(text: str) -> str:
    """A QR code in half-block characters, for a terminal."""
    import segno

    out = io.StringIO()
    segno.make(text, error="l").terminal(out, compact=True, border=2)
    return out.getvalue()
