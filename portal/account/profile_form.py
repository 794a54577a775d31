"""The form of one's own profile: names, e-mail address and the standard claims."""

from collections.abc import Callable

from flask_wtf import FlaskForm
from wtforms import Field, PasswordField, StringField, TextAreaField
from wtforms.validators import ValidationError

from portal.models import User
from portal.models.profile import RULES, ProfileProblem, claims_of, cleaned, values_of
from portal.models.user import email_problem, name_problem

#: Behind "More about you": shown at once when one of them is filled in or wrong.
RARE = ("middle_name", "nickname", "gender", "birthdate", "profile", "picture")


def _claim(form: FlaskForm, field: Field) -> None:
    try:
        field.data = cleaned(field.name, field.data or "")
    except ProfileProblem as problem:
        raise ValidationError(str(problem)) from None


def _text(label: str, kind: Callable[..., Field] = StringField) -> Field:
    return kind(label, validators=[_claim])


class ProfileForm(FlaskForm):
    """What a person says about themselves; each claim is cleaned while it is checked."""

    name = StringField("Full name", filters=[lambda text: (text or "").strip()])
    given_name = _text("Given name")
    family_name = _text("Family name")
    locale = _text("Language")
    zoneinfo = _text("Time zone")
    website = _text("Website")
    email = StringField("E-mail address", filters=[lambda text: (text or "").strip()])
    current_password = PasswordField("Current password")
    phone_number = _text("Telephone number")
    street_address = _text("Street address", TextAreaField)
    locality = _text("Town or city")
    region = _text("County or region")
    postal_code = _text("Postcode")
    country = _text("Country")
    middle_name = _text("Middle name")
    nickname = _text("Nickname")
    birthdate = _text("Date of birth")
    gender = _text("Gender")
    picture = _text("Picture")
    profile = _text("Profile page")

    @classmethod
    def about(cls, user: User) -> "ProfileForm":
        """The form, filled in with what is known about the person."""
        return cls(data={**values_of(user.claims), "name": user.name, "email": user.email})

    def validate_name(self, field: Field) -> None:
        _refuse(name_problem(field.data))

    def validate_email(self, field: Field) -> None:
        _refuse(email_problem(field.data))

    @property
    def claims(self) -> dict[str, object]:
        """The claims to keep, once the form is valid."""
        return claims_of({claim: self[claim].data for claim in RULES})

    @property
    def shows_rare(self) -> bool:
        return any(self[name].data or self[name].errors for name in RARE)


def _refuse(problem: str | None) -> None:
    if problem:
        raise ValidationError(problem)
