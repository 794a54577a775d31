"""POST /oauth/token: swap a grant for tokens (RFC 6749 §3.2)."""

from werkzeug.wrappers import Response

from portal.oauth import blueprint
from portal.oauth.authorization_server import TOKEN
from portal.oauth.door import answer_machine
from portal.security import csrf


@blueprint.post("/oauth/token")
@csrf.exempt
def token() -> Response:
    return answer_machine(TOKEN)
