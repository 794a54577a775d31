"""The one-time links: for the first administrator, and to set a password."""

from typing import TYPE_CHECKING, Self

from peewee import BigIntegerField, BlobField

from portal.clock import now
from portal.credentials import hash_secret, make_secret
from portal.database import transaction
from portal.models.base import EpochField, Record

if TYPE_CHECKING:
    from portal.models.user import User

SETUP_SECONDS = 15 * 60
RESET_SECONDS = 24 * 60 * 60
SPEND_SECONDS = 15 * 60


class OneTimeLink(Record):
    """A link that works once: for the first administrator, or to set a new password."""

    hash = BlobField(primary_key=True)
    user_id = BigIntegerField(null=True, index=True)
    expires_at = EpochField()

    @classmethod
    def make(cls, user: "User | None" = None) -> str:
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
