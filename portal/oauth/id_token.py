"""ID tokens: who signed in, when and how, for one application (OpenID Connect Core §2)."""

from typing import Any

from authlib.oidc.core.util import create_half_hash

from portal.clock import now
from portal.models import User
from portal.oauth.claims import ACR, ClaimsRequest, about, session_for, subject_for


def make_id_token(
    server: Any, client: Any, decision: Any, access_token: str, nonce: str | None = None
) -> str:
    """The ID token for a code, device code or token family.

    `decision` has `sub`, `user_id`, `auth_time`, `session_id` and `claims`. A refreshed token
    keeps `sub`, `aud` and `auth_time` and has no nonce (§12.2). Scope claims are for UserInfo
    (§5.4); only what was asked for by name for the ID token is in it.
    """
    moment = now()
    payload = {
        "iss": server.settings.issuer,
        "sub": subject_for(client, decision.sub, server.pairwise_key),
        "aud": client.client_id,
        "exp": moment + server.settings.access_token_seconds,
        "iat": moment,
        "auth_time": decision.auth_time,
        "acr": ACR,
        "amr": ["pwd"],
        "at_hash": create_half_hash(access_token, client.front.id_token_alg).decode("ascii"),
    }
    if nonce:
        payload["nonce"] = nonce
    if decision.session_id is not None:
        payload["sid"] = session_for(client, decision.session_id, server.pairwise_key)
    asked = ClaimsRequest.restored(decision.claims)
    if asked.id_token:
        payload |= about(User.get_by_id(decision.user_id), asked.id_token)
    return server.keys.sign(payload, client.front.id_token_alg)
