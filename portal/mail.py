"""Plain-text mail through the operator's mail server. Off unless PORTAL_SMTP_URL is set."""

import logging
import re
import smtplib
import ssl
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid, parseaddr
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from portal.settings import LOOPBACK, Settings

log = logging.getLogger(__name__)

#: For each answer of the mail server; a person waits for them.
SECONDS = 10.0
DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
PORTS = {"smtp": 587, "smtps": 465}


class MailError(Exception):
    """The mail was not sent; the text says so to the person who waits for it."""


class Letter(NamedTuple):
    """What somebody is told."""

    subject: str
    text: str


def send(settings: Settings, recipient: str, letter: Letter) -> None:
    """Hand a letter to the mail server; MailError when it did not take it."""
    try:
        message = _message(settings.mail_from, recipient, letter)
        with _connected(settings.smtp_url) as server:
            server.send_message(message)
    except (smtplib.SMTPException, OSError, ValueError, LookupError, MessageError) as error:
        # The reason, never the letter: it may hold a link, and the address a password.
        log.error("mail: %s did not take a letter: %s", _host(settings.smtp_url), _reason(error))
        raise MailError(
            "The e-mail could not be sent. Try again later; if it stays, tell an administrator of"
            " this portal."
        ) from None


def trouble(settings: Settings) -> str | None:
    """Why the mail server cannot be used; None when it takes our sign-in."""
    try:
        with _connected(settings.smtp_url):
            return None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return f"{_host(settings.smtp_url)}: {_reason(error)}"


def _message(sender: str, recipient: str, letter: Letter) -> EmailMessage:
    name, address = parseaddr(sender)
    message = EmailMessage()
    message["From"] = _address(address, name)
    message["To"] = _address(recipient)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = make_msgid(domain=address.rpartition("@")[2])
    # Out-of-office notes must not answer (RFC 3834 §5).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    return message


def _address(text: str, name: str = "") -> Address:
    """The address in parts, so that no sign in it can become a second one."""
    local, _, domain = text.rpartition("@")
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    if not local or not DOMAIN.fullmatch(domain):
        raise ValueError("This is no e-mail address.")
    return Address(name, local, domain)


def _connected(url: str) -> smtplib.SMTP:
    """A connection to the mail server, encrypted and signed in.

    Only a server on this machine may do without encryption.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    context = ssl.create_default_context()
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=SECONDS)
    try:
        server.ehlo_or_helo_if_needed()
        if parts.scheme == "smtp" and (host not in LOOPBACK or server.has_extn("starttls")):
            server.starttls(context=context)
            server.ehlo_or_helo_if_needed()
        if parts.username is not None:
            server.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or PORTS[parts.scheme]}"


def _reason(error: Exception) -> str:
    """The kind of failure and the server's code: its words may repeat what was sent."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = ", ".join(str(code) for code, _ in error.recipients.values())
        return f"it refused the recipient ({codes})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
