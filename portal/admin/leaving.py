"""Admin > People > Leaving: who has left, what they own, and who is asked to take it over."""

from collections.abc import Iterable

from flask import abort, current_app, flash, request, url_for
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import BooleanField, HiddenField, RadioField, StringField
from wtforms.fields import SelectChoice

from portal import answers, approval, audit, handover
from portal.admin import blueprint
from portal.admin.application_form import find_person
from portal.clock import now
from portal.handover import CannotInherit
from portal.htmx import render
from portal.models import Application, Offer, User
from portal.models.offer import OPEN
from portal.security import see_other
from portal.text import DAY, plural

SHOWN_PEOPLE = 100
#: So long the answers to what an administrator offered are told.
ANSWERS_SECONDS = 30 * DAY
OFFER, ASSIGN, LEAVE = "offer", "assign", "leave"
REST, ALL = "rest", "all"
LAST_ADMINISTRATOR = (
    "This is the last administrator. Make somebody else an administrator first, so that the portal"
    " is never without one."
)


class LeavingForm(FlaskForm):
    """Who takes over what a person owns, and how."""

    owner = StringField("New owner", filters=[lambda text: (text or "").strip()])
    how = RadioField(
        "What happens to the applications?",
        choices=[SelectChoice(OFFER), SelectChoice(ASSIGN), SelectChoice(LEAVE)],
        default=OFFER,
    )
    which = RadioField(
        "Which applications?", choices=[SelectChoice(REST), SelectChoice(ALL)], default=REST
    )
    disable = BooleanField("Disable")
    #: The client ID of the only one that is meant; empty for all.
    application = HiddenField()

    heir: User | None = None

    def check(self, person: User) -> bool:
        """Whether it says what to do; else its fields say what is missing."""
        if not self.validate_on_submit():
            return False
        if self.how.data != LEAVE:
            self._find_heir(person)
        elif person.is_active and not self.disable.data:
            self.how.errors = ["Choose who takes the applications over, or disable the person."]
        return not self.errors

    def _find_heir(self, person: User) -> None:
        if not self.owner.data:
            self.owner.errors = ["Enter who takes over: a username or an e-mail address."]
            return
        found = find_person(self.owner.data)
        try:
            if isinstance(found, str):
                raise CannotInherit(found)
            handover.check_heir(person, found)
        except CannotInherit as error:
            self.owner.errors = [str(error)]
        else:
            self.heir = found


@blueprint.get("/leaving")
def list_leavers() -> Response:
    """Who has left, or hands over, and still owns applications."""
    return render(
        "admin/leaving/index.html",
        leavers=handover.leavers(SHOWN_PEOPLE),
        answers=answers.latest(current_user, now() - ANSWERS_SECONDS),
    )


@blueprint.get("/leaving/<username>")
def show_leaver(username: str) -> Response:
    """What a person owns, what was offered to whom, and the form."""
    person = _find(username)
    none_left = _waiting(person) == person.applications.count()
    form = LeavingForm(
        formdata=None,
        disable=True,
        application=request.args.get("application"),
        which=ALL if none_left else REST,
    )
    return _page(form, person)


@blueprint.post("/leaving/<username>")
def hand_over(username: str) -> Response:
    """Disable the person if asked to, and offer or give away what they own."""
    person = _find(username)
    form = LeavingForm()
    if not form.check(person):
        return _page(form, person, 422)
    disables = bool(form.disable.data and person.is_active)
    try:
        with audit.many():
            if disables and person.is_last_administrator():
                flash(LAST_ADMINISTRATOR, "error")
                return see_other(_address(person))
            if form.heir:
                handover.hold(person, form.heir)
            rows = list(_meant(form, person))
            if disables:
                with audit.changing("person.disabled", person):
                    person.disable()
            count = _pass_on(form, rows)
    except CannotInherit as error:  # since the form was checked
        form.owner.errors = [str(error)]
        return _page(form, person, 422)
    if form.how.data == OFFER and form.heir:
        handover.tell(current_app.extensions["portal.settings"], person, form.heir, count)
    flash(_done(form, person, count, disables), "success")
    return see_other(_address(person))


def _meant(form: LeavingForm, person: User) -> Iterable[Application]:
    """The applications of this person that the form is about."""
    rows = Application.select().where(Application.owner == person).order_by(Application.id)
    if form.application.data:
        return rows.where(Application.client_id == form.application.data.replace("\0", ""))
    if form.which.data == REST:
        waiting = Offer.select(Offer.application_id)
        waiting = waiting.where(Offer.owner_id == person.id, Offer.state == OPEN)
        return rows.where(Application.id.not_in(waiting))
    return rows


def _pass_on(form: LeavingForm, rows: list[Application]) -> int:
    if form.heir is None:
        return 0
    return (
        handover.offer(rows, form.heir)
        if form.how.data == OFFER
        else handover.assign(rows, form.heir)
    )


def _done(form: LeavingForm, person: User, count: int, disabled: bool) -> str:
    told = f"{person.display_name} is disabled and signed out everywhere. " if disabled else ""
    if form.heir is None:
        return told.strip()
    what = plural(count, "application")
    name = form.heir.display_name
    if not count:
        return f"{told}Nothing changed: there was nothing left to offer to {name}."
    if form.how.data == ASSIGN:
        return f"{told}{name} owns {what} more now."
    return f"{told}{what} {'is' if count == 1 else 'are'} offered to {name}, who can accept."


def _page(form: LeavingForm, person: User, status: int = 200) -> Response:
    only = form.application.data or ""
    chosen = Application.with_client_id(only) if only and "\0" not in only else None
    if chosen is not None and chosen.owner.id != person.id:
        chosen = None
    if chosen is None:
        form.application.data = ""
    rows = [handover.offer_of(chosen)] if chosen else handover.owned_by(person)
    theirs = person.applications
    owned = 1 if chosen else theirs.count()
    meant = theirs.where(Application.id == chosen.id) if chosen else theirs
    return render(
        "admin/leaving/show.html",
        status=status,
        form=form,
        errors=status == 422,
        user=person,
        chosen=chosen,
        rows=[(it, handover.told(it), handover.waits(it)) for it in rows],
        owned=owned,
        trusted=handover.any_skips_consent(meant),
        alone=not approval.other_administrators(str(current_user.id)),
        waiting=_waiting(person),
        url=_address(person),
    )


def _waiting(person: User) -> int:
    count: int = Offer.select().where(Offer.owner_id == person.id, Offer.state == OPEN).count()
    return count


def _find(username: str) -> User:
    return User.with_username(username) or abort(404)


def _address(person: User) -> str:
    return url_for("admin.show_leaver", username=person.username)
