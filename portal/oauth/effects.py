"""What a change to an application takes away: from whom, how often it was used, what comes of it.

The page before saving and the command's dry run say the same. What is said of tokens is what the
grants do: an address and a flow are asked for at a request, a scope at each request and refresh,
and an access token keeps what it carries until it runs out.
"""

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from portal.audit import SETTINGS
from portal.models import Application
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    FLOW_NAMES,
    REFRESH_TOKEN,
)
from portal.models.scope import DEFAULT_SCOPE
from portal.models.usage import FLOW, REDIRECT_URI, SCOPE
from portal.oauth import redirect_uris
from portal.oauth.claims import subject_for
from portal.oauth.in_use import Use, many
from portal.text import plural

Settings = Mapping[str, Any]


class Effect(NamedTuple):
    """One thing that ends: what it is, what is known of it, and what happens then."""

    subject: str
    sentence: str
    then: str
    #: Whether `subject` is an address or a name that people do not read as words.
    is_code: bool = False

    def __str__(self) -> str:
        return " ".join(part for part in (self.subject, self.sentence, self.then) if part)


# A change


def of_change(
    application: Application, settings: Settings, access_token_seconds: int
) -> list[Effect]:
    """What these settings take away from the application; empty when they harm nobody.

    `settings` has the names of `Application.change`; missing ones stay.
    """
    old = {name: getattr(application, name) for name in _NAMES}
    new = {**old, **{name: value for name, value in settings.items() if name in old}}
    # What stays as it is costs no statement.
    if all(old[name] == new[name] for name in _NAMES):
        return []
    use = Use(application, access_token_seconds)
    return [effect for rule in _RULES for effect in rule(use, old, new)]


def _redirect_uris(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    if AUTHORIZATION_CODE not in new["grants"]:
        return  # the flow says it
    for uri in old["redirect_uris"]:
        if not redirect_uris.matches(uri, new["redirect_uris"]):
            yield Effect(
                uri,
                f"served {use.sign_ins(REDIRECT_URI, uri)}.",
                "Whoever comes through it is refused from now on. Tokens that people have already"
                " go on working.",
                True,
            )


def _scopes(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    for scope in old["scopes"]:
        if scope in new["scopes"] or scope == DEFAULT_SCOPE:
            continue
        day = use.machine_day(scope)
        itself = f" The application last took it for itself on {day}." if day else ""
        yield Effect(
            scope,
            f"was given at {use.sign_ins(SCOPE, scope)}.{itself}"
            f" {many(use.people(scope), 'loses it', 'lose it')}.",
            "A request that still asks for it is refused as a whole, so change the application"
            f" first. Access tokens keep it until they run out, {use.within}; a"
            " refresh leaves it out.",
            True,
        )


def _grants(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    for grant in old["grants"]:
        if grant in new["grants"]:
            continue
        name = FLOW_NAMES.get(grant, "Refresh tokens")
        if grant == REFRESH_TOKEN:
            people = many(use.people(allowed=False), "stays", "stay")
            yield Effect(
                name,
                f"are switched off. {people} signed in by them now.",
                f"They are refused from now on: access tokens run out {use.within}, and then"
                " people must sign in again.",
            )
        elif grant == CLIENT_CREDENTIALS:
            day = use.machine_day()
            yield Effect(
                name,
                f"was last used on {day}." if day else f"was not used {use.period}.",
                f"The application gets no new token for itself; those it has run out {use.within}.",
            )
        else:
            goes_on = REFRESH_TOKEN in new["grants"]
            yield Effect(
                name,
                f"served {use.sign_ins(FLOW, grant)}.",
                "Nobody can sign in this way any more."
                + (" Refresh tokens that people have go on working." if goes_on else ""),
            )


def _confidential(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    if old["confidential"] and not new["confidential"]:
        count = len(use.application.live_secrets)
        verb = "stops" if count == 1 else "stop"
        yield Effect(
            "Public:",
            f"{plural(count, 'secret')} {verb} working at once and cannot be brought back.",
            "Every request that still sends a secret is refused, refreshing among them.",
        )
    if new["confidential"] and not old["confidential"]:
        people = many(use.people(allowed=False), "stays", "stay")
        yield Effect(
            "Confidential:",
            f"the application has no secret yet. {people} signed in by refresh tokens now.",
            "Every request without a secret is refused, refreshing among them: the application"
            " needs one right after saving.",
        )


def _pkce(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    if new["require_pkce"] and not old["require_pkce"]:
        yield Effect(
            "PKCE",
            f"was not required at {use.sign_ins(FLOW, AUTHORIZATION_CODE)}. Portal does not know"
            " how many of them used it.",
            "A sign-in without PKCE is refused from now on.",
        )


def _trusted(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    if old["trusted"] and not new["trusted"]:
        people = many(use.people(), "is connected", "are connected")
        yield Effect(
            "Trust ends:",
            f"it served {use.all_sign_ins()}. {people}.",
            "At the next sign-in, people who never allowed it are asked. Tokens that they have go"
            " on working.",
        )


def _resource_server(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    if old["resource_server"] and not new["resource_server"]:
        yield Effect(
            "Resource server:",
            "it no longer checks the tokens of other applications.",
            "From now on each of them looks to it as if it had run out.",
        )


def _subjects(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    def number(settings: Settings) -> str:
        named = SimpleNamespace(client_id=use.application.client_id, **settings)
        return subject_for(named, "somebody", b"the same key")

    if number(old) != number(new):
        people = many(use.people(), "is connected", "are connected")
        why = (
            ""
            if old["subject_type"] != new["subject_type"]
            else " They depend on the host of the redirect URIs."
        )
        yield Effect(
            "Account numbers",
            f"change at once.{why} {people}.",
            "The application takes everybody for somebody else: what it keeps for them under the"
            " former number is lost to them.",
        )


def _tokens(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    if old["token_format"] != new["token_format"]:
        opaque = new["token_format"] == "opaque"  # noqa: S105
        yield Effect(
            "New access tokens",
            "are opaque." if opaque else "are JWTs.",
            "A server that checks tokens by itself refuses them: it must ask Portal."
            if opaque
            else "A server that checks them by itself takes them until they"
            f" run out, {use.within}, also when they are revoked before.",
        )
    if old["id_token_alg"] != new["id_token_alg"]:
        yield Effect(
            "ID tokens",
            f"are signed with {new['id_token_alg']} instead of {old['id_token_alg']}:"
            f" {use.sign_ins(SCOPE, 'openid')}.",
            "An application that expects the former one refuses people until it is told.",
        )


def _addresses(use: Use, old: Settings, new: Settings) -> Iterator[Effect]:
    for uri in old["resources"]:
        if uri not in new["resources"]:
            yield Effect(
                uri,
                "is no longer a server that its tokens may be for.",
                f"A request for such a token is refused; those issued run out {use.within}.",
                True,
            )
    for uri in old["post_logout_redirect_uris"]:
        if uri not in new["post_logout_redirect_uris"]:
            yield Effect(
                uri,
                "is no longer an address after sign-out.",
                "People whom the application sends there stay on Portal’s page.",
                True,
            )
    uri = old["backchannel_logout_uri"]
    if uri and uri != new["backchannel_logout_uri"]:
        yield Effect(
            uri,
            "no longer hears when people sign out.",
            "Whatever listens there keeps them signed in.",
            True,
        )


_RULES: tuple[Callable[[Use, Settings, Settings], Iterator[Effect]], ...] = (
    _grants,
    _redirect_uris,
    _confidential,
    _scopes,
    _trusted,
    _pkce,
    _resource_server,
    _subjects,
    _tokens,
    _addresses,
)
#: What is told in the audit log, but for words that end nothing.
_NAMES = tuple(name for name in SETTINGS if name not in ("name", "trust_reason"))


# The end


def of_stopping(application: Application) -> list[str]:
    """What disabling or deleting it ends, in sentences."""
    use = Use(application, 0)
    day = use.machine_day()
    count = use.people()
    if count or application.signs_people_in:
        lost = many(count, "is connected and loses access", "are connected and lose access")
        found = [f"{lost} at once." if count else "Nobody is connected at the moment."]
        found.append(f"It served {use.all_sign_ins()}.")
    else:
        found = ["Nobody signs in to it."]
    if day:
        found.append(f"It last got a token for itself on {day}.")
    return found
