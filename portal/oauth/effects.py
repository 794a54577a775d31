"""What a change to an application takes away: from whom, how often it was used, what comes of it.

The page before saving and the command's dry run say the same. What is said of tokens is what the
grants do: an address and a flow are asked for at a request, a scope at each request and refresh,
and an access token keeps what it carries until it runs out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from peewee import Value, fn

from portal.audit import SETTINGS
from portal.clock import now
from portal.models import Application, Consent, TokenFamily, Usage
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    FLOW_NAMES,
    REFRESH_TOKEN,
)
from portal.models.scope import DEFAULT_SCOPE
from portal.models.usage import FLOW, RECENT_DAYS, REDIRECT_URI, SCOPE
from portal.oauth import redirect_uris
from portal.oauth.claims import subject_for
from portal.text import DAY, date, lasting, plural

#: Counting people stops here.
MOST_PEOPLE = 1000
SIGN_IN_FLOWS = (AUTHORIZATION_CODE, DEVICE_CODE)

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


class _Look:
    """An application as it is used now."""

    def __init__(self, application: Application, access_token_seconds: int) -> None:
        self.application = application
        self.used = Usage.of(application.id)
        self.period = period()
        self.within = f"within {lasting(access_token_seconds)}"

    def sign_ins(self, kind: str, value: str) -> str:
        """`412 sign-ins in the last 30 days`."""
        count = self.used.get(kind, {}).get(value, 0)
        return f"{plural(count, 'sign-in') if count else 'no sign-in'} {self.period}"

    def all_sign_ins(self) -> str:
        count = sum(self.used.get(FLOW, {}).get(flow, 0) for flow in SIGN_IN_FLOWS)
        return f"{plural(count, 'sign-in') if count else 'no sign-in'} {self.period}"

    def machine_day(self, scope: str | None = None) -> str:
        """On which date the application last took a scope, or any, for itself; "" for never."""
        days = self.application.machine_days
        day = max(days.values(), default=0) if scope is None else days.get(scope, 0)
        return date(day * DAY) if day else ""

    def people(self, scope: str | None = None, allowed: bool = True) -> int:
        """How many hold live tokens, or (`allowed`) have allowed something; of a scope, or any."""
        families = TokenFamily.select(TokenFamily.user_id).where(
            TokenFamily.application_id == self.application.id,
            TokenFamily.ended_at.is_null(),
            TokenFamily.epoch == self.application.epoch,
            TokenFamily.expires_at > now(),
            *_carries(TokenFamily.scopes, scope),
        )
        if not allowed:
            families = families.where(TokenFamily.refresh_hash.is_null(False)).distinct()
            return families.limit(MOST_PEOPLE + 1).count()
        consents = Consent.select(Consent.user_id).where(
            Consent.application_id == self.application.id, *_carries(Consent.scopes, scope)
        )
        return (consents | families).limit(MOST_PEOPLE + 1).count()


def _carries(scopes: Any, name: str | None) -> tuple[Any, ...]:
    if name is None:
        return ()
    padded = Value(" ", converter=False).concat(scopes).concat(" ")
    # Not LIKE, which takes Email for email.
    return (padded != fn.REPLACE(padded, f" {name} ", ""),)


def period() -> str:
    """`in the last 30 days`, or since when this portal counts."""
    since = Usage.since()
    if since is not None and since > now() - RECENT_DAYS * DAY:
        return f"since {date(since)}"
    return f"in the last {RECENT_DAYS} days"


def many(count: int, one: str, more: str) -> str:
    """`4 people lose it`, `1 person loses it`, `Nobody loses it`."""
    if count > MOST_PEOPLE:
        return f"{MOST_PEOPLE:,}+ people {more}"
    return f"{plural(count, 'person')} {more if count > 1 else one}" if count else f"Nobody {one}"


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
    look = _Look(application, access_token_seconds)
    return [effect for rule in _RULES for effect in rule(look, old, new)]


def _redirect_uris(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    if AUTHORIZATION_CODE not in new["grants"]:
        return  # the flow says it
    for uri in old["redirect_uris"]:
        if not redirect_uris.matches(uri, new["redirect_uris"]):
            yield Effect(
                uri,
                f"served {look.sign_ins(REDIRECT_URI, uri)}.",
                "Whoever comes through it is refused from now on. Tokens that people have already"
                " go on working.",
                True,
            )


def _scopes(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    for scope in old["scopes"]:
        if scope in new["scopes"] or scope == DEFAULT_SCOPE:
            continue
        day = look.machine_day(scope)
        itself = f" The application last took it for itself on {day}." if day else ""
        yield Effect(
            scope,
            f"was given at {look.sign_ins(SCOPE, scope)}.{itself}"
            f" {many(look.people(scope), 'loses it', 'lose it')}.",
            "A request that still asks for it is refused as a whole, so change the application"
            f" first. Access tokens keep it until they run out, {look.within}; a"
            " refresh leaves it out.",
            True,
        )


def _grants(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    for grant in old["grants"]:
        if grant in new["grants"]:
            continue
        name = FLOW_NAMES.get(grant, "Refresh tokens")
        if grant == REFRESH_TOKEN:
            people = many(look.people(allowed=False), "stays", "stay")
            yield Effect(
                name,
                f"are switched off. {people} signed in by them now.",
                f"They are refused from now on: access tokens run out {look.within}, and then"
                " people must sign in again.",
            )
        elif grant == CLIENT_CREDENTIALS:
            day = look.machine_day()
            yield Effect(
                name,
                f"was last used on {day}." if day else f"was not used {look.period}.",
                f"The application gets no new token for itself; those it has run out"
                f" {look.within}.",
            )
        else:
            goes_on = REFRESH_TOKEN in new["grants"]
            yield Effect(
                name,
                f"served {look.sign_ins(FLOW, grant)}.",
                "Nobody can sign in this way any more."
                + (" Refresh tokens that people have go on working." if goes_on else ""),
            )


def _confidential(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    if old["confidential"] and not new["confidential"]:
        count = len(look.application.live_secrets)
        verb = "stops" if count == 1 else "stop"
        yield Effect(
            "Public:",
            f"{plural(count, 'secret')} {verb} working at once and cannot be brought back.",
            "Every request that still sends a secret is refused, refreshing among them.",
        )
    if new["confidential"] and not old["confidential"]:
        people = many(look.people(allowed=False), "stays", "stay")
        yield Effect(
            "Confidential:",
            f"the application has no secret yet. {people} signed in by refresh tokens now.",
            "Every request without a secret is refused, refreshing among them: the application"
            " needs one right after saving.",
        )


def _pkce(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    if new["require_pkce"] and not old["require_pkce"]:
        yield Effect(
            "PKCE",
            f"was not required at {look.sign_ins(FLOW, AUTHORIZATION_CODE)}. Portal does not know"
            " how many of them used it.",
            "A sign-in without PKCE is refused from now on.",
        )


def _trusted(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    if old["trusted"] and not new["trusted"]:
        people = many(look.people(), "is connected", "are connected")
        yield Effect(
            "Trust ends:",
            f"it served {look.all_sign_ins()}. {people}.",
            "At the next sign-in, people who never allowed it are asked. Tokens that they have go"
            " on working.",
        )


def _resource_server(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    if old["resource_server"] and not new["resource_server"]:
        yield Effect(
            "Resource server:",
            "it no longer checks the tokens of other applications.",
            "From now on each of them looks to it as if it had run out.",
        )


def _subjects(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    def number(settings: Settings) -> str:
        named = SimpleNamespace(client_id=look.application.client_id, **settings)
        return subject_for(named, "somebody", b"the same key")

    if number(old) != number(new):
        people = many(look.people(), "is connected", "are connected")
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


def _tokens(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    if old["token_format"] != new["token_format"]:
        opaque = new["token_format"] == "opaque"  # noqa: S105
        yield Effect(
            "New access tokens",
            "are opaque." if opaque else "are JWTs.",
            "A server that checks tokens by itself refuses them: it must ask Portal."
            if opaque
            else "A server that checks them by itself takes them until they"
            f" run out, {look.within}, also when they are revoked before.",
        )
    if old["id_token_alg"] != new["id_token_alg"]:
        yield Effect(
            "ID tokens",
            f"are signed with {new['id_token_alg']} instead of {old['id_token_alg']}:"
            f" {look.sign_ins(SCOPE, 'openid')}.",
            "An application that expects the former one refuses people until it is told.",
        )


def _addresses(look: _Look, old: Settings, new: Settings) -> Iterator[Effect]:
    for uri in old["resources"]:
        if uri not in new["resources"]:
            yield Effect(
                uri,
                "is no longer a server that its tokens may be for.",
                f"A request for such a token is refused; those issued run out {look.within}.",
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


_RULES: tuple[Callable[[_Look, Settings, Settings], Iterator[Effect]], ...] = (
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
    look = _Look(application, 0)
    day = look.machine_day()
    count = look.people()
    lost = many(count, "is connected and loses access", "are connected and lose access")
    found = [f"{lost} at once." if count else "Nobody is connected at the moment."]
    served = look.all_sign_ins()
    found.append(f"It served {served}.")
    if day:
        found.append(f"It last got a token for itself on {day}.")
    return found


def of_scope(name: str, applications: Sequence[Application]) -> dict[int, str]:
    """How each of some applications used a scope, by its id: for whoever deletes the scope."""
    used, when = Usage.of_scope(name, [it.id for it in applications]), period()
    told = {}
    for it in applications:
        signs, day = used.get(it.id, 0), it.machine_days.get(name)
        parts = [f"given at {plural(signs, 'sign-in')} {when}"] if signs else []
        parts += [f"last taken for itself on {date(day * DAY)}"] if day else []
        told[it.id] = " and ".join(parts) or f"not used {when}"
    return told


def served(application: Application, uri: str) -> str:
    """`It served 412 sign-ins in the last 30 days.`, of an address."""
    return f"It served {_Look(application, 0).sign_ins(REDIRECT_URI, uri)}."
