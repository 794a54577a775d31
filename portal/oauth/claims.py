"""What is said about a person: which claims a scope opens, and what an application asked for.

OpenID Connect Core §5.1 (standard claims), §5.4 (by scope), §5.5 (the `claims` parameter).
"""

import base64
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from portal.oauth.redirect_uris import is_loopback, is_private_use

PROFILE = (
    "name",
    "family_name",
    "given_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
)
BY_SCOPE: dict[str, tuple[str, ...]] = {
    "public": ("name",),
    "profile": PROFILE,
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
}
#: The scope whose words on the consent page cover a claim that is asked for by name.
SCOPE_OF = {
    claim: scope for scope in ("profile", "email", "address", "phone") for claim in BY_SCOPE[scope]
}
#: How people signed in, as `acr`: there is one way so far.
ACR = "urn:portal:acr:password"
ACRS = (ACR,)


class MalformedClaims(ValueError):
    """The `claims` parameter is not what OpenID Connect Core §5.5 describes."""


@dataclass(frozen=True)
class ClaimsRequest:
    """The `claims` parameter, as far as it concerns us."""

    userinfo: tuple[str, ...] = ()
    id_token: tuple[str, ...] = ()
    essential_acrs: tuple[str, ...] = ()
    sub: str | None = None
    _known: frozenset[str] = field(default=frozenset(SCOPE_OF), repr=False)

    @classmethod
    def parse(cls, text: str | None) -> "ClaimsRequest":
        """Read the parameter; MalformedClaims when it is not an object of objects."""
        if not text:
            return cls()
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise MalformedClaims from None
        if not isinstance(data, dict):
            raise MalformedClaims
        userinfo, id_token = (_member(data, name) for name in ("userinfo", "id_token"))
        return cls(
            userinfo=tuple(name for name in userinfo if name in SCOPE_OF),
            id_token=tuple(name for name in id_token if name in SCOPE_OF),
            essential_acrs=_essential_acrs(id_token.get("acr")),
            sub=_wanted_sub(id_token.get("sub")) or _wanted_sub(userinfo.get("sub")),
        )

    def scopes(self) -> set[str]:
        """The scopes whose words cover what is asked for by name."""
        return {SCOPE_OF[name] for name in (*self.userinfo, *self.id_token)}

    def within(self, scopes: Iterable[str]) -> "ClaimsRequest":
        """What is left when the person allowed only these scopes."""
        allowed = set(scopes)
        return ClaimsRequest(
            tuple(name for name in self.userinfo if SCOPE_OF[name] in allowed),
            tuple(name for name in self.id_token if SCOPE_OF[name] in allowed),
        )

    def stored(self) -> str | None:
        """A short text for the database; None when nothing is asked for by name."""
        if not self.userinfo and not self.id_token:
            return None
        return json.dumps({"userinfo": self.userinfo, "id_token": self.id_token})

    @classmethod
    def restored(cls, text: str | None) -> "ClaimsRequest":
        data = json.loads(text) if text else {}
        return cls(tuple(data.get("userinfo", ())), tuple(data.get("id_token", ())))


def _member(data: dict, name: str) -> dict:
    member = data.get(name)
    if member is None:
        return {}
    if not isinstance(member, dict):
        raise MalformedClaims
    for wish in member.values():
        if wish is not None and not isinstance(wish, dict):
            raise MalformedClaims
    return member


def _essential_acrs(wish: dict | None) -> tuple[str, ...]:
    if not wish or wish.get("essential") is not True:
        return ()
    values = wish.get("values", [wish["value"]] if "value" in wish else [])
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise MalformedClaims
    return tuple(values)


def _wanted_sub(wish: dict | None) -> str | None:
    value = (wish or {}).get("value")
    if value is not None and not isinstance(value, str):
        raise MalformedClaims
    return value


def subject_for(client: Any, sub: str, key: bytes) -> str:
    """The person's `sub` for this application: the same everywhere, or one for its sector.

    Pairwise identifiers hide from two applications that they know the same person (§8.1).
    `client` has `client_id`, `subject_type` and `redirect_uris`, a list or the text of the column.
    """
    if client.subject_type != "pairwise":
        return sub
    digest = hmac.digest(key, f"{_sector(client)}\0{sub}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest[:24]).decode("ascii")


def session_for(client: Any, sid: int, key: bytes) -> str:
    """The session's `sid` for this application; one for all would tell what `sub` hides."""
    if client.subject_type != "pairwise":
        return f"{sid:x}"
    digest = hmac.digest(key, f"sid\0{_sector(client)}\0{sid:x}".encode(), "sha256")
    return digest[:16].hex()


def _sector(client: Any) -> str:
    """The host of the redirect URIs; a loopback or an app's own scheme belongs to one alone."""
    uris = client.redirect_uris
    uris = uris.split() if isinstance(uris, str) else uris
    if not uris or is_loopback(uris[0]) or is_private_use(uris[0]):
        return str(client.client_id)
    return urlsplit(uris[0]).hostname or str(client.client_id)


def about(user: Any, names: Iterable[str]) -> dict[str, Any]:
    """These claims about a person, without those that are empty."""
    own = json.loads(user.profile or "{}")
    every = {
        **own,
        "name": user.name or user.username,
        "preferred_username": user.username,
        "email": user.email,
        "email_verified": user.email_verified_at is not None,
        "updated_at": user.profile_updated_at or user.created_at,
    }
    if "phone_number" in own:
        every["phone_number_verified"] = False
    return {name: every[name] for name in names if every.get(name) not in (None, "", {})}


def scope_claims(scopes: Iterable[str]) -> list[str]:
    """The names of the claims that these scopes open."""
    return [claim for scope in scopes for claim in BY_SCOPE.get(scope, ())]
