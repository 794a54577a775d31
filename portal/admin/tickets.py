"""The ticket of a form that adds something: what it adds is called, signed for who fills it in.

Sent again, such a form finds what it added, and adds nothing.
"""

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer

from portal.models import User


def sign(purpose: str, administrator: User, name: str) -> str:
    """A ticket for something new with this name, for one administrator."""
    return str(_serializer(purpose).dumps([administrator.id, name]))


def read(purpose: str, administrator: User, ticket: str) -> str | None:
    """The name on a ticket; None when it is not this administrator's."""
    try:
        person_id, name = _serializer(purpose).loads(ticket)
    except (BadSignature, ValueError, TypeError):
        return None
    return str(name) if person_id == administrator.id else None


def _serializer(purpose: str) -> URLSafeSerializer:
    assert current_app.secret_key, "the portal always has a secret key"
    return URLSafeSerializer(current_app.secret_key, salt=purpose)
