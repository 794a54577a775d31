"""What client libraries read before anything else (RFC 8414, OpenID Connect Discovery 1.0)."""

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from portal.models import Scope
from portal.models.application import GRANTS
from portal.models.signing_key import ALGORITHMS
from portal.oauth import blueprint, current_server
from portal.oauth.authorization_server import RESPONSE_MODES
from portal.oauth.claims import ACRS, SCOPE_OF
from portal.oauth.request_filter import BASIC, NONE, POST

#: Browsers may call these from any page: they take no cookies (Fetch standard, CORS protocol).
OPEN_TO_SCRIPTS = (
    "/oauth/token",
    "/oauth/revoke",
    "/oauth/userinfo",
    "/oauth/jwks",
    "/.well-known/",
)


@blueprint.get("/.well-known/oauth-authorization-server")
@blueprint.get("/.well-known/openid-configuration")
def metadata() -> Response:
    """One truth at both addresses, built from the issuer setting, never from the Host header."""
    issuer = current_server().settings.issuer
    response = jsonify(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/oauth/authorize",
        token_endpoint=f"{issuer}/oauth/token",
        userinfo_endpoint=f"{issuer}/oauth/userinfo",
        jwks_uri=f"{issuer}/oauth/jwks",
        end_session_endpoint=f"{issuer}/oauth/logout",
        introspection_endpoint=f"{issuer}/oauth/introspect",
        revocation_endpoint=f"{issuer}/oauth/revoke",
        device_authorization_endpoint=f"{issuer}/oauth/device_authorization",
        scopes_supported=[scope.name for scope in Scope.catalogue()],
        response_types_supported=["code"],
        response_modes_supported=list(RESPONSE_MODES),
        grant_types_supported=list(GRANTS),
        subject_types_supported=["public", "pairwise"],
        id_token_signing_alg_values_supported=list(ALGORITHMS),
        acr_values_supported=list(ACRS),
        claim_types_supported=["normal"],
        claims_supported=[
            *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid"),
            *SCOPE_OF,
        ],
        claims_parameter_supported=True,
        request_parameter_supported=False,
        request_uri_parameter_supported=False,
        display_values_supported=["page"],
        ui_locales_supported=["en-GB"],
        prompt_values_supported=["none", "login", "consent", "select_account"],
        token_endpoint_auth_methods_supported=[BASIC, POST, NONE],
        introspection_endpoint_auth_methods_supported=[BASIC, POST],
        revocation_endpoint_auth_methods_supported=[BASIC, POST, NONE],
        code_challenge_methods_supported=["S256"],
        authorization_response_iss_parameter_supported=True,
        backchannel_logout_supported=True,
        backchannel_logout_session_supported=True,
    )
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


@blueprint.after_request
def allow_scripts(response: Response) -> ResponseReturnValue:
    """Single-page applications call these from their own origin; never the pages of people."""
    if request.path.startswith(OPEN_TO_SCRIPTS):
        response.headers["Access-Control-Allow-Origin"] = "*"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Access-Control-Max-Age"] = "600"
    return response
