"""What an application wishes about the sign-in itself (OpenID Connect Core §3.1.2.1, §5.5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portal.clock import now
from portal.oauth import refusals
from portal.oauth.claims import ACRS, ClaimsRequest, MalformedClaims, subject_for
from portal.oauth.refusals import refuse

#: A sign-in that was asked for is done once the person comes back from the sign-in page.
DONE_BY_SIGN_IN = ("prompt", "max_age")
ASK_TO_SIGN_IN = frozenset({"login", "select_account"})


@dataclass(frozen=True)
class AuthenticationRequest:
    """The wishes, checked: `subject` is the `sub` that must sign in, when it is known."""

    prompts: frozenset[str]
    max_age: int | None
    subject: str | None
    login_hint: str
    claims: ClaimsRequest

    @classmethod
    def read(cls, server: Any, client: Any, data: Mapping[str, str]) -> "AuthenticationRequest":
        """Read the parameters; Refused for a malformed one. Unknown values are ignored."""
        mine = {"application_id": client.id}
        prompts = frozenset(data.get("prompt", "").split())
        if "none" in prompts and len(prompts) > 1:
            raise refuse(refusals.PROMPT_INVALID, **mine)
        try:
            claims = ClaimsRequest.parse(data.get("claims"))
        except MalformedClaims:
            raise refuse(refusals.CLAIMS_MALFORMED, **mine) from None
        if claims.essential_acrs and not set(claims.essential_acrs) & set(ACRS):
            raise refuse(refusals.ACR_UNMET, detail=claims.essential_acrs[0], **mine)
        return cls(
            prompts=prompts,
            max_age=_max_age(data.get("max_age"), client),
            subject=_hinted_subject(server, client, data.get("id_token_hint")) or claims.sub,
            login_hint=data.get("login_hint", "")[:200],
            claims=claims,
        )

    @property
    def is_silent(self) -> bool:
        """Whether no page may be shown."""
        return "none" in self.prompts

    def needs_sign_in(self, server: Any, client: Any, user: Any) -> bool:
        """Whether this person must sign in (again) before anything is answered."""
        if not user.is_authenticated or ASK_TO_SIGN_IN & self.prompts:
            return True
        # A sign-in in the future was before the clock was set back: nobody knows how long.
        age = abs(now() - user.session.auth_time)
        if self.max_age is not None and (self.max_age == 0 or age > self.max_age):
            return True
        return (
            self.subject is not None
            and subject_for(client, user.sub, server.pairwise_key) != self.subject
        )


def after_sign_in(data: Mapping[str, str]) -> dict[str, str]:
    """The request as it goes on once the person has signed in: what that fulfils is left out."""
    rest = {name: value for name, value in data.items() if name not in DONE_BY_SIGN_IN}
    left = [word for word in data.get("prompt", "").split() if word not in ASK_TO_SIGN_IN]
    return {**rest, "prompt": " ".join(left)} if left else rest


def _max_age(text: str | None, client: Any) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise refuse(refusals.PARAMETER_INVALID, application_id=client.id, detail="max_age")
    return int(text)


def _hinted_subject(server: Any, client: Any, hint: str | None) -> str | None:
    """The `sub` of an ID token of ours for this client; an expired one will do."""
    if hint is None:
        return None
    claims = server.keys.claims(hint)
    if claims is None or not is_for(claims, server, client.client_id):
        raise refuse(refusals.HINT_INVALID, application_id=client.id)
    return str(claims["sub"])


def is_for(claims: Mapping[str, Any], server: Any, client_id: str) -> bool:
    """Whether these are the claims of an ID token that we issued to this client."""
    return (
        claims.get("iss") == server.settings.issuer
        and claims.get("aud") == client_id
        and isinstance(claims.get("sub"), str)
        and "at_hash" in claims
    )
