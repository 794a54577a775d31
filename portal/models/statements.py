"""The hot statements of the protocol: what the grants and endpoints run on every request."""

from peewee import Value

from portal.models.application import Application
from portal.models.authorization_code import AuthorizationCode
from portal.models.compiled import Compiled, slot
from portal.models.device_code import DeviceCode
from portal.models.token import AccessToken, TokenFamily
from portal.models.user import User

#: Issues nothing when the application changed since its row was cached, or is disabled.
INSERT_ACCESS_TOKEN = Compiled(
    lambda: AccessToken.insert_from(
        Application.select(
            slot("id"),
            slot("hash"),
            Application.id,
            Application.epoch,
            slot("family_id"),
            slot("user_id"),
            slot("scopes"),
            slot("resources"),
            slot("now"),
            slot("expires_at"),
        ).where(
            # SQLite's index of what tokens ask begins with the client ID, and "+ 0" keeps it from
            # looking the row up by its id; an application that was deleted and imported again has
            # the same client ID, and soon the same version, but never the same id.
            Application.client_id == slot("client_id"),
            (Application.id + 0) == slot("application_id"),
            Application.version == slot("version"),
            Application.disabled_at.is_null(),
        ),
        fields=[
            AccessToken.id,
            AccessToken.hash,
            AccessToken.application_id,
            AccessToken.epoch,
            AccessToken.family_id,
            AccessToken.user_id,
            AccessToken.scopes,
            AccessToken.resources,
            AccessToken.created_at,
            AccessToken.expires_at,
        ],
    )
)

#: A token with everything that decides whether it lives, and the version of the application
#: that asks about it.
FIND_ACCESS_TOKEN = Compiled(
    lambda: (
        AccessToken.select(
            AccessToken.hash,
            AccessToken.application_id,
            AccessToken.scopes,
            AccessToken.created_at,
            AccessToken.expires_at,
            AccessToken.user_id,
            AccessToken.family_id,
            AccessToken.resources,
            Application.client_id,
            Application.subject_type,
            Application.redirect_uris,
            (
                Application.disabled_at.is_null()
                & (Application.epoch == AccessToken.epoch)
                & (AccessToken.family_id.is_null() | TokenFamily.id.is_null(False))
                & (AccessToken.user_id.is_null() | _person_is_active())
            ).alias("alive"),
            User.sub,
            User.username,
            TokenFamily.claims,
            TokenFamily.auth_time,
            _version_of_asker().alias("asker_version"),
        )
        .join(Application, on=(Application.id == AccessToken.application_id))
        .left_outer_join(
            TokenFamily,
            on=((TokenFamily.id == AccessToken.family_id) & TokenFamily.ended_at.is_null()),
        )
        .left_outer_join(User, on=(User.id == AccessToken.user_id))
        .where(AccessToken.id == slot("id"))
    )
)

FIND_FAMILY = Compiled(
    lambda: (
        TokenFamily.select(
            TokenFamily.id,
            TokenFamily.application_id,
            TokenFamily.user_id,
            TokenFamily.scopes,
            TokenFamily.refresh_hash,
            TokenFamily.previous_hash,
            TokenFamily.rotated_at,
            TokenFamily.rotations,
            TokenFamily.auth_time,
            TokenFamily.session_id,
            TokenFamily.claims,
            TokenFamily.resources,
            TokenFamily.created_at,
            TokenFamily.expires_at,
            TokenFamily.ended_at,
            TokenFamily.history,
            (
                Application.disabled_at.is_null()
                & (Application.epoch == TokenFamily.epoch)
                & TokenFamily.ended_at.is_null()
                & _person_is_active()
            ).alias("alive"),
            Application.client_id,
            Application.subject_type,
            Application.redirect_uris,
            User.sub,
            User.username,
            _version_of_asker().alias("asker_version"),
        )
        .join(Application, on=(Application.id == TokenFamily.application_id))
        .join(User, on=(User.id == TokenFamily.user_id))
        .where(TokenFamily.id == slot("id"))
    )
)

#: The conditional update is the lock: of many that present the same token, one rotates it.
ROTATE_FAMILY = Compiled(
    lambda: TokenFamily.update(
        {
            TokenFamily.previous_hash: TokenFamily.refresh_hash,
            TokenFamily.refresh_hash: slot("successor_hash"),
            TokenFamily.rotated_at: slot("now"),
            TokenFamily.last_used_at: slot("now"),
            TokenFamily.rotations: TokenFamily.rotations + 1,
            TokenFamily.expires_at: slot("expires_at"),
            TokenFamily.history: slot("history"),
        }
    ).where(
        TokenFamily.id == slot("id"),
        TokenFamily.refresh_hash == slot("presented_hash"),
        TokenFamily.ended_at.is_null(),
    )
)

FIND_CODE = Compiled(
    lambda: (
        AuthorizationCode.select(
            AuthorizationCode.id,
            AuthorizationCode.hash,
            AuthorizationCode.application_id,
            AuthorizationCode.user_id,
            AuthorizationCode.redirect_uri,
            AuthorizationCode.scopes,
            AuthorizationCode.code_challenge,
            AuthorizationCode.nonce,
            AuthorizationCode.claims,
            AuthorizationCode.resources,
            AuthorizationCode.auth_time,
            AuthorizationCode.session_id,
            AuthorizationCode.expires_at,
            AuthorizationCode.used_at,
            AuthorizationCode.epoch,
            Application.epoch.alias("application_epoch"),
            User.sub,
            _person_is_active().alias("person_active"),
        )
        .join(Application, on=(Application.id == AuthorizationCode.application_id))
        .left_outer_join(User, on=(User.id == AuthorizationCode.user_id))
        .where(AuthorizationCode.id == slot("id"))
    )
)

#: One redemption, whoever races (RFC 6749 §4.1.2).
USE_CODE = Compiled(
    lambda: AuthorizationCode.update({AuthorizationCode.used_at: slot("now")}).where(
        AuthorizationCode.id == slot("id"), AuthorizationCode.used_at.is_null()
    )
)

FIND_DEVICE_CODE = Compiled(
    lambda: (
        DeviceCode.select(
            DeviceCode.id,
            DeviceCode.hash,
            DeviceCode.application_id,
            DeviceCode.user_id,
            DeviceCode.scopes,
            DeviceCode.resources,
            DeviceCode.interval,
            DeviceCode.last_poll_at,
            DeviceCode.auth_time,
            DeviceCode.session_id,
            DeviceCode.expires_at,
            DeviceCode.approved_at,
            DeviceCode.denied_at,
            DeviceCode.used_at,
            DeviceCode.epoch,
            Application.epoch.alias("application_epoch"),
            (DeviceCode.user_id.is_null() | _person_is_active()).alias("person_active"),
            User.sub,
            Value(None).alias("claims"),
        )
        .join(Application, on=(Application.id == DeviceCode.application_id))
        .left_outer_join(User, on=(User.id == DeviceCode.user_id))
        .where(DeviceCode.id == slot("id"))
    )
)

NOTE_POLL = Compiled(
    lambda: DeviceCode.update(
        {DeviceCode.last_poll_at: slot("now"), DeviceCode.interval: slot("interval")}
    ).where(DeviceCode.id == slot("id"))
)

USE_DEVICE_CODE = Compiled(
    lambda: DeviceCode.update({DeviceCode.used_at: slot("now")}).where(
        DeviceCode.id == slot("id"), DeviceCode.used_at.is_null()
    )
)

INSERT_FAMILY = Compiled(
    lambda: TokenFamily.insert(
        {
            TokenFamily.id: slot("id"),
            TokenFamily.application_id: slot("application_id"),
            TokenFamily.user_id: slot("user_id"),
            TokenFamily.epoch: slot("epoch"),
            TokenFamily.scopes: slot("scopes"),
            TokenFamily.refresh_hash: slot("refresh_hash"),
            TokenFamily.rotations: 0,
            TokenFamily.auth_time: slot("auth_time"),
            TokenFamily.session_id: slot("session_id"),
            TokenFamily.claims: slot("claims"),
            TokenFamily.resources: slot("resources"),
            TokenFamily.created_at: slot("now"),
            TokenFamily.last_used_at: slot("now"),
            TokenFamily.expires_at: slot("expires_at"),
            TokenFamily.history: slot("history"),
        }
    )
)

INSERT_CODE = Compiled(
    lambda: AuthorizationCode.insert(
        {
            AuthorizationCode.id: slot("id"),
            AuthorizationCode.hash: slot("hash"),
            AuthorizationCode.application_id: slot("application_id"),
            AuthorizationCode.epoch: slot("epoch"),
            AuthorizationCode.user_id: slot("user_id"),
            AuthorizationCode.redirect_uri: slot("redirect_uri"),
            AuthorizationCode.scopes: slot("scopes"),
            AuthorizationCode.code_challenge: slot("code_challenge"),
            AuthorizationCode.nonce: slot("nonce"),
            AuthorizationCode.claims: slot("claims"),
            AuthorizationCode.resources: slot("resources"),
            AuthorizationCode.auth_time: slot("auth_time"),
            AuthorizationCode.session_id: slot("session_id"),
            AuthorizationCode.created_at: slot("now"),
            AuthorizationCode.expires_at: slot("expires_at"),
        }
    )
)


def _person_is_active():  # type: ignore[no-untyped-def]
    """Asked at every use: a request in flight may store something just after somebody is gone."""
    return User.id.is_null(False) & User.disabled_at.is_null()


def _version_of_asker():  # type: ignore[no-untyped-def]
    asker = Application.alias()
    return asker.select(asker.version).where(asker.id == slot("asker_id"))
