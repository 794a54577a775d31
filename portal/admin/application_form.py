"""The forms of an application: add, edit, rotate its secret, delete."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Self

from flask_login import current_user
from flask_wtf import FlaskForm
from peewee import fn
from wtforms import (
    BooleanField,
    DateField,
    HiddenField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.fields import SelectChoice, SelectField
from wtforms.validators import AnyOf, Optional

from portal import approval, trust
from portal.admin import tickets
from portal.admin.connect_fields import ConnectFields
from portal.clock import now
from portal.credentials import make_client_id
from portal.models import Application, Scope, Trust, User
from portal.models.application import (
    AUTHORIZATION_CODE,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from portal.models.user import fold
from portal.oauth import application_rules
from portal.text import plural

#: Of one field, so that whoever pasted many addresses corrects them in one round.
SHOWN_PROBLEMS = 20
KEEP_DAYS = ("0", "1", "7", "30")


class OnUnlessSaidField(BooleanField):
    """A box that counts as ticked unless the form says otherwise (an empty hidden field does),
    so that what protects an application is not switched off by leaving it out."""

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = not valuelist or any(value not in self.false_values for value in valuelist)


class ApplicationForm(ConnectFields, FlaskForm):
    """Everything that an administrator decides about an application.

    Fields that are not listed here cannot be sent (client ID, version, times). What may go
    together is in `portal.oauth.application_rules`, which the commands share.
    """

    name = StringField("Name")
    owner = StringField("Owner")
    grants = SelectMultipleField("Grant flows", choices=[], validate_choice=False)
    refresh_tokens = BooleanField("Keep people signed in")
    redirect_uris = TextAreaField("Redirect URIs")
    confidential = BooleanField("Confidential")
    scopes = SelectMultipleField("Scopes", choices=[], validate_choice=False)
    trusted = BooleanField("Trusted")
    trust_reason = TextAreaField("Why is it trusted?")
    trust_until = DateField("Trust ends after", validators=[Optional()])
    trust_confirm = StringField("Type the application’s name to confirm")
    post_logout_redirect_uris = TextAreaField("Addresses after sign-out")
    require_pkce = OnUnlessSaidField("Require PKCE")
    resource_server = BooleanField("Resource server")
    token_format = SelectField(
        "Tokens",
        choices=[
            SelectChoice("opaque", "Opaque: checked by asking Portal"),
            SelectChoice("jwt", "JWT: checked by anybody"),
        ],
        validate_choice=False,
    )
    id_token_alg = SelectField(
        "ID tokens are signed with",
        choices=[
            SelectChoice("RS256", "RS256: every library can check it"),
            SelectChoice("ES256", "ES256: shorter and faster"),
            SelectChoice("PS256", "PS256: for banks and health services that ask for it"),
        ],
        validate_choice=False,
    )
    subject_type = SelectField(
        "Account numbers",
        choices=[
            SelectChoice("public", "The same account number everywhere"),
            SelectChoice("pairwise", "A different one for this application"),
        ],
        validate_choice=False,
    )
    resources = TextAreaField("Resource servers")
    backchannel_logout_uri = StringField("Back-channel logout address")
    #: When adding: the client ID to be, signed. A form sent twice adds one application.
    ticket = HiddenField()
    #: When editing: the version that the page showed.
    seen = HiddenField()

    application: Application | None = None
    #: The end of trust that the page showed.
    former_end: int | None = None
    person: User
    catalogue: list[Scope]

    @classmethod
    def to_add(cls, administrator: User) -> Self:
        """The form as the Add page shows it, or as it was sent."""
        end = _as_date(trust.usual_end())
        form = cls._sent_or(owner=administrator.username, trust_until=end, **_NEW)
        if not form.is_submitted():
            form.ticket.data = make_ticket(administrator)
        return form

    @classmethod
    def to_edit(cls, application: Application) -> Self:
        """The form filled in from the application, or as it was sent."""
        end = Trust.of(application.id).asked_until or application.trust_ends_at
        form = cls._sent_or(
            trust_until=_as_date(end or trust.usual_end()),
            **{name: getattr(application, name) for name in _SAME},
            **{name: "\n".join(getattr(application, name)) for name in _ADDRESSES},
            owner=application.owner.username,
            refresh_tokens=REFRESH_TOKEN in application.grants,
            seen=str(application.version),
        )
        form.application, form.former_end = application, end
        form.person = application.owner
        return form

    @classmethod
    def _sent_or(cls, **values: Any) -> Self:
        # A field that was left out of a sent form is empty, never filled in from here.
        form = cls()
        if not form.is_submitted():
            form = cls(data=values)
        form.catalogue = Scope.catalogue()
        return form

    def settings(self) -> dict[str, Any]:
        """What was sent, by the model's names; fields that the page hides do not count."""
        grants = [grant for grant in self.grants.data or [] if grant != REFRESH_TOKEN]
        if self.refresh_tokens.data and {AUTHORIZATION_CODE, DEVICE_CODE} & set(grants):
            grants.append(REFRESH_TOKEN)
        return {
            "name": _text(self.name),
            "grants": grants,
            "redirect_uris": _lines(self.redirect_uris) if AUTHORIZATION_CODE in grants else [],
            "post_logout_redirect_uris": _lines(self.post_logout_redirect_uris),
            "scopes": list(dict.fromkeys(self.scopes.data or [])),
            "confidential": self.confidential.data,
            "require_pkce": self.require_pkce.data,
            "resource_server": self.resource_server.data,
            "resources": _lines(self.resources),
            "backchannel_logout_uri": _text(self.backchannel_logout_uri),
            # One choice is always made: what the form leaves out stays as it is.
            **{
                name: self[name].data
                for name in _CHOICES
                if self[name].raw_data or not self.is_submitted()
            },
            "trusted": self.trusted.data,
            "trust_reason": _text(self.trust_reason) if self.trusted.data else "",
        }

    def chosen_end(self) -> int | None:
        """The end of trust, when the form says another one than the page showed."""
        chosen = self.trust_until.data
        if not self.trusted.data or chosen is None:
            return None
        if self.former_end and chosen == _as_date(self.former_end):
            return None
        start = datetime.combine(chosen, datetime.min.time(), UTC)
        return trust.end_of_day(int(start.timestamp()))

    @property
    def approves_itself(self) -> bool:
        """Whether there is nobody else to approve trust."""
        return not approval.other_administrators(str(current_user.id))

    @property
    def today(self) -> str:
        return trust.day(now())

    def validate(self, extra_validators: Any = None) -> bool:
        """Whether it may be saved; else every field says what to change."""
        super().validate(extra_validators)
        settings = self.settings()
        found = application_rules.problems(settings, {scope.name for scope in self.catalogue})
        for name in dict.fromkeys(problem.field for problem in found):
            sentences = [problem.sentence for problem in found if problem.field == name]
            more = len(sentences) - SHOWN_PROBLEMS
            rest = [f"And {plural(more, 'more problem')}."] if more > 0 else []
            _add_error(self[name], "\n".join([*sentences[:SHOWN_PROBLEMS], *rest]))
        self._find_owner()
        if settings["trusted"]:
            self._check_trust(settings)
        return not self.errors

    def _find_owner(self) -> None:
        person = find_person(_text(self.owner))
        if isinstance(person, str):
            _add_error(self.owner, person)
            return
        kept = self.application is not None and self.application.owner == person
        if not person.is_active and not kept:
            _add_error(self.owner, f"{person.display_name} is disabled: choose somebody else.")
        self.person = person

    def _check_trust(self, settings: dict[str, Any]) -> None:
        if not settings["trust_reason"]:
            _add_error(self.trust_reason, "Say why people need not be asked.")
        if self.trust_until.raw_data and not self.trust_until.data:
            self.trust_until.errors = ["Enter the last day of trust, such as 2027-12-31."]
        elif end := self.chosen_end():
            problem = trust.end_problem(end)
            if problem:
                _add_error(self.trust_until, problem)
        was_trusted = self.application is not None and self.application.trusted
        if not was_trusted and fold(_text(self.trust_confirm)) != fold(settings["name"]):
            _add_error(
                self.trust_confirm, "Type the application’s name to confirm that you trust it."
            )


_ADDRESSES = ("redirect_uris", "post_logout_redirect_uris", "resources")
_CHOICES = ("token_format", "id_token_alg", "subject_type")
_NEW = {
    "refresh_tokens": True,
    **{name: application_rules.NEW[name] for name in ("confidential", "require_pkce", *_CHOICES)},
}
_SAME = (
    "name",
    "grants",
    "scopes",
    "confidential",
    "require_pkce",
    "resource_server",
    "backchannel_logout_uri",
    *_CHOICES,
    "trusted",
    "trust_reason",
)


class RotateForm(FlaskForm):
    """How long the old secrets go on."""

    keep_days = StringField(default="0", validators=[AnyOf(KEEP_DAYS)])
    seen = HiddenField()


class DeleteForm(FlaskForm):
    """Delete something, with its name typed."""

    confirm_name = StringField("Type the name to confirm")

    def confirms(self, name: str) -> bool:
        """Whether the name was typed, in any case; else the field says so."""
        if not self.validate_on_submit():
            return False
        if fold(_text(self.confirm_name)) == fold(name):
            return True
        _add_error(self.confirm_name, f"Type the name, {name}, to confirm.")
        return False


def make_ticket(administrator: User) -> str:
    """A new client ID, signed for one administrator: it can be used once."""
    return tickets.sign("add an application", administrator, make_client_id())


def read_ticket(ticket: str, administrator: User) -> str | None:
    """The client ID of a ticket; None when it is not this administrator's."""
    return tickets.read("add an application", administrator, ticket)


def find_person(text: str) -> User | str:
    """The person with this username, e-mail address or full name; else what to change."""
    if not text:
        return "Enter the owner: a username or an e-mail address."
    person = User.named(text)
    if person:
        return person
    # PostgreSQL cannot look for NUL.
    same = [] if "\0" in text else list(User.select().where(_has_name(text)).limit(2))
    if len(same) > 1:
        return f"Several people are called {text}: type the username or e-mail address."
    return (
        same[0] if same else f"Nobody here is called {text[:100]}: choose somebody from the list."
    )


def _has_name(text: str) -> Any:
    return fn.LOWER(User.name) == text.lower()


def people_like(key: str, limit: int = 8) -> Iterable[User]:
    """The active people whose username, e-mail address or name has this in it, which is folded."""
    like = User.username_key.contains(key) | User.email_key.contains(key) | User.name.contains(key)
    return (
        User.select()
        .where(like, User.disabled_at.is_null())
        .order_by(User.username_key)
        .limit(limit)
    )


def _add_error(field: Any, sentence: str) -> None:
    field.errors = [*field.errors, sentence]


def _as_date(moment: int) -> date:
    return datetime.fromtimestamp(moment, UTC).date()


def _text(field: Any) -> str:
    return (field.data or "").strip()


def _lines(field: Any) -> list[str]:
    """The lines that are not empty, each once."""
    lines = (line.strip() for line in (field.data or "").replace("\r", "\n").split("\n"))
    return list(dict.fromkeys(line for line in lines if line))
