"""An application's check-up: green, amber, red or grey, why, and the one next thing to do.

The conditions are those of portal/attention.py and the bits of portal/models/concern.py, so that
the list, the pages and the command line never say different things.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from peewee import Case, Value, fn

from portal.attention import (
    nothing_worked_since,
    refusals_that_count,
    secrets_reused,
    secrets_that_end,
    trust_asked,
)
from portal.clock import now
from portal.models import Application, ApplicationSecret, Refusal, Trust
from portal.models.application import AUTHORIZATION_CODE
from portal.models.compiled import Compiled, slot
from portal.models.concern import (
    LOOPBACK_LEFT,
    NEVER_USED_SECONDS,
    OWNER_DISABLED,
    PKCE_NOT_REQUIRED,
    SCOPES_UNUSED,
    SECRET_MISSING,
    SECRET_OLD,
    UNUSED,
)
from portal.models.refusal import CODE_FLOW_OFF
from portal.models.search import as_parameter, is_one_of
from portal.models.unused import first_day, unused_scopes
from portal.models.usage import KEPT_DAYS
from portal.oauth import mismatch, redirect_uris
from portal.oauth.advice import advice, cause
from portal.oauth.refusals import REDIRECT_URI_MISMATCH
from portal.text import DAY, ago, date, plural, until
from portal.trust import ends_soon

GREEN, AMBER, RED, GREY = "green", "amber", "red", "grey"
#: Of a finding that can wait for ever; the application is green.
HINT = "hint"
WORDS = {GREEN: "Healthy", AMBER: "Needs attention", RED: "Broken", GREY: "Disabled"}

#: No reasons of a refusal: a secret ends soon, or is used in several places; trust waits for an
#: administrator, or was refused.
ENDING, REUSED = "ending", "reused"
TRUST_WAITS, TRUST_REFUSED, TRUST_UNASKED = "trust_waits", "trust_refused", "trust_unasked"
#: What a reason is called in few words, by how its code starts.
KINDS = {
    "redirect_uri": "redirect error",
    "secret": "client secret error",
    "authentication": "client secret error",
    "pkce": "PKCE error",
    "verifier": "PKCE error",
    "code": "code error",
    "refresh": "refresh token error",
    "device": "device code error",
    "scope": "scope error",
    "grant": "grant flow error",
}


class Finding(NamedTuple):
    """One thing that was looked at."""

    #: What was looked at: `requests`, `secret`, `owner`, …
    check: str
    colour: str
    #: In few words: `12 redirect errors today`.
    text: str
    #: What it means and what to do; empty when all is well.
    advice: str = ""
    #: Where that is done: a page of the administrators, and what the link to it says.
    url: str = ""
    action: str = ""
    #: Of a refusal, its reference: owners read it on a page of their own.
    reference: str = ""


@dataclass(frozen=True)
class Checkup:
    """All findings about one application, the weightiest first."""

    findings: list[Finding]
    is_enabled: bool = True

    @property
    def colour(self) -> str:
        if not self.is_enabled:
            return GREY
        colours = {it.colour for it in self.findings}
        return next((it for it in (RED, AMBER) if it in colours), GREEN)

    @property
    def words(self) -> str:
        return WORDS[self.colour]

    @property
    def next(self) -> Finding | None:
        """What to do first; None when there is nothing to do."""
        return self.findings[0] if self.colour in (RED, AMBER) else None

    @property
    def others(self) -> int:
        """How many more want something to be done."""
        return max(0, sum(it.colour in (RED, AMBER) for it in self.findings) - 1)

    @property
    def hint(self) -> Finding | None:
        """What could be tidied up, some day."""
        return next((it for it in self.findings if it.colour == HINT), None)


class Refused(NamedTuple):
    """What was refused to one application for one reason, as far as it is not over."""

    reason: str
    times: int
    first_at: int
    last_at: int
    #: Whether it was refused since the application last got a token.
    is_stuck: bool


class Facts(NamedTuple):
    """What the row itself does not say."""

    refused: list[Refused]
    secret_ends: int | None
    secret_reused: bool
    #: `TRUST_WAITS`, `TRUST_REFUSED`, `TRUST_UNASKED` or nothing.
    trust: str | None


def check_rows(rows: Sequence[Application]) -> None:
    """Put a check-up of what is wrong on each row of a list, as `row.checkup`: one statement."""
    for row, facts in zip(rows, _facts(rows), strict=True):
        findings = _ordered(it for it in _look(row, facts) if it.colour != GREEN)
        row.checkup = Checkup(findings, row.is_enabled)  # type: ignore[attr-defined]


def check(application: Application) -> Checkup:
    """Everything that was looked at, also what is well; with advice about a redirect URI."""
    if not application.is_enabled:
        return Checkup([], is_enabled=False)
    facts = _facts([application])[0]
    found = [_with_doctor(application, it, facts) for it in _look(application, facts)]
    return Checkup(_ordered([_with_names(application, it) for it in found]))


def _ordered(findings: Iterator[Finding] | list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda it: (RED, AMBER, HINT, GREEN).index(it.colour))


def _facts(rows: Sequence[Application]) -> list[Facts]:
    refused: dict[int, list[Refused]] = defaultdict(list)
    ends: dict[int, int] = {}
    reused: set[int] = set()
    trust: dict[int, str] = {}
    told = _TOLD.rows(ids=as_parameter([row.id for row in rows]), now=now())
    for row_id, reason, count, first_at, last_at, is_stuck in told:
        if reason == REUSED:
            reused.add(row_id)
        elif reason in (TRUST_WAITS, TRUST_REFUSED, TRUST_UNASKED):
            trust[row_id] = reason
        elif reason == ENDING:
            ends[row_id] = first_at
        else:
            refused[row_id].append(Refused(reason, int(count), first_at, last_at, bool(is_stuck)))
    return [
        Facts(refused[row.id], ends.get(row.id), row.id in reused, trust.get(row.id))
        for row in rows
    ]


def _told(ids: Value, moment: Value) -> Any:
    """What other tables say of these: an id, what it is, and four columns of each kind's own."""
    it, secret = Refusal, ApplicationSecret
    stuck = fn.MAX(Case(None, [(nothing_worked_since(), 1)], 0))
    first, last = fn.MIN(it.first_at), fn.MAX(it.last_at)
    asked: Any = refusals_that_count(
        moment, it.application_id, it.reason, fn.SUM(it.count), first, last, stuck
    )
    asked = asked.where(is_one_of(it.application_id, ids))
    end = fn.MIN(secret.expires_at)
    ending: Any = secrets_that_end(
        moment, secret.application, Value(ENDING), end, end, end, Value(0)
    )
    ending = ending.where(is_one_of(secret.application, ids)).group_by(secret.application)
    nothing = (Value(0),) * 4
    reused = secrets_reused(moment, secret.application, Value(REUSED), *nothing, among=ids)
    refused, unasked = Trust.refused_at.is_null(False), Trust.asked_until.is_null()
    waits = Case(None, [(refused, TRUST_REFUSED), (unasked, TRUST_UNASKED)], TRUST_WAITS)
    trusts: Any = trust_asked(Trust.application_id, waits, *nothing)
    trusts = trusts.where(is_one_of(Trust.application_id, ids))
    told = asked.group_by(it.application_id, it.reason).union_all(ending)
    return told.union_all(reused).union_all(trusts)


# Building it takes longer than running it.
_TOLD = Compiled(lambda: _told(slot("ids"), slot("now")))


def _look(row: Application, facts: Facts) -> Iterator[Finding]:
    """Every check that applies to this application, in the order of their weight."""
    if not row.is_enabled:
        return
    yield _requests(row, facts.refused)
    if row.confidential:
        yield _secret(row, facts)
    yield _owner(row)
    if row.allows_grant(AUTHORIZATION_CODE):
        yield _pkce(row)
        if row.confidential:
            yield _addresses(row)
    if row.trusted:
        yield _trust(row, facts.trust)
    yield _use(row)
    if row.concerns & SCOPES_UNUSED:
        url = _page(row, "/unused-scopes")
        yield Finding("scopes", HINT, "Unused scopes", "", url, "Take them away")


def _page(row: Application, part: str = "") -> str:
    return f"/admin/applications/{row.client_id}{part}"


def _requests(row: Application, refused: list[Refused]) -> Finding:
    if not refused:
        return Finding("requests", GREEN, "Nothing was refused within a day, or it works again")
    url, action = _page(row, "#errors"), "See the errors"
    text = _in_few_words(refused)
    if any(it.is_stuck for it in refused):
        worked = f"It last worked {_small(ago(row.last_used_at))}" if row.last_used_at else ""
        told = f"{worked}, and not since." if worked else "It has never worked so far."
        return Finding("requests", RED, text, told, url, action)
    if all(it.reason == CODE_FLOW_OFF for it in refused):
        told = (
            "Any link can cause this, so it says nothing about the application's own requests. This"
            " turns green once it works and nothing was refused for 15 minutes, or after a day."
        )
        return Finding("requests", AMBER, text, told, url, action)
    told = (
        "It works for some: it got tokens at about the same time or later. This turns green once it"
        " got one again and nothing was refused for 15 minutes, or after a day."
    )
    return Finding("requests", AMBER, text, told, url, action)


def _in_few_words(refused: list[Refused]) -> str:
    """The kind of the one to speak of, and how often it happened.

    A row counts from its first day on, so an older one counts more than today's and is said without
    a number.
    """
    kind = _kind(_latest(refused).reason)
    same = [it for it in refused if _kind(it.reason) == kind]
    times, today = sum(it.times for it in same), min(it.first_at for it in same) > now() - DAY
    if today:
        return f"{plural(times, kind)} today"
    return f"{kind[0].upper()}{kind[1:]}s today"


def _latest(refused: list[Refused]) -> Refused:
    """The one to speak of, in words, advice and link: what was mended does not come again.

    What makes it red comes first.
    """
    stuck = [it for it in refused if it.is_stuck]
    return max(stuck or refused, key=lambda it: (it.last_at, it.times))


def _kind(reason: str) -> str:
    return next((kind for start, kind in KINDS.items() if reason.startswith(start)), "error")


def _secret(row: Application, facts: Facts) -> Finding:
    ends, url = facts.secret_ends, f"/admin/secrets/{row.client_id}"
    if row.concerns & SECRET_MISSING:
        return Finding(
            "secret",
            RED,
            "No secret works",
            "Every secret was retired or has ended, so each request is refused.",
            url,
            "Make a secret",
        )
    if facts.secret_reused:
        return Finding(
            "secret",
            AMBER,
            "Secret reused",
            "Several services use one secret, or it was sent for another application: it cannot be"
            " changed for one of them alone. See where, and split them.",
            url,
            "See where",
        )
    if ends:
        return Finding(
            "secret",
            AMBER,
            f"Secret stops {until(ends)}",
            "It is still needed. Make another one, which works beside it, and give it to the"
            " application before that day.",
            url,
            "Make another secret",
        )
    if row.concerns & SECRET_OLD:
        return Finding(
            "secret",
            AMBER,
            "Secret older than a year",
            "Many people and machines may have seen it. Change it without downtime: both work until"
            " the application has the new one.",
            url,
            "Make another secret",
        )
    return Finding("secret", GREEN, "Its newest secret is less than a year old")


def _owner(row: Application) -> Finding:
    name = row.owner.display_name
    if row.concerns & OWNER_DISABLED:
        return Finding(
            "owner",
            RED,
            "Owner is disabled",
            f"Nobody answers for it: {name} cannot sign in any more. Give it to somebody else, or"
            " disable it.",
            _page(row, "/edit"),
            "Choose another owner",
        )
    return Finding("owner", GREEN, f"{name} answers for it")


def _pkce(row: Application) -> Finding:
    if row.concerns & PKCE_NOT_REQUIRED:
        return Finding(
            "pkce",
            AMBER,
            "PKCE not required",
            "Without PKCE a stolen code can be used. Switch it on as soon as the application can.",
            _page(row, "/edit"),
            "Require PKCE",
        )
    return Finding("pkce", GREEN, "PKCE is required")


def _addresses(row: Application) -> Finding:
    if row.concerns & LOOPBACK_LEFT:
        return Finding(
            "addresses",
            AMBER,
            "Development address left",
            f"{row.loopback_left} is saved beside its public addresses: a program on a person’s"
            " computer could get their codes there. Remove it, or give development an application"
            " of its own.",
            _page(row, "/edit"),
            "Remove the address",
        )
    return Finding("addresses", GREEN, "No development address beside public ones")


def _trust(row: Application, asked: str | None) -> Finding:
    url = f"/admin/trust/{row.client_id}"
    if asked == TRUST_WAITS:
        told = "People see the consent page until an administrator approves what it is now."
        return Finding("trust", AMBER, "Trust waits for approval", told, url, "Look at it")
    if asked == TRUST_REFUSED:
        told = "People see the consent page. Read why, and change it or untick Trusted."
        return Finding("trust", AMBER, "Trust was refused", told, url, "Read why")
    if asked == TRUST_UNASKED:
        told = (
            "Its owner changed: people see the consent page until somebody asks to trust it again."
        )
        return Finding("trust", AMBER, "Trust ended with its owner", told, url, "Ask again")
    ends = ends_soon(row)
    if ends:
        told = "From then on people see the consent page. Ask another administrator to renew it."
        return Finding("trust", AMBER, ends, told, url, "Renew it")
    return Finding("trust", GREEN, "Its trust is approved")


def _use(row: Application) -> Finding:
    if not row.concerns & UNUSED:
        if row.last_used_at:
            return Finding("use", GREEN, f"Last used {_small(ago(row.last_used_at))}")
        return Finding("use", GREEN, f"Not used yet, added {_small(ago(row.created_at))}")
    url, action = _page(row, "#stop"), "Disable or delete it"
    if row.last_used_at:
        told = "Ask its owner whether it is still needed. Disabled, it can be brought back."
        return Finding("use", AMBER, f"Unused since {date(row.last_used_at)}", told, url, action)
    days = NEVER_USED_SECONDS // DAY
    told = (
        f"Nobody has used it, though it was added more than {days} days ago. Check its set-up with"
        " Try it below, or delete it."
    )
    return Finding("use", AMBER, "Never used", told, url, action)


def _small(words: str) -> str:
    return words[0].lower() + words[1:]


def _with_names(application: Application, found: Finding) -> Finding:
    """The same finding with the scopes that it is about, as they are used now."""
    if found.check != "scopes":
        return found
    names = unused_scopes([application], now()).get(application.id)
    if not names:
        return Finding("scopes", GREEN, "Its unused scopes were used; the list forgets them soon")
    since = date(first_day(now()) * DAY)
    days = application.machine_days
    last = ", ".join(f"{name} on {date(days[name] * DAY)}" for name in names if name in days)
    told = (
        f"Since {since} nobody gave them to it, it did not take them for itself"
        f"{f' (last {last})' if last else ''}, and no refresh token carries them. What it cannot"
        " ask for, nobody who steals its secret gets. Ask its owner, then take them away: you see"
        " what that ends before anything is saved."
    )
    if application.trusted:
        told += " Its trust must be approved again then."
    text = f"{plural(len(names), 'scope')} unused for {KEPT_DAYS} days: {', '.join(names)}"
    return found._replace(text=text, advice=told)


def _with_doctor(application: Application, found: Finding, facts: Facts) -> Finding:
    """The same finding with the latest refusal's own advice, and a link to it at the doctor."""
    if found.check != "requests" or found.colour == GREEN:
        return found
    reason = _latest(facts.refused).reason
    last = next((it for it in Refusal.of(application.id, 50) if it.reason == reason), None)
    if last is None:
        return found
    return found._replace(
        advice=f"{_advice(application, last)} {found.advice}".strip(),
        url=f"/admin/doctor/{last.reference}",
        action="Open the doctor",
        reference=last.reference,
    )


def _advice(application: Application, refusal: Refusal) -> str:
    sent, saved = refusal.detail, application.redirect_uris
    if cause(refusal, application) is not REDIRECT_URI_MISMATCH:
        return advice(refusal, application)
    if redirect_uris.matches(sent, saved):
        return "The address has been saved since: sign in once to see it work."
    nearest = redirect_uris.nearest(sent, saved)
    return mismatch.told(sent, nearest) if nearest else REDIRECT_URI_MISMATCH.hint
