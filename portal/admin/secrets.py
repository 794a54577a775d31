"""An application's secrets: make another, see whether the old one is used, retire it."""

from datetime import UTC, date, datetime
from typing import Any, Self

from flask import abort, flash
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import DateField, HiddenField, SelectField, StringField, ValidationError
from wtforms.fields import SelectChoice

from portal import reuse, rotation
from portal.admin import blueprint
from portal.admin.application_list import ADDRESS as APPLICATIONS
from portal.admin.application_list import LARGEST_ID
from portal.clock import now
from portal.database import transaction
from portal.htmx import render
from portal.models import Application, ApplicationSecret
from portal.models.application import MOST_SECRETS, TooManySecrets
from portal.security import no_store, see_other
from portal.text import DAY

ADDRESS = "/admin/secrets"
ONE = f"/secrets/<client_id>/<int(max={LARGEST_ID}):secret_id>"
#: Retired ones that the page still shows.
SHOWN_RETIRED = 5
NEVER, ON_DATE = "never", "date"


class Name(StringField):
    """What people call a secret; may be left empty."""

    def __init__(self, **more: Any) -> None:
        super().__init__("Name", filters=[lambda text: (text or "").strip()], **more)

    def pre_validate(self, form: FlaskForm) -> None:
        if len(self.data) > rotation.NAME_LENGTH:
            raise ValidationError(f"Shorten the name to {rotation.NAME_LENGTH} characters.")
        if not self.data.isprintable():
            raise ValidationError("Remove the invisible characters from the name.")


class LastDay(DateField):
    """The last day on which a secret works, in UTC; may be left empty."""

    def __init__(self, **more: Any) -> None:
        super().__init__("Last day", **more)

    data: date | None

    def process_formdata(self, valuelist: list[str]) -> None:
        if not "".join(valuelist).strip():
            self.data = None
            return
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError("Enter a day such as 2026-12-31.") from None

    def pre_validate(self, form: FlaskForm) -> None:
        if self.data is None:
            return
        if self.data < _today():
            raise ValidationError("Choose today or a later day.")
        if self.moment - now() > rotation.FURTHEST_SECONDS:
            raise ValidationError("Choose a day within ten years.")

    @property
    def moment(self) -> int:
        """The end of that day."""
        assert self.data
        return int(datetime.combine(self.data, datetime.min.time(), UTC).timestamp()) + DAY - 1


class AddForm(FlaskForm):
    """Another secret."""

    name = Name()
    last_day = LastDay()
    #: The version of the application that the page showed.
    seen = HiddenField()


class SecretForm(FlaskForm):
    """What a secret is called and when it stops."""

    name = Name()
    ends = SelectField(
        "It stops",
        choices=[
            SelectChoice(NEVER, "When somebody retires it"),
            SelectChoice(ON_DATE, "After the day below"),
            *(
                SelectChoice(str(days), f"By itself, once unused for {days} days")
                for days in rotation.UNUSED_DAYS
            ),
        ],
    )
    last_day = LastDay()

    former_day: date | None = None

    @classmethod
    def of(cls, secret: ApplicationSecret) -> Self:
        """The form filled in, or as it was sent."""
        days, end = secret.retire_unused_days, secret.expires_at
        last_day = datetime.fromtimestamp(end, UTC).date() if end else None
        form = cls()
        if not form.is_submitted():
            ends = str(days) if days else ON_DATE if end else NEVER
            form = cls(data={"name": secret.name, "ends": ends, "last_day": last_day})
        form.former_day = last_day
        return form

    def validate_last_day(self, field: LastDay) -> None:
        if self.ends.data == ON_DATE and field.data is None:
            raise ValidationError("Enter the last day, or choose another way for it to stop.")
        if self.ends.data != ON_DATE and field.data not in (None, self.former_day):
            raise ValidationError("Choose that it stops after this day, or leave the day empty.")

    def changes(self, secret: ApplicationSecret) -> dict[str, Any]:
        """What was sent, by the model's names."""
        end = None
        if self.ends.data == ON_DATE:
            same = self.last_day.data == self.former_day
            end = secret.expires_at if same else self.last_day.moment
        days = int(self.ends.data) if self.ends.data.isdigit() else None
        return {"name": self.name.data, "expires_at": end, "retire_unused_days": days}


@blueprint.get("/secrets")
def list_secrets() -> Response:
    """Secrets belong to applications: choose one."""
    return see_other(APPLICATIONS)


@blueprint.get("/secrets/<client_id>")
def show_secrets(client_id: str) -> Response:
    """The secrets of one application; 404 when there is none."""
    application = _find(client_id)
    return _page(application, _add_form(application))


@blueprint.post("/secrets/<client_id>")
def add_secret(client_id: str) -> Response:
    """Make another secret and show it, this once; the others go on working."""
    application = _find(client_id)
    form = AddForm()
    if not application.confidential:
        flash("A public application has no secret.", "error")
        return _page(application, form, 422)
    if not form.validate_on_submit():
        return _page(application, form, 422)
    end = form.last_day.moment if form.last_day.data else None
    try:
        with transaction():
            claimed = application.claim(form.seen.data)
            secret = rotation.add(application, form.name.data, end) if claimed else None
    except TooManySecrets as error:
        form.seen.errors = [str(error)]
        return _page(application, form, 422)
    if secret is None:
        flash(
            "No secret was made: this page was sent before, or somebody changed the application"
            " since. Look at the secrets below.",
            "info",
        )
        return see_other(_address(application))
    fresh = _find(client_id)
    return _page(fresh, _add_form(fresh), secret=secret)


@blueprint.get(ONE)
def edit_secret(client_id: str, secret_id: int) -> Response:
    """A secret's name and when it stops; 404 when it has stopped."""
    application, secret = _find_live(client_id, secret_id)
    return _secret_page(application, secret, SecretForm.of(secret))


@blueprint.post(ONE)
def change_secret(client_id: str, secret_id: int) -> Response:
    """Save them."""
    application, secret = _find_live(client_id, secret_id)
    form = SecretForm.of(secret)
    if not form.validate_on_submit():
        return _secret_page(application, secret, form, 422)
    if not rotation.change(application, secret, **form.changes(secret)):
        abort(404)
    flash(f"The secret {secret.prefix}… is saved.", "success")
    return see_other(_address(application))


@blueprint.get(f"{ONE}/retire")
def confirm_retirement(client_id: str, secret_id: int) -> Response:
    """Say when it was last used, and what retiring it does."""
    application, secret = _find_live(client_id, secret_id)
    live = application.live_secrets
    return render(
        "admin/secrets/retire.html",
        application=application,
        it=secret,
        last_use=rotation.last_use(secret),
        verdict=rotation.verdict(secret, live),
        alone=len(live) == 1,
    )


@blueprint.post(f"{ONE}/retire")
def retire_now(client_id: str, secret_id: int) -> Response:
    """Refuse it from now on."""
    application, secret = _find_live(client_id, secret_id)
    if not rotation.retire(application, secret):
        abort(404)
    flash(f"The secret {secret.prefix}… is retired: it is refused from now on.", "success")
    return see_other(_address(application))


# What the routes share


def _find(client_id: str) -> Application:
    # PostgreSQL cannot look for NUL.
    return ("\0" not in client_id and Application.with_client_id(client_id)) or abort(404)


def _find_live(client_id: str, secret_id: int) -> tuple[Application, ApplicationSecret]:
    application = _find(client_id)
    found = (it for it in application.live_secrets if it.id == secret_id)
    return application, next(found, None) or abort(404)


def _today() -> date:
    return datetime.fromtimestamp(now(), UTC).date()


def _address(application: Application) -> str:
    return f"{ADDRESS}/{application.client_id}"


def _add_form(application: Application) -> AddForm:
    return AddForm(formdata=None, data={"seen": str(application.version)})


def _page(
    application: Application, form: AddForm, status: int = 200, secret: str | None = None
) -> Response:
    live = application.live_secrets
    gone = ApplicationSecret.select().where(
        ApplicationSecret.application == application.id,
        ApplicationSecret.retired_at.is_null(False) | (ApplicationSecret.expires_at <= now()),
    )
    return no_store(
        render(
            "admin/secrets/show.html",
            status=status,
            application=application,
            secrets=[(it, rotation.verdict(it, live)) for it in live],
            gone=list(gone.order_by(ApplicationSecret.id.desc()).limit(SHOWN_RETIRED)),
            form=form,
            full=len(live) >= MOST_SECRETS,
            most=MOST_SECRETS,
            today=_today().isoformat(),
            secret=secret,
            reuse=reuse.report(application),
            errors=status == 422,
        )
    )


def _secret_page(
    application: Application, secret: ApplicationSecret, form: SecretForm, status: int = 200
) -> Response:
    live = application.live_secrets
    return render(
        "admin/secrets/edit.html",
        status=status,
        application=application,
        it=secret,
        form=form,
        verdict=rotation.verdict(secret, live),
        alone=len(live) == 1,
        today=_today().isoformat(),
        errors=status == 422,
    )
