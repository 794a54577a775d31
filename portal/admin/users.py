"""Admin > People: who may sign in, who administers, and how a password is set.

An administrator never knows a password: a one-time link, shown once, lets the person choose it.
"""

from flask import abort, current_app, flash, request, url_for
from flask_login import current_user
from peewee import IntegrityError
from werkzeug.wrappers import Response

from portal import approval, audit, handover
from portal.admin import blueprint
from portal.admin.user_form import DeleteForm, EditForm, PersonForm, make_ticket, read_ticket
from portal.admin.user_list import Listing
from portal.database import transaction
from portal.handover import CannotInherit
from portal.htmx import render
from portal.models import Application, AuditEvent, Offer, OneTimeLink, Session, User
from portal.models.connection import Connection
from portal.models.user import fold
from portal.security import no_store, see_other
from portal.text import plural

#: So many of a person's applications stand on their page.
SHOWN_APPLICATIONS = 50
LAST_ADMINISTRATOR = (
    "You are the last administrator. Make somebody else an administrator first, so that the"
    " portal is never without one."
)


@blueprint.get("/users")
def list_users() -> Response:
    """People by username: searched, filtered, fifty a page."""
    seen = AuditEvent.head()  # before the rows: what happens meanwhile has not been seen
    context = Listing(request.args).context()
    return render("admin/users/index.html", "admin/users/_table.html", seen=seen, **context)


# Add a person


@blueprint.route("/users/new", methods=["GET", "POST"])
def add_user() -> Response:
    """Add a person; the answer shows, once, the link with which they set their password.

    The form's ticket is the account number to be: sent again, it finds the person and adds nobody.
    """
    form = PersonForm()
    if not form.is_submitted():
        form.ticket.data = make_ticket(current_user)
        return _form_page(form)
    sub = read_ticket(form.ticket.data, current_user) if form.ticket.data else None
    if form.ticket.data and sub is None:
        return _again(form, "The form was changed on its way here. Send it again.")
    if former := _added_before(sub):
        return _not_twice(form, former)
    if not form.validate_on_submit():
        return _form_page(form)
    try:
        with transaction():
            user = User.register(
                form.username.data,
                form.email.data,
                name=form.name.data,
                is_admin=form.is_admin.data,
                email_verified=form.email_verified.data,
                sub=sub,
            )
            audit.added(user)
            link = _new_link(user)
    except IntegrityError:  # taken since the form was checked
        if former := _added_before(sub):
            return _not_twice(form, former)
        form.form_errors.append("This username or e-mail address was taken just now.")
        return _form_page(form)
    return _page_of(user, link=link, status=201)


def _added_before(sub: str | None) -> User | None:
    return User.get_or_none(User.sub == sub) if sub else None


def _not_twice(form: PersonForm, former: User) -> Response:
    """Answer a form that was sent twice, or that was filled in anew after it added somebody."""
    if fold(form.username.data) != former.username_key:
        sentence = f"This page already added {former.username}. Send it again to add another."
        return _again(form, sentence)
    flash(
        f"{former.display_name} was added already; nobody was added twice. The link was shown"
        " once: reset the password if you did not send it.",
        "info",
    )
    return _back_to(former)


def _again(form: PersonForm, sentence: str) -> Response:
    form.ticket.data, form.ticket.errors = make_ticket(current_user), [sentence]
    return _form_page(form)


def _form_page(form: PersonForm) -> Response:
    errors = bool(form.errors)
    return render("admin/users/new.html", status=422 if errors else 200, form=form, errors=errors)


# One person


@blueprint.get("/users/<username>")
def show_user(username: str) -> Response:
    """One person: what they own, and what can be done."""
    return _page_of(_user_or_404(username))


@blueprint.route("/users/<username>/edit", methods=["GET", "POST"])
def edit_user(username: str) -> Response:
    """Change a person's full name and e-mail address; the username stays."""
    user = _user_or_404(username)
    form = EditForm(user)
    if not form.validate_on_submit():
        return _edit_page(form, user)
    try:
        with audit.changing("person.changed", user):
            user.change_profile(
                name=form.name.data,
                email=form.email.data,
                email_verified=form.email_verified.data,
            )
    except IntegrityError:  # taken since the form was checked
        form.form_errors.append("This e-mail address was taken just now.")
        return _edit_page(form, user)
    flash(f"What you changed about {user.username} is saved.", "success")
    return _back_to(user)


def _edit_page(form: EditForm, user: User) -> Response:
    errors = bool(form.errors)
    return render(
        "admin/users/edit.html",
        status=422 if errors else 200,
        form=form,
        user=user,
        errors=errors,
    )


@blueprint.post("/users/<username>/reset-password")
def reset_user_password(username: str) -> Response:
    """Make a link to set a new password and show it, once; former links stop working.

    A page that was sent again makes none: it was shown before the latest link was made.
    """
    user = _user_or_404(username)
    if not user.is_active:
        flash(f"{user.display_name} is disabled. Enable them first.", "error")
        return _back_to(user)
    with transaction():
        User.locked(user.id)
        made_before = _link_made_since(user, request.form.get("seen", ""))
        if not made_before:
            link = _new_link(user)
            audit.record("person.reset_link", person=user)
    if made_before:
        flash(
            f"Nothing was made now: since that page was opened, a link for {user.display_name} was"
            " made and shown, once. Reset the password if you need another; then the former one"
            " stops working.",
            "info",
        )
        return _back_to(user)
    return _page_of(user, link=link)


def _link_made_since(user: User, seen: str) -> bool:
    """Whether somebody made a link for them after the page that has seen the log so far."""
    if not (seen.isascii() and seen.isdigit() and len(seen) < 19):
        return False
    made = AuditEvent.select().where(
        AuditEvent.person_id == user.id,
        AuditEvent.id > int(seen),
        AuditEvent.event.in_(("person.added", "person.reset_link")),
    )
    return bool(made.exists())


@blueprint.post("/users/<username>/disable")
def disable_user(username: str) -> Response:
    """Stop a person: no sign-in, and everything issued from them is dead."""
    user = _user_or_404(username)
    with transaction():
        if user.is_last_administrator():
            return _refuse_last(user)
        with audit.changing("person.disabled", user):
            user.disable()
    flash(f"{user.display_name} is disabled and signed out everywhere.", "success")
    return _back_to(user)


@blueprint.post("/users/<username>/enable")
def enable_user(username: str) -> Response:
    """Let a person sign in again; what was ended stays ended."""
    user = _user_or_404(username)
    offered = not user.is_active and Offer.select().where(Offer.owner_id == user.id).exists()
    with audit.changing("person.enabled", user):
        user.enable()
    back = " What others were offered and did not accept is offered no more." if offered else ""
    flash(f"{user.display_name} may sign in again.{back}", "success")
    return _back_to(user)


@blueprint.post("/users/<username>/make-admin")
def make_user_admin(username: str) -> Response:
    """Let a person administer the portal."""
    user = _user_or_404(username)
    with audit.changing("person.made_administrator", user):
        user.set_admin(True)
    flash(f"{user.display_name} is an administrator now.", "success")
    return _back_to(user)


@blueprint.post("/users/<username>/remove-admin")
def remove_user_admin(username: str) -> Response:
    """Make an administrator an ordinary person, from the next request on."""
    user = _user_or_404(username)
    with transaction():
        if user.is_last_administrator():
            return _refuse_last(user)
        with audit.changing("person.unmade_administrator", user):
            user.set_admin(False)
    flash(f"{user.display_name} is no administrator any more.", "success")
    return _back_to(user)


# Delete


@blueprint.route("/users/<username>/delete", methods=["GET", "POST"])
def delete_user(username: str) -> Response:
    """Delete a person after their username was typed; an heir gets their applications."""
    user = _user_or_404(username)
    form = DeleteForm(user, user.applications.count())
    if not form.validate_on_submit():
        return _delete_page(form)
    heir = form.new_owner
    try:
        with audit.many():
            if user.is_last_administrator():
                return _refuse_last(user)
            _hold(user, heir)
            theirs = list(user.applications)
            with audit.deleting(user, after={"new_owner": heir.username} if heir else None):
                user.remove(heir)
            for application in theirs:
                approval.follow(application)
    except CannotInherit as error:  # since the form was checked
        form.heir.errors = [str(error)]
        return _delete_page(form)
    count = plural(len(theirs), "application")
    passed = f" {heir.display_name} owns their {count} now." if heir else ""
    flash(f"{user.display_name} is deleted.{passed}", "success")
    return see_other(url_for("admin.list_users"))


def _delete_page(form: DeleteForm) -> Response:
    user, errors = form.user, bool(form.errors)
    return render(
        "admin/users/delete.html",
        status=422 if errors else 200,
        form=form,
        user=user,
        owned=user.applications.count(),
        rows=[(it, handover.told(it)) for it in handover.owned_by(user)],
        sessions=len(Session.of(user.id)),
        connections=len(Connection.of(user.id)),
        errors=errors,
    )


def _hold(user: User, heir: User | None) -> None:
    """Let the heir be who was checked until this is done. Raises CannotInherit."""
    if heir:
        handover.hold(user, heir)
    elif User.locked(user.id) and user.applications.count():
        raise CannotInherit("They own an application since a moment ago. Name its new owner.")


# What they share


def _user_or_404(username: str) -> User:
    return User.with_username(username) or abort(404)


def _page_of(user: User, link: str | None = None, status: int = 200) -> Response:
    response = render(
        "admin/users/show.html",
        status=status,
        user=user,
        link=link,
        seen=AuditEvent.head(),
        is_me=user.id == current_user.id,
        owned=user.applications.count(),
        applications=list(
            user.applications.order_by(Application.name_key).limit(SHOWN_APPLICATIONS)
        ),
        sessions=len(Session.of(user.id)),
        connections=len(Connection.of(user.id)),
    )
    return no_store(response)


def _new_link(user: User) -> str:
    """A fresh address with which this person sets a password; only this answer shows it."""
    issuer: str = current_app.extensions["portal.settings"].issuer
    return f"{issuer}/reset/{OneTimeLink.make(user)}"


def _refuse_last(user: User) -> Response:
    flash(LAST_ADMINISTRATOR, "error")
    return _back_to(user)


def _back_to(user: User) -> Response:
    return see_other(url_for("admin.show_user", username=user.username))
