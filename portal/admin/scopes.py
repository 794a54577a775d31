"""The catalogue of scopes: built-in ones are locked, others are added, edited and deleted."""

from itertools import islice
from urllib.parse import quote

from flask import abort, flash
from flask_wtf import FlaskForm
from peewee import IntegrityError
from werkzeug.wrappers import Response
from wtforms import BooleanField, StringField, ValidationError

from portal import approval, audit
from portal.admin import blueprint
from portal.admin.application_form import DeleteForm
from portal.database import transaction
from portal.htmx import render
from portal.models import Application, Scope
from portal.models.scope import SCOPE_NAME
from portal.oauth import in_use
from portal.security import see_other

ADDRESS = "/admin/scopes"
TITLE_LENGTH = 100
DESCRIPTION_LENGTH = 300
SHOWN_APPLICATIONS = 20


class OneLineField(StringField):
    """A line of text that people read: not empty, not too long, nothing invisible."""

    def __init__(self, label: str, longest: int, **more: object) -> None:
        super().__init__(label, filters=[lambda text: (text or "").strip()], **more)
        self.longest = longest

    def pre_validate(self, form: FlaskForm) -> None:
        what = self.label.text.lower()
        if not self.data:
            raise ValidationError(f"Enter a {what}.")
        if len(self.data) > self.longest:
            raise ValidationError(f"Shorten the {what} to at most {self.longest} characters.")
        if not self.data.isprintable():
            raise ValidationError(f"Remove the invisible characters from the {what}.")


class ScopeForm(FlaskForm):
    """What people read about a scope."""

    title = OneLineField("Title", TITLE_LENGTH)
    description = OneLineField("Description", DESCRIPTION_LENGTH)
    sensitive = BooleanField("Sensitive")


class NewScopeForm(FlaskForm):
    """A new scope: its name is what applications ask for, and stays."""

    name = StringField("Name", filters=[lambda text: (text or "").strip()])
    title = OneLineField("Title", TITLE_LENGTH)
    description = OneLineField("Description", DESCRIPTION_LENGTH)
    sensitive = BooleanField("Sensitive")

    def validate_name(self, field: StringField) -> None:
        if not field.data:
            raise ValidationError("Enter a name.")
        if not SCOPE_NAME.fullmatch(field.data):
            raise ValidationError(
                "Use letters, digits and : . _ / - in the name, at most 64, and start with a"
                " letter or a digit."
            )
        if Scope.get_or_none(Scope.name == field.data):
            raise ValidationError(f"There is a scope {field.data} already: choose another name.")


@blueprint.get("/scopes")
def list_scopes() -> Response:
    """The catalogue, with how many applications may ask for each scope."""
    return render(
        "admin/scopes/index.html",
        scopes=Scope.catalogue(),
        used=Scope.holders(),
        address=_address,
    )


@blueprint.get("/scopes/new")
def new_scope() -> Response:
    """The empty form."""
    return _form_page(NewScopeForm())


@blueprint.post("/scopes/new")
def add_scope() -> Response:
    """Add a scope to the catalogue; 422 with the form when it cannot be."""
    form = NewScopeForm()
    if not form.validate_on_submit():
        return _form_page(form, status=422)
    try:
        with transaction():
            made = Scope.register(
                form.name.data, form.title.data, form.description.data, form.sensitive.data
            )
            audit.added(made)
    except IntegrityError:  # somebody was faster
        form.name.errors = [f"There is a scope {form.name.data} already: choose another name."]
        return _form_page(form, status=422)
    flash(f"{form.name.data} is in the catalogue: applications may be given it now.", "success")
    return see_other(ADDRESS)


@blueprint.get("/scopes/<path:name>/edit")
def edit_scope(name: str) -> Response:
    """The form, filled in; 404 for a scope that is built in."""
    scope = _find_own(name)
    return _form_page(ScopeForm(obj=scope), scope)


@blueprint.post("/scopes/<path:name>/edit")
def change_scope(name: str) -> Response:
    """Save what people read; the next consent page shows it."""
    scope = _find_own(name)
    form = ScopeForm()
    if not form.validate_on_submit():
        return _form_page(form, scope, 422)
    with audit.changing("scope.changed", scope):
        Scope.update(
            title=form.title.data, description=form.description.data, sensitive=form.sensitive.data
        ).where(Scope.name == scope.name, ~Scope.builtin).execute()
    flash(f"{scope.name} is saved.", "success")
    return see_other(ADDRESS)


@blueprint.get("/scopes/<path:name>/delete")
def confirm_scope_deletion(name: str) -> Response:
    """Say which applications lose the scope, and ask for its name."""
    return _delete_page(_find_own(name), DeleteForm())


@blueprint.post("/scopes/<path:name>/delete")
def delete_scope(name: str) -> Response:
    """Take it out of the catalogue and away from every application, once its name is typed."""
    scope = _find_own(name)
    form = DeleteForm()
    if not form.confirms(scope.name):
        return _delete_page(scope, form, 422)
    with transaction():
        holders = list(Application.allowed_scope(scope.name))
        with audit.deleting(scope):
            scope.remove()
        for application in holders:
            approval.follow(application)
    flash(f"{scope.name} is deleted.", "success")
    return see_other(ADDRESS)


def _find_own(name: str) -> Scope:
    """A scope that administrators made; the built-in ones have no such page."""
    scope = Scope.get_or_none(Scope.name == name) if SCOPE_NAME.fullmatch(name) else None
    if scope is None or scope.builtin:
        abort(404)
    return scope


def _address(scope: Scope) -> str:
    return f"{ADDRESS}/{quote(scope.name, safe='')}"


def _form_page(form: FlaskForm, scope: Scope | None = None, status: int = 200) -> Response:
    return render(
        "admin/scopes/form.html",
        status=status,
        form=form,
        scope=scope,
        action=f"{_address(scope)}/edit" if scope else f"{ADDRESS}/new",
        errors=status == 422,
    )


def _delete_page(scope: Scope, form: DeleteForm, status: int = 200) -> Response:
    applications = list(islice(Application.allowed_scope(scope.name), SHOWN_APPLICATIONS))
    return render(
        "admin/scopes/delete.html",
        status=status,
        form=form,
        scope=scope,
        action=f"{_address(scope)}/delete",
        count=Scope.holders()[scope.name],
        applications=applications,
        used=in_use.of_scope(scope.name, applications),
        errors=status == 422,
    )
