"""The file of `application export` and `import`: settings without secrets, YAML or JSON."""

import difflib
import json
import re
import sys
from collections.abc import Iterable
from datetime import date
from typing import Any

import click

from portal import approval, audit
from portal.cli.application_settings import (
    as_settings,
    change,
    check,
    find,
    read_day,
    read_grants,
    trust_until,
)
from portal.cli.command import BadInput, command, print_json
from portal.cli.users import person_named
from portal.letters import is_whole
from portal.models import Application, User
from portal.oauth.application_rules import RESERVED_CLIENT_IDS

#: What a file may say about an application, and as what. `grants` also takes `device_code`.
KEYS: dict[str, type] = {
    "client_id": str,
    "name": str,
    "owner": str,
    "grants": list,
    "redirect_uris": list,
    "post_logout_redirect_uris": list,
    "scopes": list,
    "confidential": bool,
    "require_pkce": bool,
    "resource_server": bool,
    "token_format": str,
    "id_token_alg": str,
    "subject_type": str,
    "resources": list,
    "backchannel_logout_uri": str,
    "trusted": bool,
    "trust_reason": str,
    "trust_until": str,
    "enabled": bool,
}
KINDS = {str: "text", list: "a list of texts", bool: "true or false"}
#: RFC 6749 appendix A.1, less what a URL or a shell would need quoted.
CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,100}")
MOST_BYTES = 16 * 1024 * 1024


@command("export")
@click.argument("client_ids", metavar="[ID]…", nargs=-1)
def export(client_ids: tuple[str, ...], as_json: bool) -> None:
    """Settings as YAML (or JSON), without secrets, for `application import`."""
    query = Application.select(Application, User).join(User).order_by(Application.id)
    rows = [find(client_id) for client_id in client_ids] if client_ids else list(query)
    write_file(rows, as_json)


@command("import")
@click.argument("path", metavar="FILE", type=click.Path(allow_dash=True))
def import_file(path: str, as_json: bool) -> None:
    """Create or update applications by client ID, all or none; "-" reads standard input."""
    entries = read_file(path)
    with audit.many():
        results = [_import(place, entry) for place, entry in enumerate(entries, 1)]
    if as_json:
        print_json({"applications": results})
    else:
        for result in results:
            click.echo(f"{result['client_id']}  {result['action']}")
            if result["client_secret"]:
                click.echo(f"  Client secret (shown only now)  {result['client_secret']}")


def _import(place: int, entry: dict[str, Any]) -> dict[str, Any]:
    """Make one application what the file says."""
    settings = dict(entry)
    day = settings.pop("trust_until", None)
    client_id, enabled = settings.pop("client_id"), settings.pop("enabled", None)
    at = f"Application {place} ({client_id})"
    row, secret = Application.with_client_id(client_id), None
    try:
        ends_at = read_day(day) if day and _is_news(row, day) else None
        if client_id in RESERVED_CLIENT_IDS:
            raise BadInput("This client ID is the address of another page: choose another one.")
        if "grants" in settings:
            settings["grants"] = read_grants(settings["grants"])
        if "owner" in settings:
            settings["owner"] = person_named(settings["owner"])
        elif row is None:
            raise BadInput("Name its owner.")
        check({**(as_settings(row) if row else {}), **settings})
    except BadInput as error:
        raise BadInput(f"{at}: {error.message} Nothing was imported.") from None
    if row is None:
        settings.setdefault("grants", [])
        row, secret = Application.register(client_id=client_id, **settings)
        audit.added(row)
        approval.follow(row, ends_at, operator=bool(entry.get("trusted")))
        action = "created"
    else:
        former = {**as_settings(row), "owner": row.owner.id}
        news = {k: v for k, v in settings.items() if former[k] != getattr(v, "id", v)}
        with audit.changing("application.changed", row):
            secret = change(row, news) if news else None
        was = (row.trust_ends_at, row.skips_consent)
        approval.follow(row, ends_at, operator=bool(entry.get("trusted")))
        fresh = find(client_id)
        again = (fresh.trust_ends_at, fresh.skips_consent) != was
        action = "updated" if news or again else "unchanged"
    if enabled is not None and enabled != row.is_enabled:
        with audit.changing(f"application.{'enabled' if enabled else 'disabled'}", row):
            row.enable() if enabled else row.disable()
        action = "updated" if action == "unchanged" else action
    return {"client_id": client_id, "action": action, "client_secret": secret}


def _is_news(row: Application | None, day: str) -> bool:
    """Whether a file says another end than the trust has."""
    return row is None or trust_until(row) != day


def write_file(rows: Iterable[Application], as_json: bool) -> None:
    """Print the file."""
    entries = [
        {
            "client_id": row.client_id,
            "owner": row.owner.username,
            **as_settings(row),
            **({"trust_until": until} if (until := trust_until(row)) else {}),
            "enabled": row.is_enabled,
        }
        for row in rows
    ]
    import yaml

    document = {"applications": entries}
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        click.echo(
            yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100), nl=False
        )


def read_file(path: str) -> list[dict[str, Any]]:
    """The applications in a file; BadInput with the place of what must change."""
    document = _parse(path, _read(path))
    if isinstance(document, dict) and set(document) == {"applications"}:
        document = document["applications"]
    if not isinstance(document, list):
        raise BadInput("The file must hold a list under the key applications.")
    seen: set[str] = set()
    for place, entry in enumerate(document, 1):
        wrong = _problem(entry)
        if wrong:
            raise BadInput(f"Application {place}: {wrong} Nothing was imported.")
        if entry["client_id"] in seen:
            raise BadInput(f"The client_id {entry['client_id']} is there twice: keep one.")
        seen.add(entry["client_id"])
    return document


def _read(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise BadInput("The file is too long: import it in parts of at most 16 MB.")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text.") from None


def _parse(path: str, text: str) -> Any:
    import yaml

    is_json = path.endswith(".json") or text.lstrip()[:1] in ("{", "[")
    try:
        return json.loads(text) if is_json else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}, line {error.lineno}: {error.msg}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "this is neither JSON nor YAML"
        raise BadInput(f"{path}{line}: {what}.") from None


def _problem(entry: object) -> str | None:
    """What to change about one entry's shape; None when it can be looked at further."""
    if not isinstance(entry, dict):
        return "Write it as keys and values."
    for key, value in entry.items():
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1, 0.6)
            hint = f" Did you mean {near[0]}?" if near else ""
            return f"There is no key {key!r}.{hint}"
        if isinstance(value, date):  # YAML knows days when they are not quoted
            entry[key] = value = value.isoformat()
        kind = KEYS[key]
        texts = not isinstance(value, list) or all(isinstance(item, str) for item in value)
        if not isinstance(value, kind) or not texts:
            return f"{key} must be {KINDS[kind]}."
        if not all(map(is_whole, value if isinstance(value, list) else [str(value)])):
            return f"{key} holds half a character: write all of it."
    if not CLIENT_ID.fullmatch(entry.get("client_id", "")):
        return "Give a client_id of letters, digits and . _ ~ -, at most 100."
    return None
