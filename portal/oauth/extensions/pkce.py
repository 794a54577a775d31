"""PKCE, S256 only, demanded at the authorization endpoint already (RFC 7636, RFC 9700 §2.1.1)."""

import re
from typing import Any

from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7636.challenge import compare_s256_code_challenge

from portal.oauth import refusals
from portal.oauth.refusals import refuse

CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class ProofKey(CodeChallenge):
    """Required, except where an administrator waived it for a confidential application."""

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data, client = grant.request.payload.data, grant.request.client
        challenge, method = data.get("code_challenge"), data.get("code_challenge_method")
        if challenge is None and method is None:
            if client.front.require_pkce or not client.confidential:
                raise refuse(refusals.PKCE_MISSING, application_id=client.id)
            return
        # RFC 7636 lets a missing method mean "plain", which protects nothing.
        if method != "S256":
            raise refuse(refusals.PKCE_METHOD, application_id=client.id)
        if challenge is None:
            raise refuse(refusals.PKCE_MISSING, application_id=client.id)
        if not CHALLENGE.fullmatch(challenge):
            raise refuse(refusals.PKCE_MALFORMED, application_id=client.id)

    def validate_code_verifier(self, grant: Any, result: object) -> None:
        verifier = grant.request.form.get("code_verifier")
        code = grant.request.authorization_code.row
        mine = {"application_id": code.application_id}
        if code.code_challenge is None:
            if verifier is not None:
                raise refuse(refusals.VERIFIER_UNEXPECTED, **mine)
            return
        if verifier is None:
            raise refuse(refusals.VERIFIER_MISSING, **mine)
        if not VERIFIER.fullmatch(verifier):
            raise refuse(refusals.PKCE_MALFORMED, **mine)
        if not compare_s256_code_challenge(verifier, code.code_challenge):
            raise refuse(refusals.VERIFIER_WRONG, **mine)
