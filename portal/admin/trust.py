"""Trust in applications: what waits for approval, what ends; approve, refuse, renew, stop."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from flask import abort, flash, request
from flask_login import current_user
from flask_wtf import FlaskForm
from peewee import Select
from werkzeug.wrappers import Response
from wtforms import DateField, HiddenField, TextAreaField, ValidationError

from portal import trust
from portal.admin import blueprint
from portal.clock import now
from portal.database import transaction
from portal.htmx import render
from portal.models import Application, Trust, User
from portal.security import see_other
from portal.text import DAY
from portal.trust import NotYours, Stale

ADDRESS = "/admin/trust"
#: Rows of each list; what is decided makes room for the next.
SHOWN = 25
STALE = (
    "Nothing was decided: it changed, or was decided, since you opened this page. Look at what it"
    " is now."
)


class DecideForm(FlaskForm):
    """Approve or refuse exactly what the page showed."""

    seen = HiddenField()
    note = TextAreaField("A word for who asked")

    def validate_note(self, field: TextAreaField) -> None:
        if len(field.data or "") > trust.NOTE_LENGTH:
            raise ValidationError(f"Shorten the note to at most {trust.NOTE_LENGTH} characters.")
        if any(not (c.isprintable() or c in "\r\n") for c in field.data or ""):
            raise ValidationError("Remove the invisible characters from the note.")


class AskForm(FlaskForm):
    """Ask to trust it as it is, until a day."""

    seen = HiddenField()
    trust_until = DateField("Trust ends after")

    @property
    def end(self) -> int:
        assert self.trust_until.data
        start = datetime.combine(self.trust_until.data, datetime.min.time(), UTC)
        return trust.end_of_day(int(start.timestamp()))

    def validate_trust_until(self, field: DateField) -> None:
        if field.data is None:
            field.errors = []
            raise ValidationError("Enter the last day of trust, such as 2027-12-31.")
        if problem := trust.end_problem(self.end):
            raise ValidationError(problem)


class Row(NamedTuple):
    """An application in the queue."""

    application: Application
    row: Trust
    state: str
    changes: list[str]


@blueprint.get("/trust")
def list_trust() -> Response:
    """What waits for approval, was refused, ends soon and has ended; the most urgent first."""
    return render("admin/trust/index.html", lists=_lists(), shown=SHOWN)


@blueprint.get("/trust/<client_id>")
def show_trust(client_id: str) -> Response:
    """One application's trust: what is asked for against what was approved last."""
    return _page(_find(client_id))


@blueprint.post("/trust/<client_id>/approve")
def approve_trust(client_id: str) -> Response:
    """Trust it as the page showed it; people are not asked from the next request on."""
    application, form = _find(client_id), DecideForm()
    if not form.validate_on_submit():
        return _page(application, 422, decide=form)
    try:
        trust.approve(application, _me(), form.seen.data or "")
    except (Stale, NotYours) as error:
        return _not_decided(client_id, error)
    flash(f"{application.name} is trusted as it is now: people are not asked.", "success")
    return see_other(_address(application))


@blueprint.post("/trust/<client_id>/refuse")
def refuse_trust(client_id: str) -> Response:
    """Leave people the consent page, with a word for who asked."""
    application, form = _find(client_id), DecideForm()
    if not form.validate_on_submit():
        return _page(application, 422, decide=form)
    try:
        trust.refuse(application, _me(), form.seen.data or "", (form.note.data or "").strip())
    except (Stale, NotYours) as error:
        return _not_decided(client_id, error)
    flash(f"Refused. {application.name} says so to whoever asked.", "success")
    return see_other(_address(application))


@blueprint.post("/trust/<client_id>/ask")
def ask_trust(client_id: str) -> Response:
    """Ask to trust it as it is, longer or again; trust that works goes on meanwhile."""
    application, form = _find(client_id), AskForm()
    if not application.trusted:
        return see_other(_address(application))
    if not form.validate_on_submit():
        return _page(application, 422, ask=form)
    with transaction():
        claimed = bool(form.seen.data) and application.claim(form.seen.data)
        if claimed:
            trust.ask(application, form.end, whole=True)
    if not claimed:
        return _not_decided(client_id, Stale())
    waits = Trust.of(application.id).waits
    flash(
        "Asked: another administrator approves it."
        if waits
        else "Approved: you are the only administrator.",
        "success",
    )
    return see_other(_address(application))


@blueprint.post("/trust/<client_id>/stop")
def stop_trust(client_id: str) -> Response:
    """Ask people again from the next request on."""
    application = _find(client_id)
    trust.withdraw(application)
    flash(f"{application.name} is not trusted any more: people are asked.", "success")
    return see_other(_address(application))


# What the routes share


def _find(client_id: str) -> Application:
    # PostgreSQL cannot look for NUL.
    return ("\0" not in client_id and Application.with_client_id(client_id)) or abort(404)


def _me() -> User:
    person: User = current_user._get_current_object()
    return person


def _address(application: Application) -> str:
    return f"{ADDRESS}/{application.client_id}"


def _not_decided(client_id: str, error: Exception) -> Response:
    flash(STALE if isinstance(error, Stale) else str(error), "error")
    return _page(_find(client_id), 409 if isinstance(error, Stale) else 403)


def _page(
    application: Application,
    status: int = 200,
    decide: DecideForm | None = None,
    ask: AskForm | None = None,
) -> Response:
    row = Trust.of(application.id)
    seen = str(application.version)
    usual = datetime.fromtimestamp(trust.usual_end(), UTC).date()
    decide = decide or DecideForm(formdata=None)
    ask = ask or AskForm(formdata=None, data={"trust_until": usual})
    # Always what this page shows, also after an error.
    decide.seen.data = ask.seen.data = seen
    return render(
        "admin/trust/show.html",
        status=status,
        application=application,
        row=row,
        state=trust.state(application, row),
        told=trust.told(application, row),
        soon=trust.ends_soon(application),
        differences=trust.differences(application, row),
        may_decide=trust.may_decide(_me(), row),
        others=trust.other_administrators(*row.asker_ids),
        alone=not trust.other_administrators(str(current_user.id)),
        decide=decide,
        ask=ask,
        today=trust.day(now()),
        last=trust.day(now() + trust.LONGEST_SECONDS - DAY),
        errors=status == 422,
        path=request.path,
    )


def _lists() -> list[tuple[str, list[Row], bool]]:
    """Each list with its title, and whether there are more rows than are shown."""
    moment = now()
    asked = Trust.asked_at.is_null(False)
    ends = Application.trust_ends_at
    nothing_open = Application.trusted & Trust.asked_at.is_null()
    waiting = _joined().where(asked, Trust.refused_at.is_null()).order_by(Trust.asked_at)
    ending = _joined().where(ends > moment, ends <= moment + trust.SOON_SECONDS, nothing_open)
    ended = _joined().where(ends <= moment, nothing_open)
    refused = _joined().where(asked, Trust.refused_at.is_null(False))
    return [
        ("Waiting for approval", *_rows(waiting)),
        ("Ends within 30 days", *_rows(ending.order_by(ends))),
        ("Ended", *_rows(ended.order_by(ends.desc()))),
        ("Refused", *_rows(refused.order_by(Trust.asked_at.desc()))),
    ]


def _joined() -> Select:
    return (
        Application.select(Application, User, Trust)
        .join(User)
        .switch(Application)
        .join(Trust, on=(Trust.application_id == Application.id), attr="trust")
    )


def _rows(query: Any) -> tuple[list[Row], bool]:
    found = list(query.limit(SHOWN + 1))
    return [_row(it, it.trust) for it in found[:SHOWN]], len(found) > SHOWN


def _row(application: Application, row: Trust) -> Row:
    parts = trust.differences(application, row)
    first = not application.trust_approved
    changes = [] if first else [part.name for part in parts if part.added or part.removed]
    return Row(application, row, trust.state(application, row), changes)
