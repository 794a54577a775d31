"""What a refusal means for an application as it is set up now, for operators and owners."""

from portal.models import Application, Refusal
from portal.models.application import AUTHORIZATION_CODE
from portal.oauth.refusals import (
    GRANT_CODE_OFF,
    REASONS,
    REDIRECT_URI_MISMATCH,
    REDIRECT_URI_MISSING,
    Reason,
)

SWITCHED_ON = (
    "Authorisation Code has been switched on since: sign in once to see whether it works now."
)


def cause(refusal: Refusal, application: Application | None) -> Reason | None:
    """What is in the way: no address helps where Authorisation Code is off."""
    reason = REASONS.get(refusal.reason)
    is_about_address = reason in (REDIRECT_URI_MISMATCH, REDIRECT_URI_MISSING)
    if is_about_address and application and not application.allows_grant(AUTHORIZATION_CODE):
        return GRANT_CODE_OFF
    return reason


def advice(refusal: Refusal, application: Application | None) -> str:
    """What to do about the cause; of two addresses `mismatch` knows more."""
    reason = cause(refusal, application)
    if reason is None:
        return ""
    if reason is GRANT_CODE_OFF and application and application.allows_grant(AUTHORIZATION_CODE):
        return SWITCHED_ON
    return reason.advice(refusal.detail)
