"""The whole server at a glance: grants, their extensions, and endpoints."""

from portal.oauth.authorization_server import PortalServer
from portal.oauth.device import DeviceAuthorization
from portal.oauth.extensions.pkce import ProofKey
from portal.oauth.grants.authorization_code import AuthorizationCodeGrant
from portal.oauth.grants.client_credentials import ClientCredentialsGrant
from portal.oauth.grants.device_code import DeviceCodeGrant
from portal.oauth.grants.refresh_token import RefreshTokenGrant
from portal.oauth.introspect import Introspection
from portal.oauth.revoke import Revocation
from portal.settings import Settings

GRANTS: tuple[tuple[type, list], ...] = (
    (AuthorizationCodeGrant, [ProofKey()]),
    (ClientCredentialsGrant, []),
    (DeviceCodeGrant, []),
    (RefreshTokenGrant, []),
)
ENDPOINTS = (DeviceAuthorization, Introspection, Revocation)


def make_server(settings: Settings) -> PortalServer:
    """The authorization server of one portal."""
    server = PortalServer(settings)
    for grant, extensions in GRANTS:
        server.register_grant(grant, extensions)
    for endpoint in ENDPOINTS:
        server.register_endpoint(endpoint)
    return server
