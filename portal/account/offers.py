"""Applications that are offered to a person: accept them, or decline."""

from collections.abc import Callable

from flask import current_app, flash, request
from flask_login import current_user
from werkzeug.wrappers import Response

from portal import answers, handover
from portal.account import blueprint
from portal.clock import now
from portal.htmx import render
from portal.models import Application, User
from portal.models.offer import REASON_LENGTH
from portal.security import see_other, sign_in_required
from portal.settings import Settings
from portal.text import plural

SHOWN = 20
ADDRESS = "/account/offers"


@blueprint.get(ADDRESS)
@sign_in_required
def list_offers() -> Response:
    """What waits for the person's answer."""
    waiting = handover.offered_to(current_user)
    return render(
        "account/offers.html",
        offers=list(waiting.limit(SHOWN)),
        count=waiting.count(),
        trusted=handover.any_skips_consent(waiting),
        seen=now(),
        reason_length=REASON_LENGTH,
    )


@blueprint.post(f"{ADDRESS}/accept")
@sign_in_required
def accept_offers() -> Response:
    """Become the owner of one, or of all that the page told of."""
    rows = _answer(handover.accept)
    if rows:
        answers.tell(_settings(), current_user, rows, accepted=True)
        names = [it.name for it in rows]
        flash(f"You own {_words(names)} now.", "success")
    return _on()


@blueprint.post(f"{ADDRESS}/decline")
@sign_in_required
def decline_offers() -> Response:
    """Say no to one, or to all that the page told of."""
    reason = " ".join(request.form.get("reason", "").replace("\0", "").split())[:REASON_LENGTH]
    rows = _answer(lambda it, person: handover.decline(it, person, reason))
    if rows:
        answers.tell(_settings(), current_user, rows, accepted=False, reason=reason)
        names = [it.name for it in rows]
        flash(f"You declined {_words(names)}. An administrator asks somebody else.", "success")
    return _on()


def _answer(act: Callable[[Application, User], bool]) -> list[Application]:
    """What was answered; what is not offered any more is left alone."""
    person = current_user._get_current_object()
    seen = request.form.get("seen", "")
    # What was offered after the page was made is not meant by "all".
    until = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 12 else None
    waiting = handover.offered_to(person, until)
    if client_id := request.form.get("application", "").replace("\0", ""):
        waiting = waiting.where(Application.client_id == client_id)
    rows = [it for it in list(waiting) if act(it, person)]
    if not rows:
        flash("This is not offered to you any more.", "info")
    return rows


def _settings() -> Settings:
    settings: Settings = current_app.extensions["portal.settings"]
    return settings


def _words(names: list[str]) -> str:
    return names[0] if len(names) == 1 else plural(len(names), "application")


def _on() -> Response:
    left = handover.offered_to(current_user).exists()
    return see_other(ADDRESS if left else "/account/applications")
