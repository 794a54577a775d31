"""What the doctor knows about one refusal: whose, what to change, and what one press may do."""

from typing import Any, NamedTuple

from peewee import fn

from portal.admin.application_page import ShownRefusal, plain, shown
from portal.database import on_sqlite
from portal.models import Application, Refusal, User
from portal.oauth import mismatch, redirect_uris
from portal.oauth.advice import cause
from portal.oauth.mismatch import REFUSED, Verdict
from portal.oauth.refusals import GRANT_CODE_OFF, REDIRECT_URI_MISMATCH

SHOWN_OTHERS = 3


class Case(NamedTuple):
    """A refusal with everything around it."""

    refusal: Refusal
    #: None when the client ID was missing or nobody's.
    application: Application | None
    shown: ShownRefusal
    #: How the address may be saved; None when it cannot help, or is saved since.
    verdict: Verdict | None = None

    @property
    def is_settled(self) -> bool:
        """Whether its address has been saved since."""
        return self.verdict is None and self.refusal.reason == REDIRECT_URI_MISMATCH.code

    @property
    def is_waiting(self) -> bool:
        """Whether somebody asked for help and still needs it."""
        return self.refusal.told_at is not None and not self.is_settled


def case_of(refusal: Refusal, application: Application | None) -> Case:
    """The case as an administrator sees it."""
    if application is None:
        return Case(refusal, None, plain(refusal))
    return Case(refusal, application, shown(refusal, application), _verdict(refusal, application))


def cases_of(refusals: list[Refusal]) -> list[Case]:
    """The same for many, with one look at the applications."""
    ids = list({refusal.application_id for refusal in refusals})
    rows = Application.select(Application, User).join(User).where(Application.id.in_(ids))
    known = {row.id: row for row in rows}
    return [case_of(refusal, known.get(refusal.application_id)) for refusal in refusals]


def _verdict(refusal: Refusal, application: Application) -> Verdict | None:
    if refusal.reason != REDIRECT_URI_MISMATCH.code:
        return None
    if cause(refusal, application) is GRANT_CODE_OFF:
        return Verdict(REFUSED, "Nobody is sent to it while Authorisation Code is off.")
    saved = application.redirect_uris
    if redirect_uris.matches(refusal.detail, saved):
        return None
    return mismatch.verdict(refusal.detail, saved)


def others_with(case: Case) -> list[Application]:
    """The other applications that the address sent is saved for: the client ID may be mixed up."""
    named = (REDIRECT_URI_MISMATCH.code, GRANT_CODE_OFF.code)
    if case.refusal.reason not in named or case.application is None:
        return []
    sent = case.refusal.detail
    is_its_own = redirect_uris.matches(sent, case.application.redirect_uris)
    if is_its_own or not sent or " " in sent:
        return []
    holds = fn.INSTR if on_sqlite() else fn.STRPOS
    found: Any = Application.select().where(
        holds(Application.redirect_uris, sent) > 0, Application.id != case.application.id
    )
    # Longer addresses that begin like it are found, too.
    return [it for it in found.limit(50) if sent in it.redirect_uris][:SHOWN_OTHERS]
