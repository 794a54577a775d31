"""People who sign in."""

import json
import re
import unicodedata
from typing import Any, Self

from flask_login import UserMixin
from peewee import BooleanField, TextField

from portal.clock import now
from portal.credentials import (
    hash_password,
    hash_secret,
    make_subject,
    password_matches,
    password_needs_rehash,
)
from portal.database import on_sqlite, transaction
from portal.letters import can_be_seen, has_control_characters
from portal.models.authorization_code import AuthorizationCode
from portal.models.base import EpochField, IdField, Record
from portal.models.compiled import Compiled, load, slot
from portal.models.consent import Consent
from portal.models.device_code import DeviceCode
from portal.models.offer import Offer
from portal.models.one_time_link import OneTimeLink
from portal.models.session import Session
from portal.models.token import TokenFamily

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
    if not EMAIL.fullmatch(email) or has_control_characters(email):
        return "Enter an e-mail address such as sam@example.org."
    return None


def name_problem(name: str) -> str | None:
    """What to change about a full name; None when it may be used."""
    if len(name) > MAXIMUM_NAME:
        return f"Shorten the name to at most {MAXIMUM_NAME} characters."
    if name and not can_be_seen(name):
        return "Enter a name that can be seen, or none."
    if has_control_characters(name):
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


class User(Record, UserMixin):
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
    #: The hash of the newest link that confirms the e-mail address, while it may still be used.
    email_link = TextField(null=True)

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
        email_verified: bool = False,
        sub: str | None = None,
    ) -> Self:
        """Add a person; IntegrityError when the name, e-mail address or `sub` is taken."""
        with transaction():
            return cls.create(
                username=username.strip(),
                username_key=fold(username),
                email=email.strip(),
                email_key=fold(email),
                name=name.strip(),
                password_hash=hash_password(password) if password else None,
                is_admin=is_admin,
                email_verified_at=now() if email_verified else None,
                sub=sub or make_subject(),
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
        rows = _SIGNED_IN.rows(hash=hash_secret(cookie))
        if not rows:
            return None
        [found] = rows
        columns = len(Session._meta.sorted_fields)
        session, person = load(Session, found[:columns]), load(cls, found[columns:])
        if session.is_expired:
            return None
        session.see()
        person.session, person.cookie = session, cookie
        return person

    @classmethod
    def locked(cls, *ids: int) -> dict[int, Self]:
        """These people by id, as they stay until the transaction ends; who is gone is missing.

        Lock people before their applications, as disabling does: else two wait for each other.
        """
        rows = cls.select().where(cls.id.in_(ids)).order_by(cls.id)
        # On SQLite the transaction locks out other writers.
        return {row.id: row for row in (rows if on_sqlite() else rows.for_update())}

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
    def claims(self) -> dict[str, Any]:
        """The standard claims that this person says about themselves."""
        claims: dict[str, Any] = json.loads(self.profile or "{}")
        return claims

    def change_profile(
        self,
        *,
        name: str | None = None,
        email: str | None = None,
        claims: dict[str, Any] | None = None,
        email_verified: bool = False,
    ) -> None:
        """Change what is given; IntegrityError when somebody has the e-mail address.

        A new address is not verified unless `email_verified` says so, and no link that was sent
        to the former one works any more.
        """
        changes: dict[str, Any] = {}
        with transaction():
            # Takes the row: what is compared below stays so until the end.
            User.update(profile=User.profile).where(User.id == self.id).execute()
            me = User.get_by_id(self.id)
            if name is not None and name.strip() != me.name:
                changes["name"] = name.strip()
            if claims is not None and claims != me.claims:
                changes["profile"] = json.dumps(claims, ensure_ascii=False)
            if email is not None and email.strip() != me.email:
                changes |= {"email": email.strip(), "email_key": fold(email)}
                changes |= {"email_verified_at": None, "email_link": None}
                OneTimeLink.delete().where(OneTimeLink.user_id == self.id).execute()
            if email_verified and (me.email_verified_at is None or "email" in changes):
                changes |= {"email_verified_at": now(), "email_link": None}
            if changes:
                changes["profile_updated_at"] = now()
                User.update(**changes).where(User.id == self.id).execute()

    def expect_email_link(self, token: str) -> None:
        """From now on this link, and no former one, confirms the e-mail address."""
        with transaction():
            User.update(email_link=hash_secret(token).hex()).where(User.id == self.id).execute()

    def awaits_email_link(self, token: str) -> bool:
        """Whether this is the newest link, and not used yet."""
        return self.email_link is not None and hash_secret(token).hex() == self.email_link

    def confirm_email(self, token: str) -> bool:
        """Use the link up: the address is verified. False when it is not the one any more."""
        with transaction():
            moment = now()
            confirmed = (
                User.update(email_verified_at=moment, profile_updated_at=moment, email_link=None)
                .where(
                    User.id == self.id,
                    User.email_key == self.email_key,
                    User.email_link == hash_secret(token).hex(),
                )
                .execute()
            )
        return confirmed == 1

    def password_fits(self, password: str) -> bool:
        """Whether this is the password; moves an old hash to today's parameters.

        Takes the same time when there is no password yet.
        """
        stored = self.password_hash
        if not password_matches(password, stored) or stored is None:
            return False
        if password_needs_rehash(stored):
            # Unless it was changed meanwhile: that must not be undone.
            same = (User.id == self.id) & (User.password_hash == stored)
            User.update(password_hash=hash_password(password)).where(same).execute()
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
            self._judge_applications()

    def enable(self) -> None:
        """Let this person sign in again; what was ended stays ended.

        What they own and nobody accepted yet is offered no more.
        """
        with transaction():
            away = (User.id == self.id) & User.disabled_at.is_null(False)
            if User.update(disabled_at=None).where(away).execute():
                Offer.give_back(self.id)
            self._judge_applications()

    def _judge_applications(self) -> None:
        """An owner who is disabled speaks against their applications."""
        table = self.applications.model  # which imports this module
        ids = [row.id for row in self.applications.select(table.id)]
        for start in range(0, len(ids), 500):
            table.judge(ids[start : start + 500])

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
            Offer.delete().where(Offer.heir_id == self.id).execute()
            self.delete_instance()

    def _end_everything(self) -> None:
        Session.end(self.id)
        Offer.end_all(self.id)
        OneTimeLink.delete().where(OneTimeLink.user_id == self.id).execute()
        # Codes before families: a redemption in flight holds its code's row until its family is
        # there to be ended.
        AuthorizationCode.withdraw_all(AuthorizationCode.user_id == self.id)
        DeviceCode.withdraw_all(DeviceCode.user_id == self.id)
        TokenFamily.end_all("user", TokenFamily.user_id == self.id)

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


User.add_index(User.username_key, where=User.is_admin, name="user_account_admins")
User.add_index(
    User.username_key, where=User.disabled_at.is_null(False), name="user_account_disabled"
)

#: Every page of a person who is signed in starts with it.
_SIGNED_IN = Compiled(
    lambda: (
        Session.select(*Session._meta.sorted_fields, *User._meta.sorted_fields)
        .join(User, on=(User.id == Session.user_id))
        .where(Session.hash == slot("hash"), User.disabled_at.is_null())
    )
)
