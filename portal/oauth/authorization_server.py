"""Authlib's framework-neutral server, joined to our models, settings and refusals."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from authlib.consts import default_json_headers
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, UnsupportedGrantTypeError
from flask import Response as FlaskResponse
from peewee import IntegrityError
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

from portal import audit
from portal.credentials import derive_key
from portal.htmx import render
from portal.metrics import refusals_counted, tokens_issued
from portal.models import Application, AuditEvent, Refusal
from portal.models.client import Client, StaleClient
from portal.models.client_cache import ClientCache
from portal.models.last_use import LastUse
from portal.models.usage import UsageNotes
from portal.oauth import redirect_uris, refusals, rehearsal
from portal.oauth.authentication_request import AuthenticationRequest
from portal.oauth.client_authentication import authenticate
from portal.oauth.grants.authorization_code import AuthorizationCodeGrant
from portal.oauth.keyring import KeyRing
from portal.oauth.refusals import Refused, refuse
from portal.oauth.request_filter import MachineCall, ProtocolRequest, read_machine_request
from portal.oauth.resources import asked_resources
from portal.security import no_store
from portal.settings import Settings

#: The token endpoint; Authlib treats it apart from the others.
TOKEN = "token"  # noqa: S105
RESPONSE_MODES = ("query", "form_post")
CHALLENGE = [("WWW-Authenticate", 'Basic realm="Portal", charset="UTF-8"')]
#: How often a request is tried when its application changes under it, or its id is taken.
STALE_TRIES = 3
#: The audit log tells when one cause of refusals has been counted so often.
BURSTS = frozenset(10**power for power in range(1, 10))
REFUSED_OFTEN = "application.refused_often"


class Answer(NamedTuple):
    """What a client application gets, not yet in the words of a framework."""

    status: int
    body: str
    headers: list[tuple[str, str]]

    def as_response(self) -> Response:
        return Response(self.body, self.status, self.headers)


class SentBack(FlaskResponse):
    """A redirect to a checked address, to the character: werkzeug would write it its own way."""

    def __init__(self, address: str) -> None:
        super().__init__("", 303, [("Location", address)], content_type="text/plain")

    def get_wsgi_headers(self, environ: Any) -> Headers:
        return self.headers


class PortalServer(AuthorizationServer):
    """The authorization server of one portal."""

    HEADERS = default_json_headers

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.clients = ClientCache()
        self.uses = LastUse()
        self.usage = UsageNotes()
        self.refresh_key = derive_key(settings.secret_key, "refresh token successor")
        self.audit_key = derive_key(settings.secret_key, "audit")
        self.pairwise_key = derive_key(settings.secret_key, "pairwise subject")
        self.keys = KeyRing(
            derive_key(settings.secret_key, "signing keys"),
            settings.access_token_seconds,
            audit_key=self.audit_key,
        )

    # What client applications ask

    def answer(self, endpoint: str, call: MachineCall) -> Answer:
        """Read a machine's request and answer it; once more when its application just changed.

        `endpoint` is "token", or the name of one of the endpoints beside it.
        """
        try:
            asked = read_machine_request(call, self.settings.issuer)
        except Refused as error:
            return self.handle_error_response(None, error)
        for turn in range(1, STALE_TRIES + 1):
            try:
                if endpoint == TOKEN:
                    answer = self.create_token_response(asked)
                else:
                    answer = self.create_endpoint_response(endpoint, asked)
            except StaleClient as stale:
                self.clients.forget(str(stale))
                continue
            except IntegrityError:
                # Two processes made the same id in one moment; what was begun is undone.
                if turn == STALE_TRIES:
                    raise
                continue
            if answer.status == 200 and asked.client is not None and not rehearsal.is_on():
                self.uses.note(asked.client, asked.secret, call.address)
            return answer
        return self.handle_response(503, {"error": "temporarily_unavailable"}, self.HEADERS)

    def create_oauth2_request(self, request: ProtocolRequest) -> ProtocolRequest:
        """The request filter has made it already."""
        return request

    def create_token_response(self, request: ProtocolRequest) -> Answer:
        """Answer at the token endpoint (RFC 6749 §5)."""
        try:
            grant = self.get_token_grant(request)
            grant.validate_token_request()
            response = self.handle_response(*grant.create_token_response())
            tokens_issued(grant.GRANT_TYPE.rpartition(":")[2]).inc()
            return response
        except OAuth2Error as error:
            return self.handle_error_response(request, error)

    def get_token_grant(self, request: ProtocolRequest) -> Any:
        if request.payload.grant_type is None:
            raise refuse(refusals.PARAMETER_MISSING, detail="grant_type")
        try:
            return super().get_token_grant(request)
        except UnsupportedGrantTypeError:
            raise refuse(
                refusals.GRANT_TYPE_UNSUPPORTED, detail=request.payload.grant_type
            ) from None

    def authenticate_client(
        self, request: ProtocolRequest, methods: list[str], endpoint: str = "token"
    ) -> Client:
        request.client, request.secret = authenticate(self.clients, request.credentials, methods)
        request.auth_method = request.credentials.method
        return request.client

    def query_client(self, client_id: str) -> Client | None:
        # Authlib asks only where people sign in.
        return self.clients.get(client_id, whole=True)

    # What browsers bring

    def consent_grant(self, request: ProtocolRequest) -> Any:
        """The authorization request, checked in the RFC's order; the grant holds what it asks.

        Raises Refused without a redirect URI while the client and its address are unproven, so
        that nothing is ever sent to an unknown address (RFC 6749 §4.1.2.1).
        """
        client = self._known_client(request)
        redirect_uri = self._checked_address(request, client)
        try:
            self._check_shape(request, client)
            grant = self.get_consent_grant(request)
            grant.wishes = AuthenticationRequest.read(self, client, request.payload.data)
            grant.resources = asked_resources(request, client)
            return grant
        except OAuth2Error as error:
            error.redirect_uri = redirect_uri
            raise

    def _known_client(self, request: ProtocolRequest) -> Client:
        for name in ("client_id", "redirect_uri"):
            if name in request.payload.repeated:
                raise refuse(refusals.REPEATED_PARAMETER, detail=name)
        client_id = request.payload.client_id
        if client_id is None:
            raise refuse(refusals.CLIENT_ID_MISSING)
        client = self.clients.current(client_id, whole=True)
        if client is None:
            raise refuse(refusals.CLIENT_UNKNOWN, detail=client_id[:80])
        if not client.enabled:
            raise refuse(refusals.APPLICATION_DISABLED, application_id=client.id)
        return client

    @staticmethod
    def _checked_address(request: ProtocolRequest, client: Client) -> str:
        """The address to answer at; without the flow no other address would do, either."""
        try:
            return AuthorizationCodeGrant.validate_authorization_redirect_uri(request, client)
        except Refused:
            if client.check_response_type("code"):
                raise
            raise _code_off(request, client) from None

    @staticmethod
    def _check_shape(request: ProtocolRequest, client: Client) -> None:
        payload, mine = request.payload, {"application_id": client.id}
        if payload.repeated:
            raise refuse(
                refusals.REPEATED_PARAMETER,
                detail=", ".join(sorted(payload.repeated))[:200],
                **mine,
            )
        if payload.response_type is None:
            raise refuse(refusals.PARAMETER_MISSING, detail="response_type", **mine)
        if payload.response_type != "code":
            raise refuse(
                refusals.RESPONSE_TYPE_UNSUPPORTED, detail=payload.response_type[:80], **mine
            )
        if not client.check_response_type("code"):
            raise _code_off(request, client)
        if payload.data.get("response_mode", "query") not in RESPONSE_MODES:
            raise refuse(
                refusals.RESPONSE_MODE_UNSUPPORTED,
                detail=payload.data["response_mode"][:80],
                **mine,
            )
        if "request" in payload.data:
            raise refuse(refusals.REQUEST_OBJECT, **mine)
        if "request_uri" in payload.data:
            raise refuse(refusals.REQUEST_URI, **mine)

    def send_code(self, grant: Any, user: Any, allowed: list[str]) -> Response:
        """Send the person back with a code for what was requested and is allowed."""
        request = grant.request
        request.scope = " ".join(scope for scope in request.scope.split() if scope in allowed)
        request.claims = grant.wishes.claims.within(allowed)
        answer = self._send(grant.redirect_uri, request, {"code": grant.save_code(user)})
        if request.own_callback is None:  # a rehearsal serves nobody
            client = request.client
            registered = redirect_uris.registered_as(grant.redirect_uri, client.redirect_uris)
            self.usage.sign_in(client.id, "authorization_code", request.scope.split(), registered)
        return answer

    def send_error(self, request: ProtocolRequest, error: OAuth2Error) -> Response:
        """Send the person back with an error; `error.redirect_uri` is a checked address."""
        self.note(error)
        body = {"error": error.error, "error_description": error.get_error_description()}
        return self._send(error.redirect_uri, request, body)

    def _send(
        self, redirect_uri: str, request: ProtocolRequest, answer: Mapping[str, str]
    ) -> Response:
        """The answer, its `state` and our `iss` (RFC 9207), as the response mode wants it."""
        payload, params = request.payload, dict(answer)
        if payload.state and "state" not in payload.repeated:
            params["state"] = payload.state
        params["iss"] = self.settings.issuer
        if payload.data.get("response_mode") == "form_post":
            return no_store(render("oauth/form_post.html", action=redirect_uri, params=params))
        # The names need no escaping.
        query = "&".join(f"{name}={quote_plus(value)}" for name, value in params.items())
        return SentBack(f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}")

    # How answers leave

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        return Answer(status, json.dumps(body) if isinstance(body, dict) else body, headers)

    def handle_error_response(self, request: ProtocolRequest | None, error: OAuth2Error) -> Answer:
        """RFC 6749 §5.2: the error as JSON; the operator learns the cause."""
        self._check_freshness(request, error)
        self.note(error, request.address if request else "")
        body = {"error": error.error, "error_description": error.get_error_description()}
        status = error.status_code or 400
        challenge = CHALLENGE if status == 401 else []
        return self.handle_response(status, body, [*self.HEADERS, *challenge])

    def _check_freshness(self, request: ProtocolRequest | None, error: OAuth2Error) -> None:
        """A "no" may come from an outdated row: then look again before anybody hears it."""
        if request is None or request.client is None:
            return
        if isinstance(error, Refused) and not error.reason.noted:
            return
        client_id = request.client.client_id
        if not request.client.is_current():
            request.client = None
            raise StaleClient(client_id)

    def write_notes(self) -> None:
        """Write what this process has noted of uses and sign-ins, and not yet written."""
        self.uses.write()
        self.usage.write()

    def note(self, error: OAuth2Error, address: str = "") -> str | None:
        """Note a refusal for the operator; returns the reference that a person may quote."""
        if not isinstance(error, Refused) or rehearsal.heard(error) or not error.reason.noted:
            return None
        refusals_counted(error.reason.code).inc()
        row = Refusal.counted(error.application_id, error.reason.code, error.detail)
        self.uses.write_misuses()
        if error.application_id:
            self.uses.note_refusal(error.application_id)
        if error.application_id and error.secret_id:
            self.uses.note_misuse(error.secret_id, error.application_id, address)
        if error.application_id and row.count in BURSTS:
            self._note_burst(error.application_id, error.reason.code, row.count)
        return row.reference

    def _note_burst(self, application_id: int, reason: str, count: int) -> None:
        told = {"reason": reason, "times": count}
        # A flood of others makes a refusal be forgotten, and so counted from one again.
        if AuditEvent.was_told(application_id, REFUSED_OFTEN, told):
            return
        # Without Flask: the machines' door has none.
        application = Application.get_or_none(Application.id == application_id)
        AuditEvent.append(
            self.audit_key,
            REFUSED_OFTEN,
            actor=audit.PORTAL,
            application_id=application_id,
            subject=application.name if application else "",
            after=told,
        )

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens to Authlib's signals here."""


def _code_off(request: ProtocolRequest, client: Client) -> Refused:
    sent = request.payload.redirect_uri or ""
    return refuse(refusals.GRANT_CODE_OFF, application_id=client.id, detail=sent)
