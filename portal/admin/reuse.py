"""The reuse radar: whose secret is used in several places, and the split that ends it."""

from flask import abort, flash
from flask_login import current_user
from flask_wtf import FlaskForm
from peewee import IntegrityError
from werkzeug.wrappers import Response
from wtforms import HiddenField, StringField

from portal import reuse
from portal.admin import blueprint
from portal.admin.application_form import make_ticket, read_ticket
from portal.admin.application_list import LARGEST_ID
from portal.htmx import render
from portal.models import Application
from portal.oauth import application_rules
from portal.security import no_store, see_other

ONE = "/reuse/<client_id>"


class SplitForm(FlaskForm):
    """What the copy is called."""

    name = StringField("Name", filters=[lambda text: (text or "").strip()])
    #: The client ID to be, signed. A form sent twice splits once.
    ticket = HiddenField()

    def settings_of(self, application: Application) -> dict[str, object]:
        return {
            **{name: getattr(application, name) for name in reuse.COPIED},
            "name": self.name.data,
        }

    def check_name(self, application: Application) -> bool:
        """Whether it may be called so; else the field says what to change."""
        settings = self.settings_of(application)
        found = application_rules.problems(settings, application.scopes)
        self.name.errors = [it.sentence for it in found if it.field == "name"]
        return not self.name.errors


@blueprint.get("/reuse")
def list_reused() -> Response:
    """The applications with a secret that is reused, and what to do about each."""
    found = [(it, reuse.report(it)) for it in reuse.flagged()]
    return render("admin/reuse/index.html", found=found)


@blueprint.get(ONE)
def show_reuse(client_id: str) -> Response:
    """What is known of one application stands beside its secrets."""
    return see_other(_address(_find(client_id)))


@blueprint.get(f"{ONE}/split")
def confirm_split(client_id: str) -> Response:
    """Say what splitting does, and ask for the copy's name."""
    application = _find(client_id)
    name, ticket = reuse.suggested_name(application), make_ticket(current_user)
    return _split_page(application, SplitForm(data={"name": name, "ticket": ticket}))


@blueprint.post(f"{ONE}/split")
def split_application(client_id: str) -> Response:
    """Make the copy and show its client ID and secret, this once; what to do next beside it."""
    application = _find(client_id)
    form = SplitForm()
    new_id = read_ticket(form.ticket.data or "", current_user)
    if new_id is None:
        form.ticket.data = make_ticket(current_user)
        form.ticket.errors = ["The form was changed on its way here. Send it again."]
        return _split_page(application, form, 422)
    if not form.validate_on_submit() or not form.check_name(application):
        return _split_page(application, form, 422)
    try:
        clone, secret = reuse.split(application, form.name.data, new_id)
    except IntegrityError:
        return _split_before(application, form, new_id)
    found = reuse.report(application)
    return no_store(
        render(
            "admin/reuse/done.html",
            application=application,
            clone=clone,
            secret=secret,
            reuse=found,
        )
    )


def _split_before(application: Application, form: SplitForm, new_id: str) -> Response:
    """Answer a form that was sent twice."""
    clone = Application.with_client_id(new_id) or abort(404)
    flash(
        f"{clone.name} was split from {application.name} already; nothing was made twice. Its"
        " secret was shown once: make another one if you did not store it.",
        "info",
    )
    return see_other(_address(clone))


@blueprint.post(f"{ONE}/accept")
def accept_networks(client_id: str) -> Response:
    """These are one application's servers: do not tell again."""
    application = _find(client_id)
    reuse.accept_networks(application, current_user)
    flash(
        f"Portal no longer tells you that {application.name} is used from several networks. They"
        " are still listed below.",
        "success",
    )
    return see_other(_address(application))


@blueprint.post(f"{ONE}/watch")
def watch_networks(client_id: str) -> Response:
    """Tell again."""
    application = _find(client_id)
    reuse.watch_networks(application)
    flash("Portal tells you again when several networks use one secret.", "success")
    return see_other(_address(application))


@blueprint.post(f"{ONE}/<int(max={LARGEST_ID}):misuse_id>/done")
def settle_misuse(client_id: str, misuse_id: int) -> Response:
    """Take the notice away."""
    application = _find(client_id)
    if not reuse.settle(application, misuse_id):
        abort(404)
    flash("The notice is gone. It comes back when it happens again.", "success")
    return see_other(_address(application))


# What the routes share


def _find(client_id: str) -> Application:
    # PostgreSQL cannot look for NUL.
    return ("\0" not in client_id and Application.with_client_id(client_id)) or abort(404)


def _address(application: Application) -> str:
    return f"/admin/secrets/{application.client_id}"


def _split_page(application: Application, form: SplitForm, status: int = 200) -> Response:
    return render(
        "admin/reuse/split.html",
        status=status,
        application=application,
        form=form,
        reuse=reuse.report(application),
        errors=status == 422,
    )
