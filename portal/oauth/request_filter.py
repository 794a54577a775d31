"""Strict reading of a protocol request, before Authlib sees it.

Authlib reads what a framework gives it; frameworks merge URL and body, keep the first of two
values and guess at broken text. Here a request is read once, and refused when it could be read
in two ways.
"""

import base64
import binascii
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote_plus

from authlib.oauth2.rfc6749 import OAuth2Payload, OAuth2Request
from flask import Request

from portal.models.client import Secret
from portal.oauth.claims import ClaimsRequest
from portal.oauth.refusals import (
    AUTHENTICATION_MALFORMED,
    CLIENT_ID_DIFFERS,
    MALFORMED,
    PARAMETERS_IN_URL,
    REPEATED_PARAMETER,
    TWO_METHODS,
    WRONG_CONTENT_TYPE,
    refuse,
)

MAX_FIELDS = 100
FORM = "application/x-www-form-urlencoded"
#: The one parameter that may come more than once (RFC 8707 §2); its values are joined by spaces.
LISTED = "resource"
BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"
#: A signed assertion instead of a secret (RFC 7523): this portal takes none.
ASSERTION = "private_key_jwt"


class MachineCall(NamedTuple):
    """A POST of a client application as the server hands it over: nothing is read yet."""

    path: str
    query: str
    content_type: str
    authorization: str | None
    body: bytes
    #: Of whoever sends it.
    address: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, Any], body: bytes) -> Self:
        """The call in a WSGI environment (PEP 3333), whose body was taken out already."""
        get = environ.get
        return cls(
            get("PATH_INFO", ""),
            get("QUERY_STRING", ""),
            get("CONTENT_TYPE", ""),
            get("HTTP_AUTHORIZATION"),
            body,
            get("REMOTE_ADDR", ""),
        )


class Credentials(NamedTuple):
    """How a client presented itself (RFC 6749 §2.3)."""

    method: str
    client_id: str | None
    secret: str | None


ANONYMOUS = Credentials(NONE, None, None)


class Payload(OAuth2Payload):
    """The parameters, each once."""

    def __init__(self, data: Mapping[str, str], repeated: frozenset[str] = frozenset()) -> None:
        self._data = data
        self.repeated = repeated

    @property
    def data(self) -> Mapping[str, str]:
        return self._data

    @property
    def datalist(self) -> defaultdict[str, list]:
        return defaultdict(list, {name: [value] for name, value in self._data.items()})


class ProtocolRequest(OAuth2Request):
    """A protocol request as Authlib's grants take it."""

    def __init__(
        self,
        method: str,
        uri: str,
        payload: Payload,
        credentials: Credentials = ANONYMOUS,
        address: str = "",
    ) -> None:
        # Authlib's own would look whether the address is https: it is the issuer's, which was
        # checked at the start.
        self.method, self.uri, self._body = method, uri, None
        self.headers: Mapping[str, str] = {}
        self.client: Any = None
        self.auth_method: str | None = None
        self.user = self.authorization_code = self.refresh_token = self.credential = None
        self._scope: str | None = None
        self.payload = payload
        self.credentials = credentials
        #: Of whoever sent it; of a browser's request it is not needed.
        self.address = address
        #: The secret that proved the client.
        self.secret: Secret | None = None
        #: The portal's own page that may get the answer, too: only in a rehearsal.
        self.own_callback: str | None = None
        #: Claims asked for by name that the person agreed to (OpenID Connect Core §5.5).
        self.claims = ClaimsRequest()

    @property
    def args(self) -> Mapping[str, str]:
        return self.payload.data

    @property
    def form(self) -> Mapping[str, str]:
        return self.payload.data


def read_machine_request(call: MachineCall, issuer: str) -> ProtocolRequest:
    """A POST of a client application, its parameters in the body (RFC 6749 §3.2).

    Raises Refused: parameters in the URL, another content type, a repeated parameter, text that
    is not UTF-8, two ways to authenticate.
    """
    if call.query:
        raise refuse(PARAMETERS_IN_URL)
    data = parse_form(_form(call.body, call.content_type))
    credentials = _credentials(call.authorization, data)
    return ProtocolRequest("POST", issuer + call.path, Payload(data), credentials, call.address)


def read_authorization_request(request: Request, issuer: str) -> ProtocolRequest:
    """The request that a browser brings: the URL of a GET, the body of a POST (OIDC §3.1.2.1).

    Repeated parameters are only noted: once the client is known, it is told by redirect.
    """
    if request.method == "POST":
        if request.query_string:
            raise refuse(PARAMETERS_IN_URL)
        data, repeated = _parse(_form(request.get_data(), request.content_type or ""))
    else:
        data, repeated = _parse(request.query_string)
    return ProtocolRequest("GET", issuer + request.path, Payload(data, repeated))


def _form(body: bytes, content_type: str) -> bytes:
    """The body, when it is a form or empty."""
    kind = content_type.partition(";")[0].strip().lower()
    if body and kind != FORM:
        raise refuse(WRONG_CONTENT_TYPE, detail=kind[:80])
    return body


def _parse(raw: bytes) -> tuple[dict[str, str], frozenset[str]]:
    """Form fields and the names that came twice; empty ones count as left out (RFC 6749 §3.1)."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:  # not ASCII, not UTF-8 when decoded, or too many fields
        raise refuse(MALFORMED) from None
    if b"%00" in raw or b"\0" in raw:
        raise refuse(MALFORMED)
    data = {name: value for name, value in pairs if value}
    if LISTED in data:
        data[LISTED] = " ".join(value for name, value in pairs if name == LISTED)
    return data, _repeated([name for name, _ in pairs])


def _repeated(names: list[str]) -> frozenset[str]:
    if len(set(names)) == len(names):
        return frozenset()
    counts = Counter(names)
    return frozenset(name for name, count in counts.items() if count > 1 and name != LISTED)


def parse_form(raw: bytes) -> dict[str, str]:
    """The fields of a form body, each once; Refused when it can be read in two ways."""
    data, repeated = _parse(raw)
    if repeated:
        raise refuse(REPEATED_PARAMETER, detail=", ".join(sorted(repeated))[:200])
    return data


def _credentials(header: str | None, data: Mapping[str, str]) -> Credentials:
    in_body = Credentials(
        POST if "client_secret" in data else NONE, data.get("client_id"), data.get("client_secret")
    )
    if header is None:
        asserted = in_body.secret is None and "client_assertion" in data
        return in_body._replace(method=ASSERTION) if asserted else in_body
    client_id, secret = _basic(header)
    if in_body.secret is not None:
        raise refuse(TWO_METHODS)
    if in_body.client_id not in (None, client_id):
        raise refuse(CLIENT_ID_DIFFERS)
    return Credentials(BASIC, client_id, secret)


def _basic(header: str) -> tuple[str, str]:
    """Client ID and secret of a Basic header, each form-encoded (RFC 6749 §2.3.1)."""
    scheme, _, value = header.partition(" ")
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = text.partition(":")
        client_id, secret = (unquote_plus(part, errors="strict") for part in (client_id, secret))
    except (binascii.Error, ValueError):
        raise refuse(AUTHENTICATION_MALFORMED) from None
    if scheme.lower() != "basic" or not colon or not client_id or "\0" in client_id + secret:
        raise refuse(AUTHENTICATION_MALFORMED)
    return client_id, secret
