"""What client libraries read before anything else (RFC 8414)."""

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from portal.models import Scope
from portal.models.application import GRANTS
from portal.oauth import blueprint, current_server
from portal.oauth.request_filter import BASIC, NONE, POST

#: Browsers may call these from any page: they take no cookies (Fetch standard, CORS protocol).
OPEN_TO_SCRIPTS = ("/oauth/token", "/oauth/revoke", "/.well-known/")


@blueprint.get("/.well-known/oauth-authorization-server")
def authorization_server_metadata() -> Response:
    """Every address is built from the issuer setting, never from the Host header."""
    issuer = current_server().settings.issuer
    response = jsonify(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/oauth/authorize",
        token_endpoint=f"{issuer}/oauth/token",
        introspection_endpoint=f"{issuer}/oauth/introspect",
        revocation_endpoint=f"{issuer}/oauth/revoke",
        device_authorization_endpoint=f"{issuer}/oauth/device_authorization",
        scopes_supported=[scope.name for scope in Scope.catalogue()],
        response_types_supported=["code"],
        response_modes_supported=["query"],
        grant_types_supported=list(GRANTS),
        token_endpoint_auth_methods_supported=[BASIC, POST, NONE],
        introspection_endpoint_auth_methods_supported=[BASIC, POST],
        revocation_endpoint_auth_methods_supported=[BASIC, POST, NONE],
        code_challenge_methods_supported=["S256"],
        authorization_response_iss_parameter_supported=True,
    )
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


@blueprint.after_request
def allow_scripts(response: Response) -> ResponseReturnValue:
    """Single-page applications call the token endpoint from their own origin; nobody frames a
    person's decision with it: the authorization endpoint is not among these."""
    if request.path.startswith(OPEN_TO_SCRIPTS):
        response.headers["Access-Control-Allow-Origin"] = "*"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Access-Control-Max-Age"] = "600"
    return response
