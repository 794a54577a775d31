"""Send a form to an address that an application named, without becoming somebody's tool.

The address is resolved once, checked, and that very address is connected to; no redirect is
followed; the whole takes a few seconds at most and little is read.
"""

import http.client
import ipaddress
import socket
import ssl
from urllib.parse import urlencode, urlsplit

SECONDS = 4.0
MAX_ANSWER = 4096


class FetchError(Exception):
    """The form was not taken; the text says why, for the operator."""


def post_form(url: str, fields: dict[str, str], allow_private: bool = False) -> None:
    """POST a form; FetchError unless the answer is 200 or 204.

    `allow_private` permits private, loopback and link-local addresses.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise FetchError("The address is not http or https.")
    port = parts.port or (443 if secure else 80)
    address = _resolve(parts.hostname, port, allow_private)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=SECONDS)
    try:
        sock = socket.create_connection((address, port), timeout=SECONDS)
        if secure:
            context = ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=parts.hostname)
        connection.sock = sock
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", target, urlencode(fields), headers)
        answer = connection.getresponse()
        answer.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"The connection failed: {type(error).__name__}.") from None
    finally:
        connection.close()
    if answer.status not in (200, 204):
        raise FetchError(f"It answered with status {answer.status}.")


def _resolve(host: str, port: int, allow_private: bool) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise FetchError(f"There is no host {host}.") from None
    address = str(found[0][4][0])
    if not allow_private and not ipaddress.ip_address(address).is_global:
        raise FetchError(f"{host} is a private address; PORTAL_PRIVATE_LOGOUT_URIS=1 allows it.")
    return address
