"""Applications (OAuth clients) and their secrets."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

from peewee import (
    SQL,
    BigIntegerField,
    BlobField,
    BooleanField,
    ForeignKeyField,
    IntegerField,
    TextField,
)

from portal.clock import now
from portal.credentials import hash_secret, make_client_id, make_client_secret
from portal.database import on_sqlite, transaction
from portal.models import concern
from portal.models.authorization_code import AuthorizationCode
from portal.models.base import DaysField, EpochField, IdField, Record, WordsField
from portal.models.consent import Consent
from portal.models.device_code import DeviceCode
from portal.models.logout_delivery import LogoutDelivery
from portal.models.offer import Offer
from portal.models.refusal import Refusal
from portal.models.token import TokenFamily
from portal.models.trust import Trust, subject
from portal.models.unused import unused_scopes
from portal.models.usage import Usage
from portal.models.user import User, fold

AUTHORIZATION_CODE = "authorization_code"
CLIENT_CREDENTIALS = "client_credentials"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
#: In which people take part.
SIGN_IN_FLOWS = (AUTHORIZATION_CODE, DEVICE_CODE)
REFRESH_TOKEN = "refresh_token"  # noqa: S105

FLOW_NAMES = {
    AUTHORIZATION_CODE: "Authorisation Code",
    CLIENT_CREDENTIALS: "Client Credentials",
    DEVICE_CODE: "Device Code",
}
GRANTS = (*FLOW_NAMES, REFRESH_TOKEN)

AVATAR_COLOURS = 7
PREFIX_LENGTH = 8
#: Where a token comes from.
ISSUING = (TokenFamily, AuthorizationCode, DeviceCode)
#: Each request compares its secret with all that are live.
MOST_SECRETS = 20


class TooManySecrets(Exception):
    """One must be retired before another can be made; the text says so."""

    def __init__(self) -> None:
        super().__init__(
            f"{MOST_SECRETS} secrets work already, and more are not allowed: retire one first."
        )


class Application(Record):
    """A piece of software that asks this portal for tokens."""

    id = IdField()
    #: Kept apart, on SQLite, by an index with a condition (migration 0025 says why): whoever makes
    #: this table anew there must make that index, too, and not the one that peewee would.
    client_id = TextField(unique=True)
    name = TextField()
    name_key = TextField()
    owner = ForeignKeyField(User, backref="applications", on_delete="RESTRICT")
    grants = WordsField()
    redirect_uris = WordsField(default=list)
    post_logout_redirect_uris = WordsField(default=list)
    scopes = WordsField(default=list)
    confidential = BooleanField(default=True)
    require_pkce = BooleanField(default=True)
    resource_server = BooleanField(default=False)
    token_format = TextField(default="opaque")
    #: What signs its ID tokens and logout tokens: RS256, ES256 or PS256.
    id_token_alg = TextField(default="RS256")
    #: "public": one `sub` a person everywhere; "pairwise": another one for each application.
    subject_type = TextField(default="public")
    #: Resource servers that its tokens may be for (RFC 8707).
    resources = WordsField(default=list)
    backchannel_logout_uri = TextField(default="")
    trusted = BooleanField(default=False)
    trust_reason = TextField(default="")
    #: Until when the trust was approved, and in what (`trust.subject`); None when in nothing.
    trust_ends_at = EpochField(null=True)
    trust_approved = TextField(default="")
    disabled_at = EpochField(null=True)
    #: Raised by every change; cached rows of an older version are not believed.
    version = IntegerField(default=1)
    #: Raised when the application is disabled: tokens of an earlier epoch stay dead.
    epoch = IntegerField(default=1)
    created_at = EpochField(default=now)
    updated_at = EpochField(default=now)
    #: 0 for never, so that an index puts these first.
    last_used_at = EpochField(default=0)
    #: The last day on which it took each scope for itself (client credentials).
    machine_days = DaysField(default=dict)
    #: Bits of portal/models/concern.py.
    concerns = IntegerField(default=0)
    look_again_at = EpochField(default=0, index=True)
    #: The id of the application that it is a copy of, so that two services have a pair each.
    split_from = BigIntegerField(null=True)
    #: Since when, and by whom, many networks at the same time are known to be its own servers.
    sharing_allowed_at = EpochField(null=True)
    sharing_allowed_by = TextField(null=True)

    class Meta:
        # The list is read page by page in one of the first two orders; the third counts scopes.
        indexes = (
            (("name_key", "id"), False),
            (("last_used_at", "id"), False),
            (("scopes",), False),
        )

    @classmethod
    def register(
        cls,
        *,
        name: str,
        owner: User,
        grants: Iterable[str],
        client_id: str | None = None,
        **settings: Any,
    ) -> tuple[Self, str | None]:
        """Add an application; returns it and its secret, which leaves once (None if public)."""
        with transaction():
            application = cls.create(
                client_id=client_id or make_client_id(),
                name=name.strip(),
                name_key=fold(name),
                owner=owner,
                grants=[grant for grant in GRANTS if grant in set(grants)],
                **settings,
            )
            if not application.confidential:
                application.concerns = cls.judge([application.id])[application.id]
                return application, None
            return application, application.add_secret()

    @classmethod
    def with_client_id(cls, client_id: str) -> Self | None:
        """The application with this client ID, its owner loaded."""
        return cls.select(cls, User).join(User).where(cls.client_id == client_id).first()

    def change(self, **settings: Any) -> None:
        """Change settings; every process sees them with its next request.

        A confidential application that becomes public loses its secrets. Another owner ends an
        offer to somebody.
        """
        if "name" in settings:
            settings["name"] = settings["name"].strip()
            settings["name_key"] = fold(settings["name"])
        if "grants" in settings:
            settings["grants"] = [g for g in GRANTS if g in set(settings["grants"])]
        if "scopes" in settings and set(settings["scopes"]) == set(self.scopes):
            settings["scopes"] = self.scopes  # another order is no change
        if settings.get("trusted") is False:
            settings["trust_ends_at"] = None  # trusted again, it is approved again
        with transaction():
            if "owner" in settings and settings["owner"].id != self.owner_id:  # type: ignore[attr-defined]
                Offer.withdraw(self.id)
            self._update(**settings)
            if not self.confidential:
                self._retire(ApplicationSecret.application == self.id)

    def _update(self, **settings: Any) -> None:
        Usage.note_registered(self.id, set(settings.get("scopes", ())) - set(self.scopes))
        for name, value in settings.items():
            setattr(self, name, value)
        self.version += 1
        self.updated_at = now()
        Application.update(
            **settings, version=Application.version + 1, updated_at=self.updated_at
        ).where(Application.id == self.id).execute()
        self.concerns = Application.judge([self.id]).get(self.id, 0)

    def claim(self, seen: str | None) -> bool:
        """Whether the page that was sent showed it as it is; one of many such pages claims it.

        Call it in the transaction that changes it. A page without the version counts.
        """
        if not seen:
            return True
        if seen != str(self.version):
            return False
        same = (Application.id == self.id) & (Application.version == self.version)
        return Application.update(version=Application.version + 1).where(same).execute() == 1

    # Secrets

    def add_secret(self, name: str = "", expires_at: int | None = None) -> str:
        """A new secret, which leaves once; the row keeps its hash and a prefix to tell it by.

        The others go on working. Raises TooManySecrets.
        """
        secret = make_client_secret()
        with transaction():
            if len(self.live_secrets) >= MOST_SECRETS:
                raise TooManySecrets
            ApplicationSecret.create(
                application=self,
                hash=hash_secret(secret),
                prefix=secret[:PREFIX_LENGTH],
                name=name,
                expires_at=expires_at,
            )
            self._update()
        return secret

    def change_secret(self, secret_id: int, **changes: Any) -> bool:
        """Name a live secret, or say when it stops; False when it is not one of these."""
        with transaction():
            changed = (
                ApplicationSecret.update(**changes)
                .where(
                    ApplicationSecret.application == self.id,
                    ApplicationSecret.id == secret_id,
                    ApplicationSecret.retired_at.is_null(),
                )
                .execute()
            )
            self._update()
        return changed == 1

    def rotate_secret(self, keep_seconds: int = 0) -> str:
        """A new secret that works at once; the others work `keep_seconds` longer (0: no more)."""
        with transaction():
            others = ApplicationSecret.application == self.id
            if keep_seconds:
                until = now() + keep_seconds
                ApplicationSecret.update(expires_at=until, warned_at=now()).where(
                    others,
                    ApplicationSecret.retired_at.is_null(),
                    ApplicationSecret.expires_at.is_null() | (ApplicationSecret.expires_at > until),
                ).execute()
            else:
                self._retire(others)
            return self.add_secret()

    def retire_secret(self, secret_id: int) -> bool:
        """Stop one secret at once; False when it had stopped or is another application's."""
        with transaction():
            retired = self._retire(
                (ApplicationSecret.application == self.id) & (ApplicationSecret.id == secret_id)
            )
            self._update()
        return retired == 1

    @staticmethod
    def _retire(which: object) -> int:
        return (
            ApplicationSecret.update(retired_at=now())
            .where(which, ApplicationSecret.retired_at.is_null())
            .execute()
        )

    @property
    def live_secrets(self) -> list["ApplicationSecret"]:
        """The secrets that work now, the newest first."""
        rows = ApplicationSecret.select().where(ApplicationSecret.application == self.id)
        # Nodes' clocks differ by less than a second, their ids perhaps by more.
        rows = rows.order_by(ApplicationSecret.created_at.desc(), ApplicationSecret.id.desc())
        return [secret for secret in rows if secret.is_live]

    # Life and death

    def disable(self) -> None:
        """Refuse every request from now on; everything issued is dead and stays dead."""
        with transaction():
            if self.disabled_at is None:
                self._update(disabled_at=now(), epoch=self.epoch + 1)

    def enable(self) -> None:
        """Serve the application again; what was issued before stays dead."""
        with transaction():
            self._update(disabled_at=None)

    def remove(self) -> None:
        """Delete the application and everything of it."""
        with transaction():
            mine = self.id
            ApplicationSecret.delete().where(ApplicationSecret.application == mine).execute()
            Offer.withdraw(mine)
            for table in (Trust, Refusal, LogoutDelivery, Usage, Consent, *ISSUING):
                table.delete().where(table.application_id == mine).execute()
            self.delete_instance()

    def people_connected(self) -> int:
        """How many people have allowed it something, or hold live tokens of it."""
        consents = Consent.select(Consent.user_id).where(Consent.application_id == self.id)
        families = TokenFamily.select(TokenFamily.user_id).where(
            TokenFamily.application_id == self.id,
            TokenFamily.ended_at.is_null(),
            TokenFamily.epoch == self.epoch,
            TokenFamily.expires_at > now(),
        )
        return (consents | families).count()

    @classmethod
    def allowed_scope(cls, name: str) -> Iterable[Self]:
        """The applications that may ask for this scope, by name."""
        like = cls.select().where(cls.scopes.contains(name)).order_by(cls.name_key, cls.id)
        # The pattern finds longer names, too, and other cases.
        return (row for row in like if name in row.scopes)

    # Health

    @classmethod
    def judge(cls, ids: Sequence[int]) -> dict[int, int]:
        """Set the `concerns` of these applications as they are now, and return them by id.

        At most some hundred ids.
        """
        judged = {}
        with transaction():
            mine = cls.select().where(cls.id.in_(list(ids))).order_by(cls.id)
            # Locked, so that what is read afterwards is no older than what others wrote.
            rows = list(mine if on_sqlite() else mine.for_update())
            owners = {row.__data__["owner"] for row in rows}
            off = User.select(User.id).where(User.id.in_(owners), User.disabled_at.is_null(False))
            disabled = {owner.id for owner in off}
            secrets: dict[int, list[ApplicationSecret]] = {row.id: [] for row in rows}
            for secret in ApplicationSecret.select().where(
                ApplicationSecret.application.in_(list(secrets)),
                ApplicationSecret.retired_at.is_null(),
            ):
                if secret.is_live:
                    secrets[secret.__data__["application"]].append(secret)
            unused = unused_scopes([row for row in rows if row.is_enabled], now())
            for row in rows:
                off_duty = row.__data__["owner"] in disabled
                bits, again = concern.judge(row, off_duty, secrets[row.id], row.id in unused, now())
                cls.update(concerns=bits, look_again_at=again).where(cls.id == row.id).execute()
                judged[row.id] = bits
        return judged

    @classmethod
    def due_for_a_look(cls, limit: int) -> list[int]:
        """Applications that time alone may have changed, the longest due first."""
        due = cls.select(cls.id).where(cls.look_again_at <= now())
        return [row.id for row in due.order_by(cls.look_again_at).limit(limit)]

    @property
    def lacks_pkce(self) -> bool:
        """Whether somebody with a stolen code could use it (RFC 9700 §2.1.1)."""
        codes = AUTHORIZATION_CODE in self.grants and bool(self.redirect_uris)
        return codes and self.confidential and not self.require_pkce

    @property
    def loopback_left(self) -> str | None:
        """An http address beside public ones: left from development, and not the app's own.

        Apps on people's devices, which are public, need theirs (RFC 8252 §7.3).
        """
        uris = self.redirect_uris if AUTHORIZATION_CODE in self.grants else []
        if not self.confidential or not any(uri.lower().startswith("https:") for uri in uris):
            return None
        return next((uri for uri in uris if uri.lower().startswith("http:")), None)

    # Questions

    @property
    def is_enabled(self) -> bool:
        return self.disabled_at is None

    def allows_grant(self, grant: str) -> bool:
        return grant in self.grants

    @property
    def signs_people_in(self) -> bool:
        """Whether a flow of it has people; a service comes for itself."""
        return any(flow in self.grants for flow in SIGN_IN_FLOWS)

    @property
    def trust_subject(self) -> str:
        """What an approval of its trust would be for, as it is now."""
        return subject(self.redirect_uris, self.scopes, self.owner_id, self.confidential)  # type: ignore[attr-defined]

    @property
    def trusted_until(self) -> int:
        """When people are asked again; 0 when they are."""
        return trusted_until(
            self.trusted, self.trust_ends_at, self.trust_approved, self.trust_subject
        )

    @property
    def skips_consent(self) -> bool:
        """Whether people are not asked now."""
        return self.trusted_until > now()

    @property
    def flow_names(self) -> list[str]:
        """The grant flows as the interface names them; refreshing is part of a flow."""
        return [name for grant, name in FLOW_NAMES.items() if grant in self.grants]

    @property
    def colour(self) -> int:
        """The avatar's colour, 1 to 7: the same for one application everywhere."""
        return sum(self.client_id.encode()) % AVATAR_COLOURS + 1


def trusted_until(trusted: bool, ends_at: int | None, approved: str, is_now: str) -> int:
    """When trust ends that was approved in what the application is now; 0 for none.

    By comparing, so that no way to change an application can carry its trust along.
    """
    return ends_at if trusted and ends_at and approved == is_now else 0


#: What the list of applications can be narrowed to. No values: the partial indexes, one for each
#: order, are only used for literally the same condition.
FILTERS = {
    "trusted": Application.trusted,
    "public": ~Application.confidential,
    "disabled": Application.disabled_at.is_null(False),
    "never": Application.last_used_at < SQL("1"),
    "attention": Application.concerns.bin_and(SQL("239")) > SQL("0"),  # any but SCOPES_UNUSED
    "broken": Application.concerns > SQL("63"),
    "unused_scopes": Application.concerns.bin_and(SQL("16")) > SQL("0"),
}
Application.add_index(
    Application.split_from,
    where=Application.split_from.is_null(False),
    name="application_split",
)
for _name, _rule in FILTERS.items():
    Application.add_index(
        Application.name_key, Application.id, where=_rule, name=f"application_{_name}_by_name"
    )
    if _name != "never":  # these are all used at the same time
        Application.add_index(
            Application.last_used_at,
            Application.id,
            where=_rule,
            name=f"application_{_name}_by_use",
        )


Application.add_index(
    Application.trust_ends_at,
    where=Application.trust_ends_at.is_null(False),
    name="application_trust_ends",
)


class ApplicationSecret(Record):
    """One secret of an application: its hash, and a prefix to tell it from others."""

    id = IdField()
    application = ForeignKeyField(Application, backref="secrets", on_delete="CASCADE")
    #: Indexed, to say whose secret it was that somebody sent for another application.
    hash = BlobField(index=True)
    prefix = TextField()
    created_at = EpochField(default=now)
    expires_at = EpochField(null=True)
    last_used_at = EpochField(null=True)
    retired_at = EpochField(null=True)
    #: What people call it; may be empty.
    name = TextField(default="")
    #: The network that it was last used from, such as 203.0.113.0/24; empty when not known.
    last_used_from = TextField(default="")
    #: It is retired by itself once it was not used for so many days.
    retire_unused_days = IntegerField(null=True)
    #: When its owner was last told that it ends soon.
    warned_at = EpochField(null=True)

    class Meta:
        table_name = "application_secret"
        # Few have an end: which end soon is asked for each list of applications.
        indexes = ((("expires_at", "application"), False),)

    @property
    def is_live(self) -> bool:
        return self.retired_at is None and (self.expires_at is None or self.expires_at > now())
