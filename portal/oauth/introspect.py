"""Introspection: does this token still work, and for what? (RFC 7662)."""

from typing import Any

from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from werkzeug.wrappers import Response

from portal.clock import now
from portal.credentials import ACCESS_TOKEN, Presented
from portal.models.client import Client
from portal.oauth import blueprint
from portal.oauth.claims import subject_for
from portal.oauth.door import answer_machine
from portal.oauth.presented import find_presented
from portal.oauth.request_filter import BASIC, POST
from portal.security import csrf


class Introspection(IntrospectionEndpoint):
    """An application may check its own tokens; a resource server everybody's.

    Whatever is not active, or none of the asker's business, is `{"active": false}` and no more.
    """

    ENDPOINT_NAME = "introspect"
    CLIENT_AUTH_METHODS = [BASIC, POST]

    def authenticate_token(
        self, request: Any, client: Client
    ) -> tuple[Presented, Any, Client] | None:
        found = find_presented(request, client)
        if found and (client.resource_server or found[1].application_id == client.id):
            return *found, client
        return None

    def create_introspection_payload(self, token: tuple[Presented, Any, Client] | None) -> dict:
        if token is None:
            return {"active": False}
        presented, row, asker = token
        if not row.alive or row.expires_at <= now():
            return {"active": False}
        payload = {
            "active": True,
            "client_id": row.client_id,
            "scope": row.scopes,
            "sub": subject_for(row, row.sub, self.server.pairwise_key)
            if row.sub
            else row.client_id,
            "exp": row.expires_at,
            "iat": row.created_at,
            "iss": self.server.settings.issuer,
        }
        if presented.kind == ACCESS_TOKEN:
            payload["token_type"] = "Bearer"  # noqa: S105
        if row.username and _may_be_named(row, asker):
            payload["username"] = row.username
        if row.resources:
            payload["aud"] = row.resources.split()
        return payload


def _may_be_named(row: Any, asker: Client) -> bool:
    """Whether the username may be told: it is of the `profile` scope.

    Resource servers serve people by name, but not those who have another `sub` everywhere.
    """
    if "profile" in row.scopes.split():
        return True
    return asker.resource_server and row.subject_type != "pairwise"


@blueprint.post("/oauth/introspect")
@csrf.exempt
def introspect() -> Response:
    return answer_machine(Introspection.ENDPOINT_NAME)
