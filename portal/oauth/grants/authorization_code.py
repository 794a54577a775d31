"""Authorisation Code: a person signs in and decides, the application redeems a code once."""

from typing import Any

from authlib.oauth2.rfc6749 import grants

from portal.clock import now
from portal.credentials import (
    AUTHORIZATION_CODE,
    format_token,
    hash_secret,
    make_secret,
    matches,
    new_id,
    parse_token,
)
from portal.database import transaction
from portal.models import TokenFamily
from portal.models.client import Client
from portal.models.statements import FIND_CODE, INSERT_CODE, USE_CODE
from portal.oauth import redirect_uris, refusals
from portal.oauth.authentication_request import AuthenticationRequest
from portal.oauth.grants.base import PortalGrant
from portal.oauth.issuing import start_family
from portal.oauth.refusals import refuse
from portal.oauth.resources import asked_resources
from portal.oauth.scopes import refuse_scopes


class Code:
    """A stored code, with the one question that Authlib asks of it."""

    def __init__(self, row: Any, redirect_uri: str | None) -> None:
        self.row = row
        self._redirect_uri = redirect_uri

    def get_redirect_uri(self) -> str | None:
        return self._redirect_uri


class AuthorizationCodeGrant(PortalGrant, grants.AuthorizationCodeGrant):
    """RFC 6749 §4.1, with PKCE by the extension."""

    REQUIRED = "code"
    #: What the authorization request wishes, read by `PortalServer.consent_grant`.
    wishes: AuthenticationRequest
    resources: list[str]

    # At the authorization endpoint

    @staticmethod
    def validate_authorization_redirect_uri(request: Any, client: Client) -> str:
        """The address to answer at: exactly a registered one (RFC 9700 §4.1.3)."""
        sent = request.payload.redirect_uri
        if not sent:
            registered = client.get_default_redirect_uri()
            if registered is None:
                raise refuse(refusals.REDIRECT_URI_MISSING, application_id=client.id)
            return registered
        if sent == request.own_callback:
            return sent
        # Never a prefix match: it would let /cb/evil through.
        if not redirect_uris.matches(sent, client.redirect_uris):
            raise refuse(refusals.REDIRECT_URI_MISMATCH, application_id=client.id, detail=sent)
        return sent

    def validate_requested_scope(self) -> None:
        client, asked = self.request.client, self.request.payload.scope
        if client.get_allowed_scope(asked) is None:
            raise refuse_scopes(client, asked)

    def save_code(self, user: Any) -> str:
        """Store a code for what the person decided, and return it (RFC 6749 §4.1.2)."""
        payload, secret, row_id = self.request.payload, make_secret(), new_id()
        client = self.request.client
        # Not in a transaction that waits for the disk: a code that a power cut swallows within its
        # minute is asked for again. Redeeming it does wait.
        INSERT_CODE.run(
            id=row_id,
            hash=hash_secret(secret),
            application_id=client.id,
            epoch=client.epoch,
            user_id=user.id,
            redirect_uri=payload.redirect_uri,
            scopes=self.request.scope,
            code_challenge=payload.data.get("code_challenge"),
            nonce=payload.data.get("nonce"),
            claims=self.request.claims.stored(),
            resources=" ".join(self.resources),
            auth_time=user.session.auth_time,
            session_id=user.session.sid,
            now=now(),
            expires_at=now() + self.server.settings.code_seconds,
        )
        return format_token(AUTHORIZATION_CODE, row_id, secret)

    # At the token endpoint

    def query_authorization_code(self, code: str, client: Client) -> Code:
        """The code, when this client may redeem it now (RFC 6749 §4.1.3)."""
        presented = parse_token(code)
        if presented is None or presented.kind != AUTHORIZATION_CODE:
            raise refuse(refusals.CODE_UNKNOWN, application_id=client.id)
        row = FIND_CODE.row(id=presented.id)
        if row is None or not matches(presented.hash, row.hash):
            raise refuse(refusals.CODE_UNKNOWN, application_id=client.id)
        if row.application_id != client.id:
            raise refuse(refusals.CODE_FOREIGN, application_id=client.id)
        if row.used_at is not None and row.expires_at != 0:
            raise self._reused(row)
        withdrawn = row.used_at is not None or row.epoch != row.application_epoch
        if withdrawn or not row.person_active:
            raise refuse(refusals.CODE_WITHDRAWN, application_id=client.id)
        if row.expires_at <= now():
            raise refuse(refusals.CODE_EXPIRED, application_id=client.id)
        sent = self.request.payload.redirect_uri
        if sent is None:  # with PKCE it may be left out (OAuth 2.1)
            same = row.redirect_uri is None or row.code_challenge is not None
        else:
            same = sent == (row.redirect_uri or client.get_default_redirect_uri())
        if not same:
            raise refuse(refusals.REDIRECT_URI_DIFFERS, application_id=client.id, detail=sent or "")
        return Code(row, sent)

    def create_token_response(self) -> tuple:
        """Swap the code for tokens, once: consumed before anything is issued."""
        client, code = self.request.client, self.request.authorization_code.row
        resources = asked_resources(self.request, client, code.resources.split())
        with transaction():
            if USE_CODE.count(id=code.id, now=now()) == 1:
                refresh_token = start_family(
                    self.server, client, code, "code", self.request.address
                )
                return self.tokens_of(code, code.scopes, resources, refresh_token, code.nonce)
        raise self._reused(code)

    @staticmethod
    def _reused(row: Any) -> refusals.Refused:
        """A code used twice: what the first use got dies too (RFC 6749 §4.1.2)."""
        with transaction():
            TokenFamily.end_one("code_reused", row.id)
        return refuse(refusals.CODE_REUSED, application_id=row.application_id)
