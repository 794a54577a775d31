"""POST /oauth/token: swap a grant for tokens (RFC 6749 §3.2)."""

from flask import request
from werkzeug.wrappers import Response

from portal.oauth import blueprint, current_server
from portal.security import csrf


@blueprint.post("/oauth/token")
@csrf.exempt
def token() -> Response:
    server = current_server()
    return server.answer(request, server.create_token_response)
