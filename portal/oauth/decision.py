"""What a person is asked on a consent page, and the request it belongs to, sealed.

The page carries the request as one signed field. So the decision is taken on what was asked,
whatever the browser's hidden fields say, and only in the session that was asked.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer

from portal.clock import now
from portal.models import Application, Scope, User
from portal.models.application import REFRESH_TOKEN
from portal.oauth.claims import PROFILE, about
from portal.settings import Settings
from portal.text import lasting

#: How long a consent page may stay open.
OPEN_SECONDS = 10 * 60
REQUIRED = frozenset({"openid"})
#: What the consent page calls the claims of `profile`.
PROFILE_WORDS = {
    "family_name": "family name",
    "given_name": "given name",
    "middle_name": "middle name",
    "nickname": "nickname",
    "preferred_username": "username",
    "profile": "profile page",
    "picture": "picture",
    "website": "website",
    "gender": "gender",
    "birthdate": "date of birth",
    "zoneinfo": "time zone",
    "locale": "language",
}


class StalePage(Exception):
    """The page is too old, was changed, or was made for another session."""


@dataclass(frozen=True)
class Question:
    """One scope as the consent page asks for it."""

    name: str
    title: str
    description: str
    sensitive: bool
    required: bool
    ticked: bool


def questions(
    user: User,
    names: list[str],
    *,
    locked: bool = False,
    allowed: Collection[str] = (),
    refused: Collection[str] = (),
) -> list[Question]:
    """What to ask about these scopes; `locked` leaves no choice but all or nothing.

    The ticks are those of the person's last decision, `allowed` and `refused`; what is new is
    ticked unless it is sensitive.
    """
    own = {"email": user.email, "public": user.display_name, "profile": _profile(user)}
    return [
        Question(
            name=scope.name,
            title=scope.title,
            description=own.get(scope.name) or scope.description,
            sensitive=scope.sensitive,
            required=locked or scope.name in REQUIRED,
            ticked=scope.name in allowed or not (scope.sensitive or scope.name in refused),
        )
        for scope in Scope.described(names)
    ]


def _profile(user: User) -> str:
    """What the scope `profile` tells about this person: no claim goes out unnamed."""
    told = about(user, PROFILE)
    words = [word for claim, word in PROFILE_WORDS.items() if claim in told]
    return f"{user.display_name}: your {', '.join(['name', *words[:-1]])} and {words[-1]}."


def granted(asked: list[str], ticked: list[str], decision: str | None) -> list[str]:
    """Requested ∩ ticked, in the order of the request; empty when the person denies."""
    if decision != "allow":
        return []
    return [name for name in asked if name in ticked or name in REQUIRED]


def access_lasts(application: Application, settings: Settings) -> str:
    """How long access lasts, in words."""
    if application.allows_grant(REFRESH_TOKEN):
        unused = lasting(settings.refresh_token_seconds)  # each refresh starts them anew
        return f"Until you remove it, or do not use it for {unused}"
    return lasting(settings.access_token_seconds)


def _serializer(settings: Settings, purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret_key, salt=f"portal.{purpose}")


def seal(settings: Settings, purpose: str, user: User, content: Any) -> str:
    """The request as a field that only this portal can make, for this session."""
    return str(_serializer(settings, purpose).dumps({"s": user.session.id, "c": content}))


def unseal(settings: Settings, purpose: str, user: User, sealed: str) -> Any:
    """The request behind a sealed field; StalePage when it must not be believed."""
    try:
        content, made = _serializer(settings, purpose).loads(sealed, return_timestamp=True)
    except BadSignature:
        raise StalePage from None
    # Both ways: another node's clock may be ahead, and this one may have been set back.
    if abs(now() - made.timestamp()) > OPEN_SECONDS or content["s"] != user.session.id:
        raise StalePage
    return content["c"]
