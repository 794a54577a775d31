"""Client Credentials: an application acts for itself (RFC 6749 §4.4)."""

from authlib.oauth2.rfc6749 import grants

from portal.oauth.grants.base import PortalGrant
from portal.oauth.issuing import issue_access_token
from portal.oauth.refusals import SCOPE_NOT_ALLOWED, refuse


class ClientCredentialsGrant(PortalGrant, grants.ClientCredentialsGrant):
    """A token without a person: nothing about one, and nothing to refresh."""

    def validate_requested_scope(self) -> None:
        client, asked = self.request.client, self.request.payload.scope
        scope = client.get_machine_scope(asked)
        if scope is None:
            raise refuse(SCOPE_NOT_ALLOWED, application_id=client.id, detail=asked)
        self.request.scope = scope

    def create_token_response(self) -> tuple:
        client, scope = self.request.client, self.request.scope
        token = issue_access_token(client, scope, self.server.settings.access_token_seconds)
        return self.token_response(token, scope, None)
