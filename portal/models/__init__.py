"""The tables, one family a file."""

from portal.models.application import Application, ApplicationSecret
from portal.models.audit_event import AuditEvent
from portal.models.authorization_code import AuthorizationCode
from portal.models.consent import Consent
from portal.models.device_code import DeviceCode
from portal.models.lease import Lease
from portal.models.logout_delivery import LogoutDelivery
from portal.models.misused_secret import MisusedSecret
from portal.models.offer import Offer
from portal.models.one_time_link import OneTimeLink
from portal.models.refusal import Refusal
from portal.models.scope import Scope
from portal.models.secret_network import SecretNetwork
from portal.models.session import Session
from portal.models.signing_key import SigningKey
from portal.models.throttle import Throttle
from portal.models.token import AccessToken, TokenFamily
from portal.models.trust import Trust
from portal.models.usage import Usage
from portal.models.user import User

TABLES = [
    User,
    OneTimeLink,
    Session,
    Throttle,
    Application,
    ApplicationSecret,
    Scope,
    Consent,
    AuthorizationCode,
    DeviceCode,
    TokenFamily,
    AccessToken,
    Refusal,
    SigningKey,
    LogoutDelivery,
    Lease,
    AuditEvent,
    Offer,
    SecretNetwork,
    MisusedSecret,
    Trust,
    Usage,
]

__all__ = [
    "TABLES",
    "AccessToken",
    "Application",
    "ApplicationSecret",
    "AuditEvent",
    "AuthorizationCode",
    "Consent",
    "DeviceCode",
    "Lease",
    "LogoutDelivery",
    "MisusedSecret",
    "Offer",
    "OneTimeLink",
    "Refusal",
    "Scope",
    "SecretNetwork",
    "Session",
    "SigningKey",
    "Throttle",
    "TokenFamily",
    "Trust",
    "Usage",
    "User",
]
