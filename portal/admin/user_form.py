"""The forms of Admin > People."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, Field, HiddenField, StringField
from wtforms.validators import ValidationError

from portal.admin import tickets
from portal.credentials import make_subject
from portal.models import User
from portal.models.user import email_problem, fold, name_problem, username_problem


class PersonForm(FlaskForm):
    """Who a new person is."""

    username = StringField("Username", filters=[lambda text: (text or "").strip()])
    email = StringField("E-mail address", filters=[lambda text: (text or "").strip()])
    name = StringField("Full name", filters=[lambda text: (text or "").strip()])
    is_admin = BooleanField("Administrator")
    email_verified = BooleanField("The address is known to be theirs")
    #: The account number to be, signed. A form sent twice adds one person.
    ticket = HiddenField()

    def validate_username(self, field: Field) -> None:
        _refuse(username_problem(field.data))
        _refuse("This username is taken." if User.named(field.data) else None)

    def validate_email(self, field: Field) -> None:
        _refuse(email_problem(field.data))
        _refuse("Somebody has this e-mail address already." if User.named(field.data) else None)

    def validate_name(self, field: Field) -> None:
        _refuse(name_problem(field.data))


def make_ticket(administrator: User) -> str:
    """A new account number, signed for one administrator: it can be used once."""
    return tickets.sign("add a person", administrator, make_subject())


def read_ticket(ticket: str, administrator: User) -> str | None:
    """The account number of a ticket; None when it is not this administrator's."""
    return tickets.read("add a person", administrator, ticket)


class EditForm(FlaskForm):
    """What may be changed about a person; the username stays."""

    email = StringField("E-mail address", filters=[lambda text: (text or "").strip()])
    name = StringField("Full name", filters=[lambda text: (text or "").strip()])
    email_verified = BooleanField("The address is known to be theirs")

    def __init__(self, user: User) -> None:
        super().__init__(data={"email": user.email, "name": user.name})
        self.user = user

    def validate_email(self, field: Field) -> None:
        _refuse(email_problem(field.data))
        other = User.named(field.data)
        if other is not None and other.id != self.user.id:
            raise ValidationError("Somebody has this e-mail address already.")

    def validate_name(self, field: Field) -> None:
        _refuse(name_problem(field.data))


def _refuse(problem: str | None) -> None:
    if problem:
        raise ValidationError(problem)


class DeleteForm(FlaskForm):
    """The typed username, and who gets the applications."""

    confirm_username = StringField("Username")
    heir = StringField("New owner of their applications")

    def __init__(self, user: User, owned: int) -> None:
        super().__init__()
        self.user, self.owned = user, owned
        self.new_owner: User | None = None

    def validate_confirm_username(self, field: Field) -> None:
        if fold(field.data or "") != self.user.username_key:
            raise ValidationError(f"Type {self.user.username} to confirm.")

    def validate_heir(self, field: Field) -> None:
        if not self.owned:
            return
        if not fold(field.data or ""):
            raise ValidationError("Enter the username or e-mail address of the new owner.")
        heir = User.named(field.data)
        if heir is None:
            raise ValidationError("Nobody has this username or e-mail address.")
        if heir.id == self.user.id:
            raise ValidationError("Name somebody else: this is the person whom you delete.")
        if not heir.is_active:
            raise ValidationError(f"{heir.display_name} is disabled. Name somebody else.")
        self.new_owner = heir
