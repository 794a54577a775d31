"""Set-up cards: an application's settings in the words of the software that needs them.

`catalogue` lists them, `formats` writes values so that each kind of file reads them back, `filled`
puts both together for one application. The texts are in `templates/cards/`.
"""

from portal.cards.catalogue import CARDS, KINDS, Card, card_for, card_named
from portal.cards.filled import Filled, Problem, callback_at, fill, offered_uris, page_context

__all__ = (
    "CARDS",
    "KINDS",
    "Card",
    "Filled",
    "Problem",
    "callback_at",
    "card_for",
    "card_named",
    "fill",
    "offered_uris",
    "page_context",
)
