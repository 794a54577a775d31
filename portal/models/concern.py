"""What speaks against an application for a long time: judged when it changes, and by the clock.

Each is a bit of `Application.concerns`, so that a list finds the applications with any of them in
its own order from an index, however many there are. Only `Application.judge` sets the bits. It
runs in the transaction of every change of the settings, the secrets and the owner; what time alone
changes is judged by the sweep when `look_again_at` has come. A first use takes `UNUSED` away at
once (portal/models/last_use.py).

Unused scopes are a hint, and no reason for attention: nothing fails, nothing ends, and most
applications register more than they use. Amber on half of a list would hide the few that need
somebody today. So they have a chip of their own, for the day on which somebody tidies up.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portal.models.application import Application, ApplicationSecret

DAY = 24 * 60 * 60

UNUSED = 1
PKCE_NOT_REQUIRED = 2
LOOPBACK_LEFT = 4
SECRET_OLD = 8
#: A hint; FILTERS in portal/models/application.py leave it out of what needs attention.
SCOPES_UNUSED = 16
#: From here on an application is broken, not only in need of a look.
BROKEN = 64
SECRET_MISSING = 64
OWNER_DISABLED = 128

#: Added so long ago and never used; used once, but not for so long.
NEVER_USED_SECONDS = 14 * DAY
LONG_UNUSED_SECONDS = 180 * DAY
#: So old is the newest secret.
SECRET_OLD_SECONDS = 365 * DAY
#: Looked at again after so long in any case: what another program wrote is noticed then.
LONGEST_SECONDS = 7 * DAY
#: While scopes are unused: a use of one does not take the hint away by itself.
HINT_SECONDS = DAY


def judge(
    application: "Application",
    owner_disabled: bool,
    secrets: Sequence["ApplicationSecret"],
    scopes_unused: bool,
    moment: int,
) -> tuple[int, int]:
    """The bits at a moment, and when to look again. `secrets` are those that work then."""
    if not application.is_enabled:
        return 0, moment + LONGEST_SECONDS
    bits = OWNER_DISABLED * owner_disabled
    if application.lacks_pkce:
        bits |= PKCE_NOT_REQUIRED
    if application.loopback_left:
        bits |= LOOPBACK_LEFT
    comes = {UNUSED: unused_from(application)}
    again = [it.expires_at for it in secrets if it.expires_at]
    if secrets:
        comes[SECRET_OLD] = max(it.created_at for it in secrets) + SECRET_OLD_SECONDS
    elif application.confidential:
        bits |= SECRET_MISSING
    for bit, since in comes.items():
        if since <= moment:
            bits |= bit
        else:
            again.append(since)
    if scopes_unused and not bits & UNUSED:
        bits |= SCOPES_UNUSED
        again.append(moment + HINT_SECONDS)
    return bits, min([*again, moment + LONGEST_SECONDS])


def unused_from(application: "Application") -> int:
    """From when on it counts as unused, if nobody uses it until then."""
    if application.last_used_at:
        return application.last_used_at + LONG_UNUSED_SECONDS
    return application.created_at + NEVER_USED_SECONDS
