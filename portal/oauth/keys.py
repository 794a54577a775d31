"""GET /oauth/jwks: the public keys that check what this portal signs (RFC 7517)."""

from flask import jsonify
from werkzeug.wrappers import Response

from portal.oauth import blueprint, current_server

#: Shorter than a new key is announced before it signs.
CACHE_SECONDS = 300


@blueprint.get("/oauth/jwks")
def jwks() -> Response:
    response = jsonify(current_server().keys.jwks())
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    return response
