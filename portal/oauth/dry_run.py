"""What an edit takes away from people, in sentences, before it is saved."""

import hashlib
import json
from typing import Any

from flask import current_app, request
from werkzeug.datastructures import MultiDict

from portal.clock import now
from portal.models import Application, TokenFamily
from portal.models.application import FLOW_NAMES
from portal.models.usage import REDIRECT_URI, SCOPE, Usage
from portal.text import DAY, date, plural

DAYS = 30
MOST = 1000
FIELD = "confirmed_effects"


def effects(application: Application, settings: dict[str, Any]) -> list[str]:
    """Each effect on somebody as a sentence; none when nobody is affected."""
    current_app.extensions["portal.oauth"].usage.write()
    used, lately = Usage.of(application.id, DAYS), _lately()
    said = []
    for uri in _removed(application.redirect_uris, settings.get("redirect_uris")):
        if count := used[REDIRECT_URI].get(uri, 0):
            said.append(
                f"{uri} served {plural(count, 'sign-in')} {lately}. Sign-ins that ask for it"
                " are refused from now on."
            )
    for scope in _removed(application.scopes, settings.get("scopes")):
        people = _people(application, scope)
        granted = used[SCOPE].get(scope, 0)
        if people != "0" or granted:
            who = "1 person holds" if people == "1" else f"{people} people hold"
            said.append(
                f"{who} tokens with the scope {scope}, which was granted"
                f" {plural(granted, 'time')} {lately}. New tokens, refreshed ones too, lack it;"
                " access tokens already issued keep it until they expire."
            )
    for grant in _removed(application.grants, settings.get("grants")):
        people = _people(application)
        if grant in FLOW_NAMES and people != "0":
            who = "1 person is" if people == "1" else f"{people} people are"
            said.append(
                f"{FLOW_NAMES[grant]} is refused from now on; {who} signed in to this application."
            )
    return [*said, *_secrets(application, settings)]


def signed_in_lately(application: Application) -> str:
    """`412 sign-ins in the last 30 days`; empty when there was none."""
    count = sum(Usage.of(application.id, DAYS)[REDIRECT_URI].values())
    return f"{plural(count, 'sign-in')} {_lately()}" if count else ""


def _lately() -> str:
    """What is counted: an upgraded portal knows nothing of the days before."""
    since = Usage.counted_since()
    return f"in the last {DAYS} days" if since <= now() - DAYS * DAY else f"since {date(since)}"


def _secrets(application: Application, settings: dict[str, Any]) -> list[str]:
    public = application.confidential and settings.get("confidential") is False
    live = len(application.live_secrets) if public and application.last_used_at else 0
    return [f"{plural(live, 'secret')} of this application will stop working."] if live else []


def unconfirmed(application: Application, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What the page shows before saving; None when nobody is affected or it was confirmed."""
    said = effects(application, settings)
    digest = _digest(application, settings)
    if not said or request.form.get(FIELD) == digest:
        return None
    sent = MultiDict(request.form)
    sent.poplist(FIELD)
    return {"effects": said, "sent": list(sent.items(multi=True)), "digest": digest}


def _digest(application: Application, settings: dict[str, Any]) -> str:
    changed = json.dumps([application.client_id, application.version, settings], sort_keys=True)
    return hashlib.sha256(changed.encode()).hexdigest()


def _removed(before: list[str], after: list[str] | None) -> list[str]:
    return [] if after is None else [it for it in before if it not in after]


def _people(application: Application, scope: str = "") -> str:
    """How many people hold live refresh or access, at most `MOST` rows looked at."""
    live = (
        TokenFamily.select(TokenFamily.user_id, TokenFamily.scopes)
        .where(
            TokenFamily.application_id == application.id,
            TokenFamily.ended_at.is_null(),
            TokenFamily.epoch == application.epoch,
            TokenFamily.expires_at > now(),
        )
        .limit(MOST)
    )
    rows = list(live)
    people = {row.user_id for row in rows if not scope or scope in row.scopes}
    return f"{len(people):,}+" if len(rows) == MOST else str(len(people))
