"""Ask for the password again, before what the thief of a session must not be able to do."""

from typing import NamedTuple

from portal.account.login import PURPOSE, THROTTLED, note_wrong_password
from portal.models import Throttle, User

WRONG = "The current password is wrong."


class Trouble(NamedTuple):
    """Why the password does not do, and the seconds to wait when there were too many tries."""

    sentence: str
    wait: int = 0

    @property
    def status(self) -> int:
        return 429 if self.wait else 422


def current_password_trouble(user: User, password: str) -> Trouble | None:
    """What is wrong with the password; None when it is the person's own.

    Wrong tries count together with those of the sign-in page.
    """
    subject = str(user.id)
    wait, tries = Throttle.take(PURPOSE, subject)
    if wait:
        return Trouble(THROTTLED, wait)
    if not user.password_fits(password):
        note_wrong_password(user, tries)
        return Trouble(WRONG)
    Throttle.forgive(PURPOSE, subject)
    return None
