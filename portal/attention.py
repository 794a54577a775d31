"""Which applications need attention: the conditions behind the chips of the list.

Two kinds of findings, so that a list of a million costs what the plain one does:

- What lasts is in `Application.concerns` (portal/models/concern.py) and stands in partial indexes,
  one for each order of the list: thousands of idle applications are read like any page.
- What comes and goes within days, refusals and secrets that end or are reused, is asked anew each
  time through indexes of its own. Those are few, so that sorting them is cheap; to keep them in a
  column would cost another write for each refusal, which anybody can cause.

A list is the union of both, each limited to what a page shows. The rows are told by the same
conditions (portal/oauth/checkup.py), so that whatever the chip finds says why.
"""

from typing import Any

from peewee import Select, Value, fn

from portal.credentials import ID_BITS
from portal.models import (
    Application,
    ApplicationSecret,
    MisusedSecret,
    Refusal,
    TokenFamily,
    Trust,
)
from portal.models.application import AUTHORIZATION_CODE, DEVICE_CODE, FILTERS
from portal.models.refusal import CODE_FLOW_OFF
from portal.models.search import is_one_of
from portal.models.secret_network import shared_secrets
from portal.rotation import needed_but_ending
from portal.text import DAY, MINUTE
from portal.trust import SOON_SECONDS

#: What was refused so lately counts.
LATELY_SECONDS = DAY
#: When nothing was refused for so long and it has worked since, it is over.
QUIET_SECONDS = 15 * MINUTE
#: A use is noted at most once a minute.
NOTED_SECONDS = MINUTE

Branch = tuple[Any, ...]


def needs_attention(moment: Any) -> tuple[Branch, ...]:
    """Conditions of which each finds some of the applications that are amber or red."""
    refused = refusals_that_count(moment, Refusal.application_id)
    ending = secrets_that_end(moment, ApplicationSecret.application)
    reused = secrets_reused(moment, ApplicationSecret.application)
    return (FILTERS["attention"],), (
        Application.id.in_(refused | ending | reused | _trust_needs(moment)),
    )


def is_broken(moment: Any) -> tuple[Branch, ...]:
    """Conditions of which each finds some of the applications that are red."""
    refused = refusals_that_count(moment, Refusal.application_id).where(nothing_worked_since())
    return (FILTERS["broken"],), (Application.id.in_(refused),)


def refusals_that_count(moment: Any, *columns: Any) -> Select:
    """Refusals within a day that are not over yet, of enabled applications."""
    return (
        Refusal.select(*columns)
        .join(Application, on=(Application.id == Refusal.application_id))
        .where(
            Refusal.last_at > moment - LATELY_SECONDS,
            Application.disabled_at.is_null(),
            (Refusal.last_at > moment - QUIET_SECONDS) | ~_works_again(),
        )
    )


def nothing_worked_since() -> Any:
    """The condition, for `refusals_that_count`, that the application got no token since.

    What any link brings about says nothing of that: the application does not use the flow.
    """
    own = Refusal.reason != CODE_FLOW_OFF
    return own & (Refusal.last_at > Application.last_used_at + NOTED_SECONDS)


def secrets_that_end(moment: Any, *columns: Any) -> Select:
    """Secrets that end soon and are needed, of enabled applications."""
    return (
        ApplicationSecret.select(*columns)
        .join(Application)
        .where(*needed_but_ending(moment), Application.disabled_at.is_null())
    )


def secrets_reused(moment: Any, *columns: Any, among: Value | None = None) -> Select:
    """Secrets used from several networks or sent for another application, of enabled ones."""
    mine = () if among is None else (is_one_of(ApplicationSecret.application, among),)
    enabled = (Application.disabled_at.is_null(), *mine)
    shared = shared_secrets(moment, *columns).where(*enabled)
    elsewhere = MisusedSecret.lately(moment, *columns).join(Application).where(*enabled)
    return shared.union_all(elsewhere)


def trust_asked(*columns: Any) -> Select:
    """Trust that waits for approval, or to be asked for again, or was refused; of enabled ones."""
    return (
        Trust.select(*columns)
        .join(Application, on=(Application.id == Trust.application_id))
        .where(Trust.asked_at.is_null(False), *_is_trusted(Application))
    )


def _trust_needs(moment: Any) -> Any:
    it = Application.alias()
    ends = it.select(it.id).where(it.trust_ends_at <= moment + SOON_SECONDS, *_is_trusted(it))
    return trust_asked(Trust.application_id).union_all(ends)


def _is_trusted(it: Any) -> tuple[Any, ...]:
    return it.trusted, it.disabled_at.is_null()


def _works_again() -> Any:
    """Whether somebody signed in since the refusal; a machine that nobody signs in to was served.

    Refreshing goes on while nobody new can sign in, so that a use alone says little.
    """
    # Ids sort by time.
    later = TokenFamily.id > Refusal.last_at * (1000 << ID_BITS)
    signed_in = TokenFamily.select(TokenFamily.id).where(
        TokenFamily.application_id == Application.id, later
    )
    grants = Application.grants
    people = grants.contains(AUTHORIZATION_CODE) | grants.contains(DEVICE_CODE)
    return fn.EXISTS(signed_in) | (~people & (Application.last_used_at > Refusal.last_at))
