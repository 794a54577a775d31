"""The page before an edit that takes something away: what it ends, in numbers; then save or not."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

from flask import current_app, request
from flask_login import current_user
from werkzeug.wrappers import Response
from wtforms import BooleanField, Field

from portal.admin.application_form import ApplicationForm
from portal.credentials import derive_key
from portal.htmx import render
from portal.oauth import current_server, effects

#: What the page's own fields are called; every other one is the form's.
OWN = ("csrf_token", "confirmed", "back")


def page(form: ApplicationForm) -> Response | None:
    """The page, for a form that is valid; None when it may be saved.

    Confirmed is what was shown: the same settings of the same version, by the same person.
    """
    application = form.application
    assert application
    if form.seen.data and form.seen.data != str(application.version):
        return None  # saving says that somebody was faster
    server = current_server()
    server.usage.write()
    found = effects.of_change(application, form.settings(), server.settings.access_token_seconds)
    mark = _mark(form)
    if not found or hmac.compare_digest(request.form.get("confirmed", "").encode(), mark.encode()):
        return None
    return render(
        "admin/applications/before.html",
        application=application,
        effects=found,
        kept=list(_kept(form)),
        confirmed=mark,
    )


def _mark(form: ApplicationForm) -> str:
    application = form.application
    assert application
    shown = [
        current_user.id,
        application.id,
        application.version,
        form.person.id,
        sorted(form.settings().items()),
    ]
    key = derive_key(str(current_app.secret_key), "save anyway")
    return hmac.digest(key, json.dumps(shown).encode(), hashlib.sha256).hex()


def _kept(form: ApplicationForm) -> Iterator[tuple[str, Any]]:
    """What was typed, field by field as it was sent: nothing is lost on the way back."""
    for field in form:
        if field.name not in OWN:
            for value in _sent(field):
                yield field.name, value


def _sent(field: Field) -> list[Any]:
    """As it came; of a form that nobody has sent, as a browser would send it."""
    if field.raw_data is not None:
        return list(field.raw_data)
    if isinstance(field, BooleanField):
        return ["y" if field.data else ""]
    if isinstance(field.data, list):
        return field.data
    return [] if field.data is None else [str(field.data)]
