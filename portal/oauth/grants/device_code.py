"""Device Code: a device polls until a person has decided on another screen (RFC 8628)."""

from typing import Any

from authlib.oauth2.rfc8628 import DeviceCodeGrant as AuthlibDeviceCodeGrant

from portal.clock import now
from portal.credentials import DEVICE_CODE, matches, parse_token
from portal.database import transaction
from portal.models.device_code import POLL_SECONDS
from portal.models.statements import FIND_DEVICE_CODE, NOTE_POLL, USE_DEVICE_CODE
from portal.oauth import refusals
from portal.oauth.grants.base import PortalGrant
from portal.oauth.issuing import start_family
from portal.oauth.refusals import refuse
from portal.oauth.resources import asked_resources


class DeviceCodeGrant(PortalGrant, AuthlibDeviceCodeGrant):
    """RFC 8628 §3.4: pending, slow_down, one redemption."""

    REQUIRED = "device_code"

    def validate_token_request(self) -> None:
        client = self.authenticate_token_endpoint_client()
        self.request.client = client
        code = self.query_device_credential(self.request.form["device_code"])
        if code.application_id != client.id:
            raise refuse(refusals.DEVICE_FOREIGN, application_id=client.id)
        self.validate_device_credential(code)
        self.request.credential = code

    def query_device_credential(self, device_code: str) -> Any:
        presented = parse_token(device_code)
        if presented is not None and presented.kind == DEVICE_CODE:
            row = FIND_DEVICE_CODE.row(id=presented.id)
            if row is not None and matches(presented.hash, row.hash):
                return row
        raise refuse(refusals.DEVICE_UNKNOWN, application_id=self.request.client.id)

    def validate_device_credential(self, credential: Any) -> None:
        """Pass an approved code; say what the device must do with any other (RFC 8628 §3.5)."""
        mine = {"application_id": credential.application_id}
        if credential.used_at is not None and credential.expires_at != 0:
            raise refuse(refusals.DEVICE_USED, **mine)
        if credential.denied_at is not None:
            raise refuse(refusals.ACCESS_DENIED, **mine)
        withdrawn = (
            credential.used_at is not None
            or credential.epoch != credential.application_epoch
            or not credential.person_active
        )
        if withdrawn or credential.expires_at <= now():
            raise refuse(refusals.DEVICE_EXPIRED, **mine)
        if credential.approved_at is None:
            raise refuse(self._poll(credential), **mine)

    @staticmethod
    def _poll(code: Any) -> refusals.Reason:
        """Note the poll; one that came too early makes the device wait longer from now on."""
        moment = now()
        # A poll in the future was before the clock was set back: it says nothing.
        early = code.last_poll_at is not None and 0 <= moment - code.last_poll_at < code.interval
        interval = code.interval + POLL_SECONDS if early else code.interval
        NOTE_POLL.run(id=code.id, now=moment, interval=interval)
        return refusals.DEVICE_SLOW_DOWN if early else refusals.DEVICE_PENDING

    def create_token_response(self) -> tuple:
        """Swap the device code for tokens, once: consumed before anything is issued."""
        client, code = self.request.client, self.request.credential
        resources = asked_resources(self.request, client, code.resources.split())
        with transaction():
            if USE_DEVICE_CODE.count(id=code.id, now=now()) == 1:
                refresh_token = start_family(
                    self.server, client, code, "device", self.request.address
                )
                return self.tokens_of(code, code.scopes, resources, refresh_token)
        raise refuse(refusals.DEVICE_USED, application_id=client.id)
