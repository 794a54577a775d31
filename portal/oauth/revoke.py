"""Revocation: an application gives a token back (RFC 7009)."""

from typing import Any

from authlib.oauth2.rfc7009 import RevocationEndpoint
from werkzeug.wrappers import Response

from portal.credentials import ACCESS_TOKEN, Presented
from portal.database import transaction
from portal.models import AccessToken, TokenFamily
from portal.models.client import Client
from portal.oauth import blueprint
from portal.oauth.door import answer_machine
from portal.oauth.presented import find_presented
from portal.oauth.refusals import TOKEN_FOREIGN, refuse
from portal.oauth.request_filter import BASIC, NONE, POST
from portal.security import csrf


class Revocation(RevocationEndpoint):
    """An unknown token is as good as revoked: 200. A refresh token takes its family with it."""

    ENDPOINT_NAME = "revoke"
    CLIENT_AUTH_METHODS = [BASIC, POST, NONE]

    def authenticate_token(self, request: Any, client: Client) -> Presented | None:
        found = find_presented(request, client, with_previous=True)
        if found is None:
            return None
        presented, row = found
        if row.application_id != client.id:
            raise refuse(TOKEN_FOREIGN, application_id=client.id)
        return presented

    def revoke_token(self, token: Presented, request: Any) -> None:
        with transaction():
            if token.kind == ACCESS_TOKEN:
                AccessToken.revoke(token.id)
            else:
                TokenFamily.end_one("revoked", token.id)


@blueprint.post("/oauth/revoke")
@csrf.exempt
def revoke() -> Response:
    return answer_machine(Revocation.ENDPOINT_NAME)
