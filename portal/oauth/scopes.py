"""Scopes that are refused: which cause it is, for the operator; clients hear the same of each."""

from portal.models import Scope
from portal.models.client import Client
from portal.models.scope import PERSONAL
from portal.oauth.refusals import (
    SCOPE_NOT_ALLOWED,
    SCOPE_PERSONAL,
    SCOPE_UNKNOWN,
    Reason,
    Refused,
    refuse,
)


def refuse_scopes(client: Client, asked: str, *, for_itself: bool = False) -> Refused:
    """Make the exception to raise; `for_itself` is an application without a person."""
    reason, names = _cause(client, asked.split(), for_itself)
    return refuse(reason, application_id=client.id, detail=" ".join(dict.fromkeys(names)))


def _cause(client: Client, asked: list[str], for_itself: bool) -> tuple[Reason, list[str]]:
    known = client.scopes | {scope.name for scope in Scope.catalogue()}
    if unknown := [name for name in asked if name not in known]:
        return SCOPE_UNKNOWN, unknown
    if for_itself and (personal := [name for name in asked if name in PERSONAL]):
        return SCOPE_PERSONAL, personal
    return SCOPE_NOT_ALLOWED, asked
