"""Applications: list, add, look at, edit, rotate and retire secrets, disable, delete."""

from typing import Any

from flask import abort, flash, redirect, request
from flask_login import current_user
from peewee import IntegrityError
from werkzeug.wrappers import Response

from portal import approval, audit, rotation
from portal.admin import before_saving, blueprint
from portal.admin.application_form import (
    ApplicationForm,
    DeleteForm,
    RotateForm,
    make_ticket,
    people_like,
    read_ticket,
)
from portal.admin.application_list import ADDRESS, LARGEST_ID, Listing
from portal.admin.application_page import page_context, refusals_of_nobody, savable_uri
from portal.cards import Card
from portal.clock import now
from portal.database import transaction
from portal.htmx import render, wants_fragment
from portal.models import Application, ApplicationSecret
from portal.models.application import TooManySecrets
from portal.models.unused import unused_scopes
from portal.models.usage import KEPT_DAYS
from portal.models.user import fold
from portal.oauth import application_rules, effects
from portal.security import no_store, see_other
from portal.text import DAY


@blueprint.get("/")
def start() -> Response:
    """`/admin` is what people type."""
    return redirect(ADDRESS)


@blueprint.get("/applications")
def list_applications() -> Response:
    """The list, or its table when htmx searches, filters, sorts or turns the page."""
    context = Listing(request.args).context(current_user)
    if not wants_fragment():
        context["strangers"] = refusals_of_nobody()
    return render("admin/applications/index.html", "admin/applications/_table.html", **context)


# Add


@blueprint.get("/applications/new")
def new_application() -> Response:
    """The empty form; `?connects=grafana` chooses what is connected."""
    form = ApplicationForm.to_add(current_user)
    form.connects.data = request.args.get("connects", "")
    return _form_page(form)


@blueprint.post("/applications/new")
def add_application() -> Response:
    """Add it and show its page with the secret, this once; 422 with the form when it cannot be.

    The answer itself carries the secret, since a redirect would have to keep it somewhere. The
    form's ticket is the client ID to be: sent again, it finds the application and adds nothing.
    """
    form = ApplicationForm.to_add(current_user)
    client_id = read_ticket(form.ticket.data, current_user) if form.ticket.data else None
    if form.ticket.data and client_id is None:
        form.ticket.data = make_ticket(current_user)
        return _refused(form, "The form was changed on its way here. Send it again.")
    if not form.validate_on_submit():
        return _form_page(form, 422)
    try:
        with transaction():
            application, secret = Application.register(
                client_id=client_id, owner=form.person, **form.settings()
            )
            audit.added(application)
            approval.follow(application, form.chosen_end())
    except IntegrityError:
        return _added_before(form, client_id)
    if secret is None:
        flash(f"{application.name} was added.", "success")
        return see_other(_address(application))
    return _page(_find(application.client_id), secret=secret, card=form.card)


def _added_before(form: ApplicationForm, client_id: str | None) -> Response:
    """Answer a form that was sent twice; the owner who is gone since is the other cause."""
    former = Application.with_client_id(client_id) if client_id else None
    if former is None:
        form.owner.errors = ["The owner was deleted a moment ago: choose somebody else."]
        return _form_page(form, 422)
    if fold(former.name) == fold(form.settings()["name"]):
        flash(
            f"{former.name} was added already; nothing was added twice. Its secret was shown"
            " once: rotate the secret if you did not store it.",
            "info",
        )
        return see_other(_address(former))
    form.ticket.data = make_ticket(current_user)
    return _refused(form, f"This page already added {former.name}. Send it again to add another.")


@blueprint.post("/applications/preview")
def preview_application() -> Response:
    """The part of the form that shows what people will see, from the form as it stands."""
    form = ApplicationForm.to_add(current_user)
    return render(
        "admin/applications/_preview.html",
        form=form,
        catalogue=form.catalogue,
        warnings=application_rules.warnings(form.settings()),
    )


@blueprint.get("/applications/owners")
def list_owners() -> Response:
    """The people that the owner's search box offers."""
    key = fold(request.args.get("owner", "")[:100].replace("\0", ""))
    people = list(people_like(key)) if key else []
    return render("admin/applications/_owner_options.html", people=people, sought=bool(key))


# Look at and edit


@blueprint.get("/applications/<client_id>")
def show_application(client_id: str) -> Response:
    """The application's page; 404 when there is none."""
    return _page(_find(client_id))


@blueprint.get("/applications/<client_id>/edit")
def edit_application(client_id: str) -> Response:
    """The form, filled in; `?redirect_uri=` adds an address that a refusal offers to save."""
    application = _find(client_id)
    form = ApplicationForm.to_edit(application)
    warnings = application_rules.warnings(form.settings())
    offered = savable_uri(application, request.args.get("redirect_uri", ""))
    if offered:
        form.redirect_uris.data += f"\n{offered}"
        warnings.insert(
            0,
            f"{offered} stands below the saved addresses. Anybody can send an address: save it"
            " only when you know that the application uses it.",
        )
    return _form_page(form, warnings=warnings)


@blueprint.post("/applications/<client_id>/edit")
def change_application(client_id: str) -> Response:
    """Save the changes; 422 when they cannot be, or when somebody else was faster.

    What takes something away is only saved from the page that says so.
    """
    application = _find(client_id)
    form = ApplicationForm.to_edit(application)
    if "back" in request.form:
        return _form_page(form)
    if not form.validate_on_submit():
        return _form_page(form, 422)
    if before := before_saving.page(form):
        return before
    with transaction():
        with audit.changing("application.changed", application):
            claimed = _claim(application, form.seen.data)
            if claimed:
                application.change(owner=form.person, **form.settings())
        if claimed:
            approval.follow(application, form.chosen_end())
    if not claimed:
        form.seen.data = str(_find(client_id).version)
        return _refused(
            form,
            f"{application.name} was changed by somebody else since you opened this page. Look at"
            " it in another tab; saving again replaces what they changed.",
        )
    flash("The changes are saved and work from now on.", "success")
    return see_other(_address(application))


@blueprint.get("/applications/<client_id>/unused-scopes")
def drop_unused_scopes(client_id: str) -> Response:
    """The page before saving, for the edit that takes away the scopes that nothing needs."""
    application = _find(client_id)
    unused = unused_scopes([application], now()).get(application.id, [])
    if not unused:
        flash(f"{application.name} has no scope that was unused for {KEPT_DAYS} days.", "info")
        return see_other(_address(application))
    form = ApplicationForm.to_edit(application)
    form.scopes.data = [name for name in application.scopes if name not in unused]
    return before_saving.page(form) or _form_page(form)


# Secrets


@blueprint.post("/applications/<client_id>/rotate-secret")
def rotate_secret(client_id: str) -> Response:
    """Make a new secret and show it, this once; the old ones stop on the chosen day."""
    application = _find(client_id)
    form = RotateForm()
    if not application.confidential:
        flash("A public application has no secret.", "error")
        return _page(application, 422)
    if not form.validate_on_submit():
        flash("Choose when the old secret stops.", "error")
        return _page(application, 422)
    try:
        with audit.changing("application.rotated_secret", application):
            claimed = _claim(application, form.seen.data)
            secret = application.rotate_secret(int(form.keep_days.data) * DAY) if claimed else None
    except TooManySecrets as error:
        flash(str(error), "error")
        return _page(application, 422)
    if secret is None:
        flash(
            "No secret was made: this page was sent before, or somebody changed the application"
            " since. Look at the secrets below.",
            "info",
        )
        return see_other(_address(application))
    return _page(application, secret=secret)


@blueprint.post(f"/applications/<client_id>/secrets/<int(max={LARGEST_ID}):secret_id>/retire")
def retire_secret(client_id: str, secret_id: int) -> Response:
    """Stop one secret at once; 404 when it is another application's or has stopped."""
    application = _find(client_id)
    secret = ApplicationSecret.get_or_none(
        ApplicationSecret.id == secret_id, ApplicationSecret.application == application.id
    )
    if secret is None or not rotation.retire(application, secret):
        abort(404)
    flash("The secret is retired: it is refused from now on.", "success")
    return see_other(_address(application))


# Life and death


@blueprint.get("/applications/<client_id>/disable")
def confirm_disabling(client_id: str) -> Response:
    """Say what disabling ends, in numbers, and that enabling brings none of it back."""
    application = _find(client_id)
    if not application.is_enabled:
        flash(f"{application.name} is disabled already.", "info")
        return see_other(_address(application))
    ends = effects.of_stopping(application)
    return render("admin/applications/disable.html", application=application, ends=ends)


@blueprint.post("/applications/<client_id>/disable")
def disable_application(client_id: str) -> Response:
    """Refuse it from now on; its tokens are dead and stay dead."""
    application = _find(client_id)
    with audit.changing("application.disabled", application):
        application.disable()
    flash(f"{application.name} is disabled. Its tokens are dead and stay dead.", "success")
    return see_other(_address(application))


@blueprint.post("/applications/<client_id>/enable")
def enable_application(client_id: str) -> Response:
    """Serve it again; people sign in anew."""
    application = _find(client_id)
    with audit.changing("application.enabled", application):
        application.enable()
    flash(f"{application.name} is enabled. It needs new tokens.", "success")
    return see_other(_address(application))


@blueprint.get("/applications/<client_id>/delete")
def confirm_deletion(client_id: str) -> Response:
    """Say what deleting does, and ask for the name."""
    return _delete_page(_find(client_id), DeleteForm())


@blueprint.post("/applications/<client_id>/delete")
def delete_application(client_id: str) -> Response:
    """Delete it for good once its name is typed."""
    application = _find(client_id)
    form = DeleteForm()
    if not form.confirms(application.name):
        return _delete_page(application, form, 422)
    with audit.deleting(application):
        application.remove()
    flash(f"{application.name} is deleted.", "success")
    return see_other(ADDRESS)


# What the routes share


def _find(client_id: str) -> Application:
    # PostgreSQL cannot look for NUL.
    application = None if "\0" in client_id else Application.with_client_id(client_id)
    return application or abort(404)


def _claim(application: Application, seen: str | None) -> bool:
    return application.claim(seen)


def _address(application: Application) -> str:
    return f"{ADDRESS}/{application.client_id}"


def _page(
    application: Application, status: int = 200, secret: str | None = None, card: Card | None = None
) -> Response:
    context = {**page_context(application), "secret": secret, "card": card}
    return no_store(render("admin/applications/show.html", status=status, **context))


def _form_page(form: ApplicationForm, status: int = 200, **context: Any) -> Response:
    return render(
        "admin/applications/form.html",
        status=status,
        form=form,
        application=form.application,
        catalogue=form.catalogue,
        errors=status == 422,
        **context,
    )


def _refused(form: ApplicationForm, sentence: str) -> Response:
    form.ticket.errors = [sentence]
    return _form_page(form, 422)


def _delete_page(application: Application, form: DeleteForm, status: int = 200) -> Response:
    return render(
        "admin/applications/delete.html",
        status=status,
        application=application,
        form=form,
        ends=effects.of_stopping(application),
        errors=status == 422,
    )
