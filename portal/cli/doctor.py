"""`doctor`: is this installation sound, and does its public address lead here?"""

import click

from portal.cli import installation, public_address
from portal.cli.command import BadInput, command, current_settings, print_json
from portal.settings import SettingError, checked_issuer


@command("doctor")
@click.option("--url", help="Look there instead of at PORTAL_ISSUER.")
@click.pass_context
def doctor(context: click.Context, url: str | None, as_json: bool) -> None:
    """Check the installation and its public address; a problem says what to change.

    Exit code 1 when there is a problem. Run it with the server's environment while it runs.
    """
    settings = current_settings()
    try:
        base = checked_issuer(url.rstrip("/")) if url else settings.issuer
    except SettingError as error:
        raise BadInput(str(error).replace("PORTAL_ISSUER", "--url")) from None
    findings = []
    for found in (installation.look(settings), public_address.look(settings, base)):
        for finding in found:
            findings.append(finding)
            if not as_json:
                mark = "problem" if finding.is_problem else "ok"
                click.echo(f"{mark:<8} {finding.subject:<14} {finding.text}")
    problems = sum(finding.is_problem for finding in findings)
    if as_json:
        print_json(
            {
                "problems": problems,
                "checks": [
                    {"subject": subject, "ok": not is_problem, "text": text}
                    for subject, is_problem, text in findings
                ],
            }
        )
    if problems:
        context.exit(1)
