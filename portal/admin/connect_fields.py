"""“What are you connecting?”: two fields of the add form, and what they fill in."""

from typing import Any

from wtforms import HiddenField, SelectField, StringField
from wtforms.fields import SelectChoice

from portal import cards
from portal.models.application import AUTHORIZATION_CODE

#: What applications that sign people in ask for.
SIGN_IN_SCOPES = ("openid", "profile", "email")
NOTHING = ""


class ConnectFields:
    """Nothing of it is saved: the choice fills in other fields, which people still change."""

    connects = SelectField(
        "What are you connecting?",
        choices=[
            SelectChoice(NOTHING, "Something else, or I do not know yet"),
            *(SelectChoice(card.name, card.title) for card in cards.CARDS),
        ],
        validate_choice=False,
    )
    app_address = StringField("Its address")
    #: The redirect URI that was filled in last, so that the next choice replaces it.
    offered = HiddenField()

    @property
    def card(self) -> cards.Card | None:
        """The card that is chosen."""
        return cards.card_named(self.connects.data or NOTHING)


def fill_in(form: Any) -> bool:
    """Fill in what the chosen card needs and leave the rest; else the fields say what to change."""
    card: cards.Card | None = form.card
    if card is None:
        form.connects.errors = ["Choose what you are connecting."]
        return False
    if card.callback:
        uri, wrong = cards.callback_at(card, form.app_address.data or "")
        if wrong:
            form.app_address.errors = [wrong]
            return False
        _replace_offer(form, uri)
    if not (form.name.data or "").strip():
        form.name.data = "" if card.any_path else card.title
    form.grants.data = list(dict.fromkeys([*(form.grants.data or []), card.grants[0]]))
    if AUTHORIZATION_CODE in card.grants:
        known = {scope.name for scope in form.catalogue}
        wanted = [name for name in SIGN_IN_SCOPES if name in known]
        form.scopes.data = list(dict.fromkeys([*(form.scopes.data or []), *wanted]))
    form.confidential.data = form.confidential.data or card.needs_secret
    return True


def _replace_offer(form: Any, uri: str) -> None:
    lines = (form.redirect_uris.data or "").splitlines()
    kept = [line for line in lines if line.strip() and line.strip() != form.offered.data]
    form.redirect_uris.data = "\n".join(dict.fromkeys([*kept, uri]))
    form.offered.data = uri
