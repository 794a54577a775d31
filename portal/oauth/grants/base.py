"""What the token grants share."""

from typing import Any

from portal.oauth.id_token import make_id_token
from portal.oauth.issuing import Bearer, issue_access_token
from portal.oauth.refusals import GRANT_NOT_ALLOWED, PARAMETER_MISSING, refuse
from portal.oauth.request_filter import BASIC, NONE, POST
from portal.oauth.scopes import refuse_scopes


class PortalGrant:
    """Mixed into each of Authlib's grants: who asks, what must be there, what is answered."""

    TOKEN_ENDPOINT_AUTH_METHODS = [BASIC, POST, NONE]
    GRANT_TYPE: str
    #: The parameter that this grant cannot do without.
    REQUIRED: str | None = None
    request: Any
    server: Any

    def authenticate_token_endpoint_client(self) -> Any:
        """The client, proven and allowed to use this grant (RFC 6749 §3.2.1, §5.2)."""
        client = self.server.authenticate_client(self.request, self.TOKEN_ENDPOINT_AUTH_METHODS)
        if not client.check_grant_type(self.GRANT_TYPE):
            raise refuse(GRANT_NOT_ALLOWED, application_id=client.id, detail=self.GRANT_TYPE)
        if self.REQUIRED and self.REQUIRED not in self.request.form:
            raise refuse(PARAMETER_MISSING, application_id=client.id, detail=self.REQUIRED)
        return client

    def tokens_of(
        self,
        decision: Any,
        scope: str,
        resources: list[str],
        refresh_token: str | None,
        nonce: str | None = None,
    ) -> tuple:
        """Issue what follows from a person's decision: an access token, and who they are.

        A scope that was taken away from the application since then is left out.
        """
        client, granted = self.request.client, scope
        scope = " ".join(name for name in granted.split() if name in client.scopes)
        if not scope:
            raise refuse_scopes(client, granted)
        bearer = Bearer(decision.id, decision.user_id, decision.sub, decision.auth_time)
        access_token = issue_access_token(self.server, client, scope, resources, bearer)
        id_token = None
        if "openid" in scope.split():
            id_token = make_id_token(self.server, client, decision, access_token, nonce)
        return self.token_response(access_token, scope, refresh_token, id_token)

    def token_response(
        self,
        access_token: str,
        scope: str,
        refresh_token: str | None = None,
        id_token: str | None = None,
    ) -> tuple:
        """The token response (RFC 6749 §5.1); it always says which scope was granted."""
        body = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": self.server.settings.access_token_seconds,
            "scope": scope,
        }
        if refresh_token is not None:
            body["refresh_token"] = refresh_token
        if id_token is not None:
            body["id_token"] = id_token
        return 200, body, self.server.HEADERS
