"""One card for one application: the texts filled in, and what does not fit."""

import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from portal.cards.catalogue import CARDS, ID, KINDS, Card
from portal.cards.formats import Verbatim, environment
from portal.models import Application
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    FLOW_NAMES,
    REFRESH_TOKEN,
)
from portal.models.scope import PERSONAL
from portal.oauth import redirect_uris

#: Where it is, as long as nothing says where.
SOMEWHERE = "https://app.example.org"
EXAMPLE_PORT = 9000
SECRET = "<paste the client secret>"  # noqa: S105


class Problem(NamedTuple):
    """Why the card does not fit the registration, and the redirect URI that would help."""

    sentence: str
    redirect_uri: str = ""
    #: Whether it is the registration that must change, not the card's software.
    in_registration: bool = True


class Text(NamedTuple):
    """One file, ready to paste."""

    title: str
    content: str


class Filled(NamedTuple):
    """A card as the page and the command show it."""

    card: Card
    texts: list[Text]
    problems: list[Problem]


class _Callback(NamedTuple):
    uri: str
    #: The software's own address, without a slash at the end.
    base: str
    #: What stands for `{id}` in the pattern.
    id: str


def fill(card: Card, application: Application, issuer: str) -> Filled:
    """The card's texts with the application's values; never its secret, which is not kept."""
    callback = _registered(card, application) or _offer(card, application)
    values = _values(application, issuer, callback)
    texts = [
        Text(file.title, environment(file.format).get_template(file.template).render(values))
        for file in card.files
    ]
    return Filled(card, texts, _problems(card, application, issuer, callback))


def page_context(card: Card, application: Application, issuer: str) -> dict[str, Any]:
    """What the page of a card needs, for administrators and for the owner."""
    return {
        "application": application,
        "cards": CARDS,
        "kinds": KINDS,
        "filled": fill(card, application, issuer),
    }


def callback_at(card: Card, address: str) -> tuple[str, str]:
    """The callback of software at this address as people type it; else "" and what to change."""
    base = re.split(r"[?#]", address.strip(), maxsplit=1)[0]
    if base and "://" not in base:
        base = f"https://{base}"
    if not base or not _web_address(base):
        return "", f"Enter the address of {card.title}, such as https://app.example.org."
    uri = base if _matching(card, base) else base.rstrip("/") + _path(card)
    wrong = redirect_uris.problem(uri)
    return ("", wrong) if wrong else (uri, "")


def offered_uris(application: Application) -> set[str]:
    """What the cards offer to register: on hosts that are registered already, nothing else."""
    bases = {base for uri in application.redirect_uris if (base := _origin(uri))}
    offered = {base + _path(card) for card in CARDS if card.callback for base in bases}
    return {uri for uri in offered if not redirect_uris.problem(uri)}


def _path(card: Card) -> str:
    return card.callback.replace("{id}", ID)


def _origin(uri: str) -> str:
    """Scheme and host of a web address; "" for an app's own scheme."""
    parts = _web_address(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts else ""


def _web_address(uri: str) -> SplitResult | None:
    """The parts of a web address; None when it is none."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.netloc else None


def _port(uri: str) -> int:
    """Where an example listens: the address says it only during development."""
    found = re.match(r"http://[^/?#]+:([0-9]+)", uri)
    return int(found[1]) if found else EXAMPLE_PORT


def _matching(card: Card, uri: str) -> _Callback | None:
    for pattern in (card.callback, *card.others):
        path = re.escape(pattern).replace(r"\{id\}", "(?P<id>[^/?#]+)")
        found = re.fullmatch(rf"(?P<base>https?://[^?#]+?){path}", uri)
        if pattern and found:
            return _Callback(uri, found["base"], found.groupdict().get("id", ID))
    return None


def _registered(card: Card, application: Application) -> _Callback | None:
    """The registered redirect URI that this software is called back at."""
    for uri in application.redirect_uris:
        if found := _matching(card, uri):
            return found
    for uri in application.redirect_uris if card.any_path else ():
        if origin := _origin(uri):
            return _Callback(uri, origin, ID)
    return None


def _offer(card: Card, application: Application) -> _Callback:
    """The one that should be registered."""
    bases = [base for uri in application.redirect_uris if (base := _origin(uri))]
    base = bases[0] if bases else SOMEWHERE
    return _Callback(base + _path(card), base, ID)


def _values(application: Application, issuer: str, callback: _Callback) -> dict[str, Any]:
    path = urlsplit(callback.uri).path or "/"
    return {
        "name": application.name,
        "issuer": issuer,
        "discovery": f"{issuer}/.well-known/openid-configuration",
        "insecure": not issuer.startswith("https:"),
        "client_id": application.client_id,
        "confidential": application.confidential,
        "secret": SECRET,
        "redirect_uri": callback.uri,
        "base": callback.base,
        "path": path,
        "folder": path.rpartition("/")[0] or "/",
        "id": callback.id,
        "port": Verbatim(_port(callback.uri)),
        "local": callback.uri.startswith("http:"),
        # An example's own pages must not lie where it is called back.
        "home": "/home" if path == "/" else "/",
        "login": "/sign-in" if path == "/login" else "/login",
        "scopes": list(application.scopes),
        "scope": " ".join(application.scopes),
        "own_scope": " ".join(name for name in application.scopes if name not in PERSONAL),
        "alg": application.id_token_alg,
        "refreshes": application.allows_grant(REFRESH_TOKEN),
        "acts_for_itself": application.allows_grant(CLIENT_CREDENTIALS),
        "is_device": application.allows_grant(DEVICE_CODE),
        "bye": (application.post_logout_redirect_uris or [""])[0],
    }


def _problems(
    card: Card, application: Application, issuer: str, callback: _Callback
) -> list[Problem]:
    found = []
    if not any(application.allows_grant(grant) for grant in card.grants):
        flows = " or ".join(FLOW_NAMES[grant] for grant in card.grants)
        found.append(Problem(f"{card.title} needs {flows}, which is not ticked."))
    elif card.callback and not _registered(card, application):
        saved = ", ".join(application.redirect_uris[:2])
        if len(application.redirect_uris) > 2:
            saved += f" and {len(application.redirect_uris) - 2} more"
        found.append(
            Problem(
                f"{card.title} is called back at {callback.uri}, but only {saved} is registered."
                if saved
                else f"No redirect URI is registered; {card.title} is called back at"
                f" {_path(card)} behind its own address.",
                callback.uri if callback.uri in offered_uris(application) else "",
            )
        )
    if card.needs_secret and not application.confidential:
        found.append(
            Problem(
                f"{card.title} runs on a server and needs a secret, but the application is public:"
                " tick Confidential."
            )
        )
    if AUTHORIZATION_CODE in card.grants and "openid" not in application.scopes:
        found.append(Problem(f"{card.title} asks for the scope openid, which is not ticked."))
    if application.id_token_alg not in card.algorithms:
        allowed = " or ".join(card.algorithms)
        found.append(
            Problem(
                f"{card.title} expects ID tokens signed with {allowed}, but they are signed with"
                f" {application.id_token_alg}."
            )
        )
    if card.needs_https and not issuer.startswith("https:"):
        found.append(
            Problem(
                f"{card.title} only talks to a portal on https, and this one is {issuer}.",
                in_registration=False,
            )
        )
    return found
