"""`demo`: what `make run` starts with, to try the portal out."""

from typing import NamedTuple

import click

from portal import audit
from portal.cli.command import command, current_settings, print_json
from portal.cli.data import upgrade_database
from portal.cli.users import make_setup_link
from portal.database import transaction
from portal.models import Application, ApplicationSecret, Scope, User
from portal.models.application import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN

OWNER = "demo"
SCOPE = "reports:read"
CLIENT_ID = "demo"
WEB_CLIENT_ID = "demo-web"
WEB_REDIRECT_URI = "http://localhost:9000/callback"


class Demo(NamedTuple):
    """What to show; the secret and the link leave here and nowhere else."""

    client_id: str
    client_secret: str
    curl: str
    #: None once there is an administrator.
    setup_link: str | None


@command("demo")
def demo(as_json: bool) -> None:
    """Add the demo data of `make run`; the demo application gets a new secret."""
    upgrade_database()
    issuer = current_settings().issuer
    made = make_demo(issuer)
    if as_json:
        print_json(made._asdict())
    else:
        click.echo(_facts(made))


def make_demo(issuer: str) -> Demo:
    """Make the demo data, or put it right again; the secret of the last time stops working."""
    with transaction():
        owner = User.named(OWNER) or User.register(OWNER, "demo@example.org", name="Demo owner")
        if not Scope.get_or_none(Scope.name == SCOPE):
            Scope.register(SCOPE, "Read your reports", "View every report you can view.")
        machine = _application(
            CLIENT_ID, owner, "Acme Reports", grants=[CLIENT_CREDENTIALS], scopes=[SCOPE]
        )
        _application(
            WEB_CLIENT_ID,
            owner,
            "Acme Wiki",
            grants=[AUTHORIZATION_CODE, REFRESH_TOKEN],
            redirect_uris=[WEB_REDIRECT_URI],
            scopes=["openid", "profile", "email", SCOPE],
            confidential=False,
        )
        # Only its hash was kept, so the former secret cannot be shown again.
        ApplicationSecret.delete().where(ApplicationSecret.application == machine).execute()
        secret = machine.add_secret()
        link = None if User.administrators() else make_setup_link(issuer)
        audit.record("portal.demo")
    curl = (
        f"curl -u {CLIENT_ID}:{secret} -d grant_type=client_credentials -d scope={SCOPE}"
        f" {issuer}/oauth/token"
    )
    return Demo(CLIENT_ID, secret, curl, link)


def _application(client_id: str, owner: User, name: str, **settings: object) -> Application:
    """The demo application as it should be, whatever became of it."""
    row = Application.with_client_id(client_id)
    if row is None:
        return Application.register(client_id=client_id, name=name, owner=owner, **settings)[0]  # type: ignore[arg-type]
    row.change(**settings)
    row.enable()
    return row


def ready_block(issuer: str, made: Demo) -> str:
    """What `make run` prints when the server answers."""
    return "\n".join(
        (
            "",
            f"Portal is ready           {issuer}",
            _facts(made),
            "Stop: Ctrl+C    Start afresh: make clean-data",
            "",
        )
    )


def _facts(made: Demo) -> str:
    first = [f"Sign in as first admin    {made.setup_link}   (once, 15 minutes)"]
    return "\n".join(
        (
            *(first if made.setup_link else ()),
            f"Demo application          Acme Reports   client ID {made.client_id}",
            "Try it now:",
            f"  {made.curl}",
        )
    )
