"""Every reason to say no: the RFC's error, a plain sentence for the caller, a hint for operators.

A refusal has three readers. The client application gets `error` and `sentence` (ASCII, the same
for causes that it must not tell apart); the operator gets `title` and `hint` on the
application's page; the person gets a page with a reference that leads the operator there.
"""

import re
from dataclasses import dataclass

from authlib.oauth2 import OAuth2Error

from portal.letters import printable
from portal.models.refusal import CODE_FLOW_OFF

BAD_CLIENT = "Invalid client ID or secret"
#: Where a hint names what was sent, and how much of it.
SENT, SENT_LENGTH = "{sent}", 80


@dataclass(frozen=True)
class Reason:
    """One reason to refuse. `error` and `sentence` go to the caller, the rest to the operator."""

    code: str
    error: str
    sentence: str
    title: str
    hint: str
    status: int = 400
    #: Whether the operator gets to see it: a person's own "no" is nobody's mistake.
    noted: bool = True
    #: Whether the detail is names of parameters, which the application may hear as well.
    names: bool = False

    def advice(self, detail: str) -> str:
        """The hint, with what was sent where it names that: short and printable."""
        return self.hint.replace(SENT, printable(", ".join(detail.split()), SENT_LENGTH))


#: What may stand in an `error_description`, whatever was sent.
NAMES = re.compile(r"[a-z_]{1,40}(, [a-z_]{1,40}){0,9}")

REASONS: dict[str, Reason] = {}


def _reason(
    code: str,
    error: str,
    sentence: str,
    title: str,
    hint: str,
    *,
    status: int = 400,
    noted: bool = True,
    names: bool = False,
) -> Reason:
    reason = Reason(code, error, sentence, title, hint, status, noted, names)
    REASONS[reason.code] = reason
    return reason


class Refused(OAuth2Error):
    """A request refused for a reason of this file (RFC 6749 §4.1.2.1, §5.2)."""

    def __init__(
        self,
        reason: Reason,
        *,
        application_id: int | None = None,
        detail: str = "",
        redirect_uri: str | None = None,
        secret_id: int | None = None,
    ) -> None:
        named = reason.names and NAMES.fullmatch(detail)
        super().__init__(
            description=f"{reason.sentence[:-1]}: {detail}." if named else reason.sentence,
            status_code=reason.status,
            error=reason.error,
            redirect_uri=redirect_uri,
        )
        self.reason = reason
        self.application_id = application_id
        self.detail = detail
        self.secret_id = secret_id


def refuse(
    reason: Reason,
    *,
    application_id: int | None = None,
    detail: str = "",
    redirect_uri: str | None = None,
    secret_id: int | None = None,
) -> Refused:
    """Make the exception to raise; `detail` is shown to the operator and holds no secret.

    `secret_id` is the row of another application's secret that was sent.
    """
    return Refused(
        reason,
        application_id=application_id,
        detail=detail,
        redirect_uri=redirect_uri,
        secret_id=secret_id,
    )


# The request itself

MALFORMED = _reason(
    "malformed",
    "invalid_request",
    "The request is malformed.",
    "The request is malformed",
    "It has characters or a shape that no OAuth request has. Use a standard client library.",
)
WRONG_CONTENT_TYPE = _reason(
    "wrong_content_type",
    "invalid_request",
    "Send the parameters as application/x-www-form-urlencoded in the body.",
    "The parameters are not a form",
    "The application sends JSON or something else. OAuth endpoints take form fields.",
)
PARAMETERS_IN_URL = _reason(
    "parameters_in_url",
    "invalid_request",
    "Send the parameters in the body, not in the URL.",
    "The parameters are in the URL",
    "Addresses end up in logs, so secrets and codes must be sent in the body.",
)
REPEATED_PARAMETER = _reason(
    "repeated_parameter",
    "invalid_request",
    "A parameter is repeated.",
    "A parameter is sent twice",
    "Each parameter may be sent once (RFC 6749, section 3.2).",
    names=True,
)
PARAMETER_MISSING = _reason(
    "parameter_missing",
    "invalid_request",
    "A required parameter is missing.",
    "A required parameter is missing",
    "The detail names the parameter that the application must send.",
    names=True,
)
REQUEST_OBJECT = _reason(
    "request_object",
    "request_not_supported",
    "Request objects are not supported. Send plain parameters.",
    "A request object was sent",
    "This portal takes plain parameters; switch off request objects (JAR) in the application.",
)
REQUEST_URI = _reason(
    "request_uri",
    "request_uri_not_supported",
    "The request_uri parameter is not supported. Send plain parameters.",
    "A request_uri was sent",
    "This portal takes plain parameters; switch off request objects (JAR) in the application.",
)

# Who asks

CLIENT_UNKNOWN = _reason(
    "client_unknown",
    "invalid_client",
    BAD_CLIENT,
    "The client ID is unknown",
    "No application has this client ID. Compare it with the one on the application's page.",
    status=401,
)
CLIENT_ID_MISSING = _reason(
    "client_id_missing",
    "invalid_request",
    "The client_id parameter is missing.",
    "The client ID is missing",
    "The application must send its client ID.",
)
APPLICATION_DISABLED = _reason(
    "application_disabled",
    "invalid_client",
    BAD_CLIENT,
    "The application is disabled",
    "Enable it on its page if it should work again.",
    status=401,
)
AUTHENTICATION_MISSING = _reason(
    "authentication_missing",
    "invalid_client",
    BAD_CLIENT,
    "No client ID or secret was sent",
    "Send the client ID and secret by HTTP Basic, or as client_id and client_secret in the body.",
    status=401,
)
AUTHENTICATION_MALFORMED = _reason(
    "authentication_malformed",
    "invalid_client",
    BAD_CLIENT,
    "The Authorization header cannot be read",
    "Send: Basic, a space, and base64 of client ID, colon, secret.",
    status=401,
)
AUTHENTICATION_METHOD = _reason(
    "authentication_method",
    "invalid_client",
    BAD_CLIENT,
    "The wrong client authentication method",
    "A confidential application sends its secret by client_secret_basic or client_secret_post: set"
    " one of the two, not private_key_jwt. A public one sends only its client_id (none), and may"
    " not ask endpoints that need a secret.",
    status=401,
)
TWO_METHODS = _reason(
    "two_methods",
    "invalid_request",
    "Use one client authentication method, not two.",
    "Two authentication methods at once",
    "The application sends its secret in the header and in the body. It must choose one.",
)
CLIENT_ID_DIFFERS = _reason(
    "client_id_differs",
    "invalid_request",
    "The client_id in the body is not the authenticated client.",
    "Two different client IDs",
    "The Authorization header names one application and the body another.",
)
SECRET_MISSING = _reason(
    "secret_missing",
    "invalid_client",
    BAD_CLIENT,
    "No secret was sent",
    "This application is confidential, but sent only its client ID (method none). Give it its"
    " secret and set client_secret_basic or client_secret_post.",
    status=401,
)
SECRET_WRONG = _reason(
    "secret_wrong",
    "invalid_client",
    BAD_CLIENT,
    "The client secret is wrong",
    "The secret is none of this application's. Compare its first letters with those on the page,"
    " or rotate the secret.",
    status=401,
)
SECRET_RETIRED = _reason(
    "secret_retired",
    "invalid_client",
    BAD_CLIENT,
    "The client secret was retired",
    "Somebody still uses a secret that was stopped. Give them the newest one.",
    status=401,
)
SECRET_EXPIRED = _reason(
    "secret_expired",
    "invalid_client",
    BAD_CLIENT,
    "The client secret has expired",
    "Somebody still uses a secret whose time is over. Give them the newest one.",
    status=401,
)
SECRET_OF_ANOTHER = _reason(
    "secret_of_another",
    "invalid_client",
    BAD_CLIENT,
    "The secret of another application",
    "The client ID and the secret belong to two applications. Check which one was copied wrongly.",
    status=401,
)
SECRET_PADDED = _reason(
    "secret_padded",
    "invalid_client",
    BAD_CLIENT,
    "Spaces around the client secret",
    "The secret is right but for a space or line break before or after it. Remove it.",
    status=401,
)
SECRET_HASH = _reason(
    "secret_hash",
    "invalid_client",
    BAD_CLIENT,
    "A hash was sent as the secret",
    "Somebody copied the hash from the database. Send the secret itself.",
    status=401,
)
SECRET_UNEXPECTED = _reason(
    "secret_unexpected",
    "invalid_client",
    BAD_CLIENT,
    "A public application sent a secret",
    "This application is public and has no secret. Send only client_id.",
    status=401,
)

# Where to

REDIRECT_URI_MISMATCH = _reason(
    "redirect_uri_mismatch",
    "invalid_request",
    "The redirect URI does not match.",
    "Redirect URI does not match",
    "Change the address in the application, or save the one it sends if it is right.",
)
REDIRECT_URI_MISSING = _reason(
    "redirect_uri_missing",
    "invalid_request",
    "The redirect_uri parameter is missing.",
    "No redirect URI was sent",
    "The application has none or several saved, so it must say which one it wants.",
)

# What for

RESPONSE_TYPE_UNSUPPORTED = _reason(
    "response_type_unsupported",
    "unsupported_response_type",
    "Use response_type=code.",
    "The response type is not supported",
    "The application must ask for response_type=code (the implicit flow is not safe).",
)
RESPONSE_MODE_UNSUPPORTED = _reason(
    "response_mode_unsupported",
    "invalid_request",
    "Use response_mode=query or form_post.",
    "The response mode is not supported",
    "The application must ask for response_mode=query or form_post, or leave it out.",
)
GRANT_TYPE_UNSUPPORTED = _reason(
    "grant_type_unsupported",
    "unsupported_grant_type",
    "The grant type is not supported.",
    "The grant type is not supported",
    "This portal has Authorisation Code, Client Credentials, Device Code and refresh tokens.",
)
GRANT_NOT_ALLOWED = _reason(
    "grant_not_allowed",
    "unauthorized_client",
    "The application may not use this grant flow.",
    "The grant flow is not switched on",
    "Tick it in the application's settings if it is wanted.",
)
GRANT_CODE_OFF = _reason(
    CODE_FLOW_OFF,
    "unauthorized_client",
    GRANT_NOT_ALLOWED.sentence,
    "Authorisation Code is off",
    "Somebody was sent here to sign in, but Authorisation Code is off. Tick it in the application's"
    " settings, with its redirect URI, if people shall sign in to it. Otherwise the link is wrong,"
    " or names the wrong client ID.",
)
SCOPE_NOT_ALLOWED = _reason(
    "scope_not_allowed",
    "invalid_scope",
    "The application may not ask for this scope.",
    "A scope that the application may not ask for",
    "Tick the scope in the application's settings, or take it out of the application's request.",
)
SCOPE_PERSONAL = _reason(
    "scope_personal",
    "invalid_scope",
    SCOPE_NOT_ALLOWED.sentence,
    "A scope about a person, without a person",
    f"Needs a person who signs in: {SENT}. Client Credentials acts for nobody, so it cannot have"
    " that, whatever is ticked: take it out of the application's request.",
)
SCOPE_UNKNOWN = _reason(
    "scope_unknown",
    "invalid_scope",
    SCOPE_NOT_ALLOWED.sentence,
    "There is no such scope",
    f"Not in the catalogue: {SENT}. Add it under Admin > Scopes and tick it in the application's"
    " settings, or correct the application's request.",
)
SCOPE_EXCEEDS = _reason(
    "scope_exceeds",
    "invalid_scope",
    "The scope exceeds what was granted.",
    "More scopes than were granted",
    "A refresh may ask for less than before, never for more. Send the person to sign in again.",
)
ACCESS_DENIED = _reason(
    "access_denied",
    "access_denied",
    "The person denied the request.",
    "The person denied access",
    "",
    noted=False,
)
LOGIN_REQUIRED = _reason(
    "login_required",
    "login_required",
    "The person must sign in.",
    "Sign-in needed",
    "",
    noted=False,
)
CONSENT_REQUIRED = _reason(
    "consent_required",
    "consent_required",
    "The person must decide on the consent page.",
    "Consent needed",
    "",
    noted=False,
)
PROMPT_INVALID = _reason(
    "prompt_invalid",
    "invalid_request",
    "The prompt parameter is invalid.",
    "The prompt parameter is invalid",
    "prompt is none, or any of login, consent and select_account.",
)

CLAIMS_MALFORMED = _reason(
    "claims_malformed",
    "invalid_request",
    "The claims parameter is malformed.",
    "The claims parameter is malformed",
    "It must be JSON as in OpenID Connect Core, section 5.5.",
)
PARAMETER_INVALID = _reason(
    "parameter_invalid",
    "invalid_request",
    "A parameter has an invalid value.",
    "A parameter has an invalid value",
    "The detail names the parameter that the application must correct.",
    names=True,
)
ACR_UNMET = _reason(
    "acr_unmet",
    "unmet_authentication_requirements",
    "The requested authentication context cannot be met.",
    "A way to sign in that this portal does not have",
    "The application insists on an acr that is not among acr_values_supported.",
)
HINT_INVALID = _reason(
    "hint_invalid",
    "invalid_request",
    "The id_token_hint is invalid.",
    "The id_token_hint is invalid",
    "It must be an ID token that this portal issued to this application.",
)
RESOURCE_NOT_ALLOWED = _reason(
    "resource_not_allowed",
    "invalid_target",
    "The resource is not allowed for this application.",
    "A resource server that is not on the list",
    "Add it to the application's resource servers if its tokens may be used there.",
)

# PKCE (RFC 7636)

PKCE_MISSING = _reason(
    "pkce_missing",
    "invalid_request",
    "PKCE is required: send code_challenge with code_challenge_method=S256.",
    "PKCE is missing",
    "Switch on PKCE (S256) in the application. An administrator may waive it for a confidential"
    " application that cannot.",
)
PKCE_METHOD = _reason(
    "pkce_method",
    "invalid_request",
    "Use code_challenge_method=S256.",
    "PKCE with the plain method",
    "Only S256 is safe; switch the application to it.",
)
PKCE_MALFORMED = _reason(
    "pkce_malformed",
    "invalid_request",
    "The code_challenge or code_verifier is malformed.",
    "The PKCE value is malformed",
    "A challenge has 43 characters, a verifier 43 to 128 (RFC 7636, section 4).",
)
VERIFIER_MISSING = _reason(
    "verifier_missing",
    "invalid_grant",
    "The code_verifier is missing.",
    "The PKCE verifier is missing",
    "The application started with PKCE and must send code_verifier when it redeems the code.",
)
VERIFIER_WRONG = _reason(
    "verifier_wrong",
    "invalid_grant",
    "The code_verifier does not match.",
    "The PKCE verifier does not match",
    "The code was started in another session of the application, or somebody tries a stolen code.",
)
VERIFIER_UNEXPECTED = _reason(
    "verifier_unexpected",
    "invalid_grant",
    "A code_verifier was sent, but the request had no code_challenge.",
    "A PKCE verifier without a challenge",
    "Somebody may have removed PKCE from the request on its way (RFC 9700, section 4.8).",
)

# Codes (RFC 6749 section 4.1.3)

CODE_UNKNOWN = _reason(
    "code_unknown",
    "invalid_grant",
    "The code is invalid.",
    "The code is unknown",
    "The application sent something that this portal never issued, or that was deleted since.",
)
CODE_FOREIGN = _reason(
    "code_foreign",
    "invalid_grant",
    "The code is invalid.",
    "The code of another application",
    "Two applications share a callback, or somebody tries a stolen code.",
)
CODE_EXPIRED = _reason(
    "code_expired",
    "invalid_grant",
    "The code has expired.",
    "The code has expired",
    "The application redeemed it too late. Check its clock and its speed.",
)
CODE_REUSED = _reason(
    "code_reused",
    "invalid_grant",
    "The code was used before.",
    "The code was used twice",
    "The tokens of the first use are dead. The callback was loaded twice, or a code was stolen.",
)
CODE_WITHDRAWN = _reason(
    "code_withdrawn",
    "invalid_grant",
    "The code is no longer valid.",
    "The code was withdrawn",
    "The person, or what they allowed, is gone since.",
)
REDIRECT_URI_DIFFERS = _reason(
    "redirect_uri_differs",
    "invalid_grant",
    "The redirect_uri is not the one of the authorization request.",
    "Another redirect URI at the token endpoint",
    "The application must send the same redirect_uri when it redeems the code.",
)

# Refresh tokens (RFC 6749 section 6, RFC 9700 section 4.14)

REFRESH_UNKNOWN = _reason(
    "refresh_unknown",
    "invalid_grant",
    "The refresh token is invalid.",
    "The refresh token is unknown",
    "The application sent something that this portal never issued, or that was deleted since.",
)
REFRESH_FOREIGN = _reason(
    "refresh_foreign",
    "invalid_grant",
    "The refresh token is invalid.",
    "The refresh token of another application",
    "Refresh tokens are bound to the application that got them.",
)
REFRESH_ENDED = _reason(
    "refresh_ended",
    "invalid_grant",
    "The refresh token is no longer valid.",
    "The refresh token was ended",
    "It was revoked, or the person removed the application. Send the person to sign in again.",
)
REFRESH_EXPIRED = _reason(
    "refresh_expired",
    "invalid_grant",
    "The refresh token has expired.",
    "The refresh token has expired",
    "It was not used for too long. Send the person to sign in again.",
)
REFRESH_REUSED = _reason(
    "refresh_reused",
    "invalid_grant",
    "The refresh token was used before.",
    "An old refresh token was used again",
    "Its whole family is ended. Either the application lost the new token, or somebody stole one.",
)

# Devices (RFC 8628)

DEVICE_UNKNOWN = _reason(
    "device_unknown",
    "invalid_grant",
    "The device code is invalid.",
    "The device code is unknown",
    "The device sent something that this portal never issued, or that was deleted since.",
)
DEVICE_FOREIGN = _reason(
    "device_foreign",
    "invalid_grant",
    "The device code is invalid.",
    "The device code of another application",
    "Device codes are bound to the application that got them.",
)
DEVICE_USED = _reason(
    "device_used",
    "invalid_grant",
    "The device code was used before.",
    "The device code was used twice",
    "A device must stop polling after its first success.",
)
DEVICE_EXPIRED = _reason(
    "device_expired",
    "expired_token",
    "The device code has expired.",
    "The device code has expired",
    "Nobody entered the code in time. The device may start again.",
    noted=False,
)
DEVICE_PENDING = _reason(
    "device_pending",
    "authorization_pending",
    "The person has not decided yet.",
    "Waiting for the person",
    "",
    noted=False,
)
DEVICE_SLOW_DOWN = _reason(
    "device_slow_down",
    "slow_down",
    "Polling too fast: wait 5 seconds longer from now on.",
    "The device polls too fast",
    "The device must wait as long as the answer says.",
    noted=False,
)

# Tokens at revocation (RFC 7009)

TOKEN_FOREIGN = _reason(
    "token_foreign",
    "invalid_grant",
    "The token was not issued to this client.",
    "The token of another application",
    "An application may revoke its own tokens only.",
)
