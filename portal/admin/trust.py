"""Trust in applications: what waits for approval, what ends; approve, refuse, renew, stop."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from flask import abort, flash, request
from flask_login import current_user
from flask_wtf import FlaskForm
from peewee import Select
from werkzeug.wrappers import Response
from wtforms import DateField, HiddenField, TextAreaField, ValidationError

from portal import approval, trust
from portal.admin import blueprint
from portal.approval import NotYours, Stale
from portal.clock import now
from portal.database import transaction
from portal.htmx import render
from portal.models import Application, Trust, User
from portal.security import see_other
from portal.text import DAY

ADDRESS = "/admin/trust"
#: Rows of a page of each list.
PAGE_SIZE = 25
#: The most urgent first.
LISTS = {
    "waiting": "Waiting for approval",
    "unasked": "To be asked for again, since the owner changed",
    "ending": "Ends within 30 days",
    "ended": "Ended",
    "refused": "Refused",
}
STALE = (
    "Nothing was decided: it changed, or was decided, since you opened this page. Look at what it"
    " is now."
)


class DecideForm(FlaskForm):
    """Approve or refuse exactly what the page showed."""

    seen = HiddenField()
    note = TextAreaField("A word for who asked")

    def validate_note(self, field: TextAreaField) -> None:
        if len(field.data or "") > approval.NOTE_LENGTH:
            raise ValidationError(f"Shorten the note to at most {approval.NOTE_LENGTH} characters.")
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
    #: Who asked is no administrator any more: it is asked again first.
    ask_again: bool


class Page(NamedTuple):
    """One page of a list, and the way to the next ones."""

    title: str
    rows: list[Row]
    first: int
    last: int
    total: int
    previous_url: str | None
    next_url: str | None


@blueprint.get("/trust")
def list_trust() -> Response:
    """What waits for approval, ends soon, has ended and was refused; or a page of one of these."""
    only = request.args.get("list", "")
    if only not in LISTS:
        only = ""
    queries = _queries()
    pages = [_list(key, queries[key], key == only) for key in LISTS if key == (only or key)]
    return render(
        "admin/trust/index.html", "admin/trust/_lists.html", lists=pages, only=LISTS.get(only)
    )


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
        approval.approve(application, _me(), form.seen.data or "")
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
        approval.refuse(application, _me(), form.seen.data or "", (form.note.data or "").strip())
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
            approval.ask(application, form.end, whole=True)
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
    approval.withdraw(application)
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
    end = application.trust_ends_at if row.nobody_asks else row.asked_until
    asked = end if end and end > now() else trust.usual_end()
    until = datetime.fromtimestamp(asked, UTC).date()
    decide = decide or DecideForm(formdata=None)
    ask = ask or AskForm(formdata=None, data={"trust_until": until})
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
        may_decide=approval.may_decide(_me(), row),
        ask_again=bool(row.waits and approval.asker_is_gone(row)),
        others=approval.other_administrators(*row.asker_ids),
        alone=not approval.other_administrators(str(current_user.id)),
        decide=decide,
        ask=ask,
        today=trust.day(now()),
        last=trust.day(now() + trust.LONGEST_SECONDS - DAY),
        errors=status == 422,
        path=request.path,
    )


def _queries() -> Mapping[str, Select]:
    """The rows of each list, in order."""
    moment = now()
    asked = Trust.asked_at.is_null(False)
    ends, same = Application.trust_ends_at, Application.id
    nothing_open = Application.trusted & Trust.asked_at.is_null()
    waiting = _joined().where(asked, Trust.refused_at.is_null(), Trust.asked_until.is_null(False))
    unasked = _joined().where(asked, Trust.asked_until.is_null())
    ending = _joined().where(ends > moment, ends <= moment + trust.SOON_SECONDS, nothing_open)
    ended = _joined().where(ends <= moment, nothing_open)
    refused = _joined().where(asked, Trust.refused_at.is_null(False))
    return {
        "waiting": waiting.order_by(Trust.asked_at, same),
        "unasked": unasked.order_by(Trust.asked_at, same),
        "ending": ending.order_by(ends, same),
        "ended": ended.order_by(ends.desc(), same),
        "refused": refused.order_by(Trust.asked_at.desc(), same),
    }


def _joined() -> Select:
    return (
        Application.select(Application, User, Trust)
        .join(User)
        .switch(Application)
        .join(Trust, on=(Trust.application_id == Application.id), attr="trust")
    )


def _list(key: str, query: Select, only: bool) -> Page:
    """The asked page when it is about this list `only`, else the first."""
    asked = request.args.get("page", "1") if only else "1"
    number = max(1, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
    found = list(query.limit(PAGE_SIZE + 1))
    total = len(found) if len(found) <= PAGE_SIZE else query.count()
    # A number beyond the end shows the last page.
    number = max(1, min(number, -(-total // PAGE_SIZE)))
    first = (number - 1) * PAGE_SIZE
    found = found[:PAGE_SIZE] if number == 1 else list(query.limit(PAGE_SIZE).offset(first))
    gone = approval.asker_is_gone(*(it.trust for it in found if it.trust.waits))
    rows = [_row(it, it.trust, it.id in gone) for it in found]
    url, last = f"{ADDRESS}?list={key}&page=", first + len(rows)
    before = f"{url}{number - 1}" if number > 1 else None
    after = f"{url}{number + 1}" if last < total else None
    return Page(LISTS[key], rows, first + 1, last, total, before, after)


def _row(application: Application, row: Trust, ask_again: bool) -> Row:
    parts = trust.differences(application, row)
    first = not application.trust_approved
    changes = [] if first else [part.name for part in parts if part.added or part.removed]
    return Row(application, row, trust.state(application, row), changes, ask_again)
