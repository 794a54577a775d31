"""What an application may be: the rules that the form, the commands and an import share.

Each rule looks at the settings as a whole (names as on `Application`, missing ones as in a new
one) and says what to change; none of them asks the database.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from portal.letters import can_be_seen, has_control_characters, printable
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    GRANTS,
    REFRESH_TOKEN,
    SIGN_IN_FLOWS,
)
from portal.models.scope import PERSONAL
from portal.models.signing_key import ALGORITHMS
from portal.oauth.redirect_uris import LONGEST, is_loopback, is_private_use, problem
from portal.oauth.resources import is_resource

NAME_LENGTH = 100
REASON_LENGTH = 500
MOST_ADDRESSES = 50
#: /admin/applications/new and its neighbours are pages of their own.
RESERVED_CLIENT_IDS = frozenset({"new", "owners", "preview"})
TOKEN_FORMATS = ("opaque", "jwt")
SUBJECT_TYPES = ("public", "pairwise")
NEW = {
    "name": "",
    "grants": (),
    "redirect_uris": (),
    "post_logout_redirect_uris": (),
    "scopes": (),
    "confidential": True,
    "require_pkce": True,
    "resource_server": False,
    "token_format": "opaque",
    "id_token_alg": "RS256",
    "subject_type": "public",
    "resources": (),
    "backchannel_logout_uri": "",
    "trusted": False,
    "trust_reason": "",
}

Settings = Mapping[str, Any]


class Problem(NamedTuple):
    """The setting that cannot stay as it is, and a sentence that says what to change."""

    field: str
    sentence: str


Rule = Callable[[Settings], Iterator[Problem]]


def problems(settings: Settings, catalogue: Collection[str]) -> list[Problem]:
    """Everything that keeps these settings from being saved; empty when they may be.

    `catalogue` names the scopes that exist.
    """
    whole = {**NEW, **settings}
    found = [found for rule in RULES for found in rule(whole)]
    unknown = [scope for scope in whole["scopes"] if scope not in catalogue]
    if unknown:
        found.append(_unknown_scopes(unknown))
    return found


def warnings(settings: Settings) -> list[str]:
    """What may be saved but deserves a second look."""
    whole = {**NEW, **settings}
    found = []
    if whole["trusted"] and whole["confidential"] and _loopback(whole):
        found.append(
            "Any program on a person's computer can listen on a loopback address, and this"
            " application shows no consent page. Trust it only while you develop."
        )
    if whole["confidential"] and not whole["require_pkce"]:
        found.append(
            "Without PKCE a stolen code can be used. Switch it on as soon as the application can."
        )
    about_people = [scope for scope in whole["scopes"] if scope in PERSONAL]
    if about_people and whole["grants"] and not set(SIGN_IN_FLOWS) & set(whole["grants"]):
        found.append(
            f"No token will have {', '.join(about_people)}: that is about a person, and this"
            " application signs nobody in. Leave it out, or choose a flow with people."
        )
    if is_loopback(whole["backchannel_logout_uri"]):
        found.append(
            "It hears of sign-outs on this server itself: that works only while the portal runs"
            " with PORTAL_PRIVATE_LOGOUT_URIS=1."
        )
    return found


def _name(settings: Settings) -> Iterator[Problem]:
    name = settings["name"].strip()
    if not name:
        yield Problem("name", "Enter a name.")
    elif len(name) > NAME_LENGTH:
        yield Problem("name", f"Shorten the name to at most {NAME_LENGTH} characters.")
    elif has_control_characters(name):
        yield Problem("name", "Remove the invisible characters from the name.")
    elif not can_be_seen(name):
        yield Problem("name", "Enter a name that can be seen.")


def _grants(settings: Settings) -> Iterator[Problem]:
    grants = settings["grants"]
    unknown = [grant for grant in grants if grant not in GRANTS]
    if unknown:
        yield Problem("grants", f"There is no grant flow {unknown[0]!r}.")
    elif not set(grants) - {REFRESH_TOKEN}:
        yield Problem("grants", "Choose at least one grant flow.")
    elif REFRESH_TOKEN in grants and not {AUTHORIZATION_CODE, DEVICE_CODE} & set(grants):
        yield Problem(
            "grants",
            "Refresh tokens keep people signed in: choose Authorisation Code or Device Code as"
            " well, or leave refresh tokens out.",
        )


def _public(settings: Settings) -> Iterator[Problem]:
    if settings["confidential"]:
        return
    if CLIENT_CREDENTIALS in settings["grants"]:
        yield Problem(
            "grants",
            "Client Credentials needs a secret, which a public application cannot keep: make the"
            " application confidential or choose another flow.",
        )
    if not settings["require_pkce"]:
        yield Problem(
            "require_pkce",
            "A public application always needs PKCE: switch it on or make it confidential.",
        )
    if settings["resource_server"]:
        yield Problem(
            "resource_server",
            "A resource server proves who it is with a secret: make the application confidential.",
        )


def _redirect_uris(settings: Settings) -> Iterator[Problem]:
    if AUTHORIZATION_CODE in settings["grants"] and not settings["redirect_uris"]:
        yield Problem(
            "redirect_uris", "Enter at least one redirect URI: Authorisation Code needs it."
        )
    yield from _addresses(settings, "redirect_uris")
    yield from _addresses(settings, "post_logout_redirect_uris")


def _addresses(settings: Settings, field: str) -> Iterator[Problem]:
    if len(settings[field]) > MOST_ADDRESSES:
        yield Problem(field, f"Enter at most {MOST_ADDRESSES} addresses.")
        return
    for uri in settings[field]:
        # The model keeps the addresses of one application in a line, with spaces between.
        wrong = "A redirect URI has no spaces." if len(uri.split()) != 1 else problem(uri)
        if wrong:
            yield Problem(field, f"{_shown(uri)}: {wrong}")
        elif settings["confidential"] and is_private_use(uri):
            yield Problem(
                field,
                f"{_shown(uri)}: an address with a scheme of its own belongs to an app on a"
                " person's device, which cannot keep a secret: untick Confidential (--public) or"
                " use an https address.",
            )


def _trusted(settings: Settings) -> Iterator[Problem]:
    own_device = _loopback(settings) or any(is_private_use(u) for u in settings["redirect_uris"])
    if settings["trusted"] and not settings["confidential"] and own_device:
        yield Problem(
            "trusted",
            "Any program on a person's device could pretend to be this application, so people"
            " must be asked: a public application with a loopback or private-use redirect URI"
            " cannot be trusted.",
        )
    reason = settings["trust_reason"]
    if len(reason) > REASON_LENGTH:
        yield Problem("trust_reason", f"Shorten the reason to at most {REASON_LENGTH} characters.")
    elif has_control_characters(reason.replace("\r", "").replace("\n", "")):
        yield Problem("trust_reason", "Remove the invisible characters from the reason.")


def _choices(settings: Settings) -> Iterator[Problem]:
    if settings["token_format"] not in TOKEN_FORMATS:
        yield Problem("token_format", "Choose opaque or jwt as the token format.")
    if settings["id_token_alg"] not in ALGORITHMS:
        yield Problem("id_token_alg", f"Choose {', '.join(ALGORITHMS)} to sign ID tokens.")
    if settings["subject_type"] not in SUBJECT_TYPES:
        yield Problem("subject_type", "Choose public or pairwise account numbers.")


def _pairwise(settings: Settings) -> Iterator[Problem]:
    # The host decides which account number a person has (OpenID Connect Core §8.1).
    hosts = {urlsplit(u).hostname for u in settings["redirect_uris"] if not problem(u)}
    if settings["subject_type"] == "pairwise" and len(hosts) > 1:
        yield Problem(
            "subject_type",
            "Account numbers of its own need redirect URIs on one host: take the other hosts out,"
            " or use the same account number everywhere.",
        )


def _resources(settings: Settings) -> Iterator[Problem]:
    if len(settings["resources"]) > MOST_ADDRESSES:
        yield Problem("resources", f"Enter at most {MOST_ADDRESSES} resource servers.")
        return
    for uri in settings["resources"]:
        if len(uri.split()) != 1 or not uri.isprintable():
            yield Problem(
                "resources", f"{_shown(uri)}: Remove the spaces and invisible characters."
            )
        elif len(uri) > LONGEST or not is_resource(uri):
            yield Problem(
                "resources",
                f"{_shown(uri)}: Write the whole address without #, such as"
                " https://api.example.org.",
            )


def _backchannel(settings: Settings) -> Iterator[Problem]:
    uri = settings["backchannel_logout_uri"]
    if not uri:
        return
    wrong = problem(uri)
    if not wrong and is_private_use(uri):
        wrong = "Start it with https://: the portal itself calls this address."
    if wrong:
        yield Problem("backchannel_logout_uri", f"{_shown(uri)}: {wrong}")
    elif not {AUTHORIZATION_CODE, DEVICE_CODE} & set(settings["grants"]):
        yield Problem(
            "backchannel_logout_uri",
            "Nobody signs in to this application, so there is nobody to sign out: leave the"
            " address out.",
        )


#: In the order of the form, so that the first problem is the first one to mend.
RULES: tuple[Rule, ...] = (
    _name,
    _grants,
    _public,
    _redirect_uris,
    _trusted,
    _choices,
    _pairwise,
    _resources,
    _backchannel,
)


def _unknown_scopes(names: list[str]) -> Problem:
    shown = ", ".join(_shown(name) for name in names[:5])
    return Problem(
        "scopes", f"Not in the catalogue: {shown}. Add it under Admin > Scopes, or leave it out."
    )


def _loopback(settings: Settings) -> bool:
    return any(is_loopback(uri) for uri in settings["redirect_uris"])


def _shown(text: str) -> str:
    """A value as a message may repeat it: short and printable."""
    return printable(text, 80)
