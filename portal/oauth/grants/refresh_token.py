"""Refreshing: each use gives a new refresh token; a retry gets the same one (RFC 9700 §4.14)."""

from typing import Any

from authlib.oauth2.rfc6749 import grants

from portal.clock import now
from portal.credentials import (
    REFRESH_TOKEN,
    format_token,
    hash_secret,
    matches,
    parse_token,
    secret_part,
    successor,
)
from portal.database import transaction
from portal.models import TokenFamily
from portal.models.client import Client
from portal.models.last_use import network_of
from portal.models.statements import FIND_FAMILY, ROTATE_FAMILY
from portal.models.token import remember
from portal.oauth import refusals
from portal.oauth.grants.base import PortalGrant
from portal.oauth.refusals import refuse
from portal.oauth.resources import asked_resources
from portal.story import judge

#: How many rotations back a token is told from a guess: a month of one each quarter of an hour.
KNOWN_ROTATIONS = 3000


class RefreshTokenGrant(PortalGrant, grants.RefreshTokenGrant):
    """RFC 6749 §6 with rotation for every client.

    The successor is derived from the presented token with a server key. So whoever repeats a
    request within the retry window (a lost answer, two tabs) gets the same new refresh token,
    and nothing is stored in clear. An older token ends the whole family.
    """

    REQUIRED = "refresh_token"

    def _validate_request_token(self, client: Client) -> Any:
        presented = parse_token(self.request.form["refresh_token"])
        if presented is None or presented.kind != REFRESH_TOKEN:
            raise refuse(refusals.REFRESH_UNKNOWN, application_id=client.id)
        family = FIND_FAMILY.row(id=presented.id, asker_id=client.id)
        if family is None or family.refresh_hash is None:
            raise refuse(refusals.REFRESH_UNKNOWN, application_id=client.id)
        if family.application_id != client.id:
            raise refuse(refusals.REFRESH_FOREIGN, application_id=client.id)
        self._check_generation(family, presented)
        if not family.alive:
            raise refuse(refusals.REFRESH_ENDED, application_id=client.id)
        if family.expires_at <= now():
            raise refuse(refusals.REFRESH_EXPIRED, application_id=client.id)
        return family

    def _validate_token_scope(self, family: Any) -> None:
        asked = self.request.payload.scope
        if asked and not set(asked.split()) <= set(family.scopes.split()):
            raise refuse(refusals.SCOPE_EXCEEDS, application_id=family.application_id, detail=asked)

    def create_token_response(self) -> tuple:
        """Rotate and issue. Of many that race, one rotates; the others find it rotated."""
        family, client = self.request.refresh_token, self.request.client
        settings = self.server.settings
        resources = asked_resources(self.request, client, family.resources.split())
        scope = " ".join(dict.fromkeys((self.request.payload.scope or family.scopes).split()))
        presented = secret_part(self.request.form["refresh_token"])
        new_secret = successor(presented, self.server.refresh_key)
        with transaction():
            rotated = ROTATE_FAMILY.count(
                id=family.id,
                presented_hash=hash_secret(presented),
                successor_hash=hash_secret(new_secret),
                now=now(),
                expires_at=now() + settings.refresh_token_seconds,
                history=remember(family.history, now(), network_of(self.request.address)),
            )
            if rotated or self._is_retry(family.id, presented, new_secret):
                refresh_token = format_token(REFRESH_TOKEN, family.id, new_secret)
                return self.tokens_of(family, scope, resources, refresh_token)
        raise refuse(refusals.REFRESH_ENDED, application_id=client.id)

    def _is_retry(self, family_id: int, presented: str, new_secret: str) -> bool:
        family = TokenFamily.get_or_none(
            TokenFamily.id == family_id, TokenFamily.ended_at.is_null()
        )
        return (
            family is not None
            and matches(hash_secret(presented), family.previous_hash)
            and matches(hash_secret(new_secret), family.refresh_hash)
        )

    def _check_generation(self, family: Any, presented: Any) -> None:
        """Pass the live token, for a moment the one before; an older one ends the family."""
        if matches(presented.hash, family.refresh_hash):
            return
        window = self.server.settings.refresh_retry_seconds
        # Both ways, so that a clock that was set back does not make the window longer.
        if matches(presented.hash, family.previous_hash) and (
            abs(now() - family.rotated_at) <= window
        ):
            return
        age = self._age_of_token(family)
        if age is None:
            raise refuse(refusals.REFRESH_UNKNOWN, application_id=family.application_id)
        network = network_of(self.request.address)
        with transaction():
            TokenFamily.end_reused(family.id, *judge(family.history, age, network, now()))
        raise refuse(refusals.REFRESH_REUSED, application_id=family.application_id)

    def _age_of_token(self, family: Any) -> int | None:
        """After how many rotations the presented token leads to the live one; None: never.

        A guess must not be able to end somebody's family, nor to keep the server busy.
        """
        secret = secret_part(self.request.form["refresh_token"])
        for age in range(1, 1 + min(family.rotations, KNOWN_ROTATIONS)):
            secret = successor(secret, self.server.refresh_key)
            if matches(hash_secret(secret), family.refresh_hash):
                return age
        return None
