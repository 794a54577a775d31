"""A rehearsal: an administrator plays an application, to see whether it is set up well.

Requests and answers are the real ones, but for two things. What is refused is told to the
administrator alone, and nothing counts as a use: neither was the application's doing. And one
authorization request, the one that this session has just begun, may be answered at a page of the
portal's own that no application needs to have registered.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from flask import session

from portal.clock import now
from portal.credentials import derive_key
from portal.oauth.refusals import Refused
from portal.oauth.request_filter import ProtocolRequest
from portal.settings import Settings

#: Where the answer to the authorization request of a rehearsal comes.
CALLBACK = "/admin/tester/callback"
#: How long a rehearsal may take, from one press to the next.
KEEP_SECONDS = 30 * 60
#: The ticket in the session's cookie: the request that was begun, sealed.
TICKET = "rehearsal"

Run = dict[str, Any]

_refusals: ContextVar[list[Refused] | None] = ContextVar("refusals of a rehearsal", default=None)


@contextmanager
def rehearsing() -> Iterator[list[Refused]]:
    """Collect what is refused inside the block, instead of noting it."""
    heard: list[Refused] = []
    before = _refusals.set(heard)
    try:
        yield heard
    finally:
        _refusals.reset(before)


def is_on() -> bool:
    """Whether this request is part of a rehearsal."""
    return _refusals.get() is not None


def heard(error: Refused) -> bool:
    """Take a refusal of a rehearsal; False outside of one."""
    refusals = _refusals.get()
    if refusals is not None:
        refusals.append(error)
    return refusals is not None


# What a rehearsal knows, from one page to the next


def seal(settings: Settings, person: Any, run: Run) -> str:
    """The run, encrypted: for a page or cookie of this session, and only this portal can read it.

    Nothing of it is stored here.
    """
    text = json.dumps({"s": person.session.id, "r": run})
    return _fernet(settings).encrypt_at_time(text.encode(), now()).decode()


def unseal(settings: Settings, person: Any, sealed: str) -> Run | None:
    """The run, when it was sealed in this session and is not too old."""
    try:
        text = _fernet(settings).decrypt_at_time(sealed.encode(), KEEP_SECONDS, now())
    except (InvalidToken, UnicodeEncodeError):
        return None
    content = json.loads(text)
    return content["r"] if content["s"] == person.session.id else None


def _fernet(settings: Settings) -> Fernet:
    return Fernet(urlsafe_b64encode(derive_key(settings.secret_key, "rehearsal")))


# The page of the portal's own that may get an answer


def callback(settings: Settings) -> str:
    return settings.issuer + CALLBACK


def begin(settings: Settings, person: Any, run: Run) -> None:
    """Let the browser of this administrator make `run["request"]`, once."""
    session[TICKET] = seal(settings, person, run)


def begun(settings: Settings, person: Any) -> Run | None:
    """The run whose request this browser may make, or has made."""
    return unseal(settings, person, session.get(TICKET, ""))


def end() -> None:
    session.pop(TICKET, None)


def admit(settings: Settings, person: Any, asked: ProtocolRequest) -> None:
    """Let the answer come to the portal's own page, if this is exactly the request begun.

    In the session of an administrator who has begun it and has no answer yet: for anybody else,
    and for any other request, the page is an address like any other.
    """
    if asked.payload.data.get("redirect_uri") != callback(settings):
        return
    run = begun(settings, person) if getattr(person, "is_admin", False) else None
    if run and "answer" not in run and dict(asked.payload.data) == run["request"]:
        asked.own_callback = callback(settings)
