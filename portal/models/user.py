"""People who sign in, and the one-time links that let them set a password."""

import re
import unicodedata
from typing import Self

from flask_login import UserMixin
from peewee import BigIntegerField, BlobField, BooleanField, TextField

from portal.clock import now
from portal.credentials import (
    hash_password,
    hash_secret,
    make_secret,
    make_subject,
    password_matches,
    password_needs_rehash,
)
from portal.database import transaction
from portal.models.authorization_code import AuthorizationCode
from portal.models.base import EpochField, IdField, Record
from portal.models.consent import Consent
from portal.models.device_code import DeviceCode
from portal.models.session import Session
from portal.models.token import TokenFamily

SETUP_SECONDS = 15 * 60
RESET_SECONDS = 24 * 60 * 60
SPEND_SECONDS = 15 * 60
MINIMUM_PASSWORD = 12
MAXIMUM_PASSWORD = 1000
MAXIMUM_NAME = 200
USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}")
#: Only what tells a typing mistake: whether an address works shows when it gets a message.
EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,189}")
#: /admin/users/new is the page that adds people.
RESERVED_USERNAMES = frozenset({"new"})


def fold(text: str) -> str:
    """One spelling for all ways to write a name: NFKC, case-folded, trimmed."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def username_problem(username: str) -> str | None:
    """What to change about a new username; None when it may be used."""
    if not username:
        return "Enter a username."
    if not USERNAME.fullmatch(username):
        return (
            "Use letters a to z, digits and . _ @ + - in the username, at most 64, and start"
            " with a letter, a digit or _."
        )
    if fold(username) in RESERVED_USERNAMES:
        return f"The username {username} is reserved: choose another one."
    return None


def email_problem(email: str) -> str | None:
    """What to change about an e-mail address; None when it may be used."""
    if not email:
        return "Enter an e-mail address."
    if not EMAIL.fullmatch(email):
        return "Enter an e-mail address such as sam@example.org."
    return None


def name_problem(name: str) -> str | None:
    """What to change about a full name; None when it may be used."""
    if len(name) > MAXIMUM_NAME:
        return f"Shorten the name to at most {MAXIMUM_NAME} characters."
    if any(unicodedata.category(c) == "Cc" for c in name):
        return "Leave tabs, line breaks and other control characters out of the name."
    return None


def password_problem(password: str, *own_names: str) -> str | None:
    """What to change about a new password; None when it may be used.

    `own_names` are the person's username and e-mail address: what everybody would try first.
    """
    if len(password) < MINIMUM_PASSWORD:
        return f"Use at least {MINIMUM_PASSWORD} characters. A few words in a row are fine."
    if len(password) > MAXIMUM_PASSWORD:
        return f"Use at most {MAXIMUM_PASSWORD:,} characters."
    if fold(password) in {fold(name) for name in own_names}:
        return "Use something else than your username or e-mail address."
    return None


class User(UserMixin, Record):
    """A person. Names and e-mail addresses are unique in any spelling."""

    #: Set on the person who is signed in: their session's row, and the cookie's secret.
    session: Session
    cookie: str

    id = IdField()
    username = TextField()
    username_key = TextField(unique=True)
    email = TextField()
    email_key = TextField(unique=True)
    name = TextField(default="")
    sub = TextField(unique=True, default=make_subject)
    password_hash = TextField(null=True)
    is_admin = BooleanField(default=False)
    disabled_at = EpochField(null=True)
    created_at = EpochField(default=now)
    last_sign_in_at = EpochField(null=True)
    #: Standard claims that people say about themselves, as JSON (OpenID Connect Core §5.1).
    profile = TextField(default="{}")
    profile_updated_at = EpochField(null=True)
    email_verified_at = EpochField(null=True)

    class Meta:
        table_name = "user_account"

    @classmethod
    def register(
        cls,
        username: str,
        email: str,
        *,
        name: str = "",
        password: str | None = None,
        is_admin: bool = False,
    ) -> Self:
        """Add a person; IntegrityError when the name or e-mail address is taken."""
        with transaction():
            return cls.create(
                username=username.strip(),
                username_key=fold(username),
                email=email.strip(),
                email_key=fold(email),
                name=name.strip(),
                password_hash=hash_password(password) if password else None,
                is_admin=is_admin,
            )

    @classmethod
    def named(cls, text: str) -> Self | None:
        """The person with this username or e-mail address, in any spelling."""
        key = fold(text)
        if "\0" in key:  # PostgreSQL cannot even look for it
            return None
        return cls.get_or_none((cls.username_key == key) | (cls.email_key == key))

    @classmethod
    def with_username(cls, username: str) -> Self | None:
        """The person with this username, in any spelling; an e-mail address finds nobody."""
        key = fold(username)
        return None if "\0" in key else cls.get_or_none(cls.username_key == key)

    @classmethod
    def signed_in_with(cls, cookie: str) -> Self | None:
        """The person behind a session cookie, with the row as `.session`; None when it is dead."""
        row = (
            Session.select(Session, cls)
            .join(cls, on=(cls.id == Session.user_id), attr="person")
            .where(Session.hash == hash_secret(cookie), cls.disabled_at.is_null())
            .first()
        )
        if row is None or row.is_expired:
            return None
        row.see()
        row.person.session = row
        row.person.cookie = cookie
        return row.person

    def start_session(self, address: str, user_agent: str, sid: int | None = None) -> None:
        """Sign this person in: a new session, and its cookie's secret as `.cookie`."""
        with transaction():
            self.session, self.cookie = Session.start(self.id, address, user_agent, sid)
            User.update(last_sign_in_at=now()).where(User.id == self.id).execute()

    def get_id(self) -> str:
        """What Flask-Login keeps in the browser: the session's secret, not the person's id."""
        return self.cookie

    @property
    def is_active(self) -> bool:
        return self.disabled_at is None

    @property
    def display_name(self) -> str:
        return self.name or self.username

    @property
    def initials(self) -> str:
        words = self.display_name.split()
        return (words[0][0] + (words[-1][0] if len(words) > 1 else words[0][1:2])).upper()

    def password_fits(self, password: str) -> bool:
        """Whether this is the password; moves an old hash to today's parameters.

        Takes the same time when there is no password yet.
        """
        stored = self.password_hash
        if not password_matches(password, stored) or stored is None:
            return False
        if password_needs_rehash(stored):
            User.update(password_hash=hash_password(password)).where(User.id == self.id).execute()
        return True

    def set_password(self, password: str) -> None:
        """Set a new password; every one-time link to set one stops working."""
        with transaction():
            User.update(password_hash=hash_password(password)).where(User.id == self.id).execute()
            OneTimeLink.delete().where(OneTimeLink.user_id == self.id).execute()

    def set_admin(self, is_admin: bool) -> None:
        """Give or take the administrators' pages, from the next request on."""
        with transaction():
            User.update(is_admin=is_admin).where(User.id == self.id).execute()

    def disable(self) -> None:
        """Stop this person: no sign-in, and everything issued from them is dead."""
        with transaction():
            User.update(disabled_at=now()).where(User.id == self.id).execute()
            self._end_everything()

    def enable(self) -> None:
        """Let this person sign in again; what was ended stays ended."""
        with transaction():
            User.update(disabled_at=None).where(User.id == self.id).execute()

    def remove(self, heir: "User | None" = None) -> None:
        """Delete this person; `heir` becomes the owner of their applications.

        ValueError when they own applications and there is no heir.
        """
        with transaction():
            owned = self.applications.count()
            if owned and heir is None:
                raise ValueError(
                    f"{self.username} owns {owned} application{'s' if owned > 1 else ''}:"
                    " name an heir."
                )
            for application in self.applications:
                application.change(owner=heir)
            self._end_everything()
            Consent.delete().where(Consent.user_id == self.id).execute()
            self.delete_instance()

    def _end_everything(self) -> None:
        Session.delete().where(Session.user_id == self.id).execute()
        OneTimeLink.delete().where(OneTimeLink.user_id == self.id).execute()
        TokenFamily.end_all("user", TokenFamily.user_id == self.id)
        AuthorizationCode.withdraw_all(AuthorizationCode.user_id == self.id)
        DeviceCode.withdraw_all(DeviceCode.user_id == self.id)

    @classmethod
    def administrators(cls) -> int:
        """How many administrators can sign in."""
        return cls.select().where(cls.is_admin, cls.disabled_at.is_null()).count()

    def is_last_administrator(self) -> bool:
        """Whether nobody else could administer the portal without this person.

        Ask inside the transaction that takes the right away: it locks the administrators'
        rows, so that two of them cannot remove each other at the same moment.
        """
        User.update(is_admin=True).where(User.is_admin).execute()
        others = User.select().where(User.is_admin, User.disabled_at.is_null(), User.id != self.id)
        me = User.get_or_none(User.id == self.id)
        return bool(me and me.is_admin and me.is_active and not others.exists())


class OneTimeLink(Record):
    """A link that works once: for the first administrator, or to set a new password."""

    hash = BlobField(primary_key=True)
    user_id = BigIntegerField(null=True, index=True)
    expires_at = EpochField()

    @classmethod
    def make(cls, user: User | None = None) -> str:
        """A new link's secret part; for the first administrator when `user` is None.

        The former links for the same purpose stop working.
        """
        secret = make_secret()
        seconds = RESET_SECONDS if user else SETUP_SECONDS
        owner = cls.user_id.is_null() if user is None else cls.user_id == user.id
        with transaction():
            cls.delete().where(owner).execute()
            cls.create(
                hash=hash_secret(secret),
                user_id=user.id if user else None,
                expires_at=now() + seconds,
            )
        return secret

    @classmethod
    def find(cls, secret: str) -> Self | None:
        """The link, when it still works."""
        return cls.get_or_none(cls.hash == hash_secret(secret), cls.expires_at > now())

    def exchange(self) -> str | None:
        """Use the link up for a secret that lives a quarter of an hour; None when too late.

        The browser that used the link keeps the new secret while the person fills in the form.
        """
        secret = make_secret()
        swapped = (
            OneTimeLink.update(hash=hash_secret(secret), expires_at=now() + SPEND_SECONDS)
            .where(OneTimeLink.hash == self.hash, OneTimeLink.expires_at > now())
            .execute()
        )
        return secret if swapped == 1 else None

    def spend(self) -> bool:
        """Use the link up; False when somebody was faster."""
        return OneTimeLink.delete().where(OneTimeLink.hash == self.hash).execute() == 1
