"""The catalogue of scopes: what applications may ask for, in words people understand."""

import re
from collections import Counter
from typing import Any, Self

from peewee import SQL, BooleanField, TextField, fn

from portal.clock import now
from portal.database import transaction
from portal.models.application import Application
from portal.models.base import EpochField, Record
from portal.models.consent import Consent
from portal.models.unused import DEFAULT_SCOPE as DEFAULT_SCOPE

#: What RFC 6749 §3.3 allows in a scope, less what would look odd in a URL.
SCOPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,63}")

#: About a person; an application that acts for itself cannot have them.
PERSONAL = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})

BUILT_IN = (
    ("public", "See your public profile", "Your display name, nothing sensitive.", False),
    ("openid", "Sign you in", "Your account number on this portal.", False),
    ("profile", "See your name and picture", "Display name, picture and language.", False),
    ("email", "See your e-mail address", "The address and whether it is verified.", False),
    ("address", "See your postal address", "Where you receive post.", True),
    ("phone", "See your phone number", "The number and whether it is verified.", True),
    (
        "offline_access",
        "Keep access while you are away",
        "It can act for you until you remove it, also when you are signed out.",
        False,
    ),
)


class Scope(Record):
    """A scope of the catalogue."""

    name = TextField(primary_key=True)
    title = TextField()
    description = TextField()
    sensitive = BooleanField(default=False)
    builtin = BooleanField(default=False)
    created_at = EpochField(default=now)

    @classmethod
    def register(cls, name: str, title: str, description: str, sensitive: bool = False) -> Self:
        """Add a scope to the catalogue; IntegrityError when the name is taken."""
        with transaction():
            return cls.create(name=name, title=title, description=description, sensitive=sensitive)

    @classmethod
    def catalogue(cls) -> list[Self]:
        """All scopes: the built-in ones in their usual order, then the others by name."""
        order = {name: place for place, (name, *_) in enumerate(BUILT_IN)}
        return sorted(cls.select(), key=lambda s: (order.get(s.name, len(order)), s.name))

    @classmethod
    def described(cls, names: list[str]) -> list[Self]:
        """The rows of these scopes, in catalogue order."""
        wanted = set(names)
        return [scope for scope in cls.catalogue() if scope.name in wanted]

    @classmethod
    def add_built_in(cls) -> None:
        """Make sure that the built-in scopes are there."""
        for name, title, description, sensitive in BUILT_IN:
            cls.insert(
                name=name, title=title, description=description, sensitive=sensitive, builtin=True
            ).on_conflict_ignore().execute()

    @staticmethod
    def holders() -> Counter[str]:
        """How many applications may ask for each scope."""
        counts: Counter[str] = Counter()
        held: Any = Application.select(Application.scopes, fn.COUNT(SQL("*")))
        for scopes, count in held.group_by(Application.scopes).tuples():
            counts.update(dict.fromkeys(scopes, count))
        return counts

    def remove(self) -> None:
        """Take the scope out of the catalogue and away from every application.

        ValueError for a built-in scope. Remembered consents for it are forgotten, so that a
        later scope of the same name is asked for anew.
        """
        if self.builtin:
            raise ValueError(f"{self.name} is built in and cannot be deleted.")
        with transaction():
            for application in Application.allowed_scope(self.name):
                application.change(
                    scopes=[name for name in application.scopes if name != self.name]
                )
            Consent.forget_scope(self.name)
            self.delete_instance()
