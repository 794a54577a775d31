"""Client Credentials: an application acts for itself (RFC 6749 §4.4)."""

from authlib.oauth2.rfc6749 import grants

from portal.oauth.grants.base import PortalGrant
from portal.oauth.issuing import Bearer, issue_access_token
from portal.oauth.resources import asked_resources
from portal.oauth.scopes import refuse_scopes


class ClientCredentialsGrant(PortalGrant, grants.ClientCredentialsGrant):
    """A token without a person: nothing about one, and nothing to refresh."""

    def validate_requested_scope(self) -> None:
        client, asked = self.request.client, self.request.payload.scope
        scope = client.get_machine_scope(asked)
        if scope is None:
            raise refuse_scopes(client, asked, for_itself=True)
        self.request.scope = scope

    def create_token_response(self) -> tuple:
        client, scope = self.request.client, self.request.scope
        resources = asked_resources(self.request, client)
        token = issue_access_token(self.server, client, scope, resources, Bearer())
        self.server.uses.note_machine(client, scope)
        return self.token_response(token, scope)
