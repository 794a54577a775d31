"""The mails that people get about their account.

They name the username, never the full name: people choose it freely, and a portal that mails
free text to an address that somebody typed sends other people's advertising.
"""

from portal.mail import Letter
from portal.models import User
from portal.text import date, lasting


def confirm_address(user: User, issuer: str, link: str, seconds: int) -> Letter:
    """Ask whether the address is theirs."""
    return Letter(
        "Confirm your e-mail address",
        f"""Hello {user.username},

please confirm that {user.email} is the e-mail address of your
account at {issuer}:

{link}

The link works once, within {lasting(seconds)}, and only for you: sign in as
{user.username} when you are asked to.

If you did not ask for this e-mail, somebody may have typed your address by
mistake. There is nothing that you need to do.
""",
    )


def address_changed(user: User, issuer: str, moment: int) -> Letter:
    """Tell the former address that it is no longer the one."""
    return Letter(
        "Your e-mail address was changed",
        f"""Hello {user.username},

the e-mail address of your account at {issuer}
was changed on {date(moment)}. This address no longer belongs to it.

If you changed it yourself, there is nothing that you need to do.

If you did not, somebody else knows your password. Sign in, change the
password and the e-mail address, and tell an administrator of the portal.
""",
    )
