"""Resource indicators: which resource servers a token is for (RFC 8707)."""

from typing import Any
from urllib.parse import urlsplit

from portal.oauth.refusals import RESOURCE_NOT_ALLOWED, refuse


def is_resource(uri: str) -> bool:
    """Whether this may name a resource server: an absolute URI without a fragment (§2)."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and "#" not in uri and uri.isascii()


def asked_resources(request: Any, client: Any, granted: list[str] | None = None) -> list[str]:
    """The resource servers that the request names; those granted before when it names none.

    Raises Refused (invalid_target) for one that is malformed, or is not on the application's
    list, or was not granted at the authorization endpoint; and when all that was granted has
    left the list since.
    """
    named = request.payload.data.get("resource")
    if not named and not granted:  # nearly always
        return []
    asked = list(dict.fromkeys((named or "").split()))
    allowed = [uri for uri in granted or client.resources if uri in client.resources]
    if not asked and granted:
        asked = allowed or granted
    for uri in asked:
        if not is_resource(uri) or uri not in allowed:
            raise refuse(RESOURCE_NOT_ALLOWED, application_id=client.id, detail=uri)
    return asked
