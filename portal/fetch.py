"""Send a form to an address that an application named, without becoming somebody's tool.

The host is resolved once, every address is checked, and those very addresses are connected to;
no redirect is followed; the whole takes a few seconds at most and little is read.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from urllib.parse import SplitResult, urlencode, urlsplit

SECONDS = 4.0
MAX_ANSWER = 4096
#: An IPv4 address in the last 32 bits is where these lead (RFC 6052 §2.1).
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
#: Tunnels to an IPv4 address inside, the old site-local addresses, IPv4-compatible ones.
ODD = tuple(ipaddress.ip_network(net) for net in ("2002::/16", "fec0::/10", "::/96"))
TOOK_TOO_LONG = f"It did not answer within {SECONDS:.0f} seconds."


class FetchError(Exception):
    """The form was not taken; the text says why, for the operator."""


def post_form(url: str, fields: dict[str, str], allow_private: bool = False) -> None:
    """POST a form; FetchError unless the answer is 200 or 204.

    `allow_private` permits private, loopback and link-local addresses.
    """
    end = time.monotonic() + SECONDS
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise FetchError("The address is not http or https.")
    sock = _connect(parts, allow_private, end)
    # Each read may take up to the time-out, and there may be many: the watchdog ends them all.
    watchdog = threading.Timer(max(0, end - time.monotonic()), _hang_up, (sock,))
    watchdog.daemon = True
    watchdog.start()
    try:
        status = _exchange(sock, parts, fields)
    except (OSError, ValueError, http.client.HTTPException) as error:
        if time.monotonic() >= end:
            raise FetchError(TOOK_TOO_LONG) from None
        raise FetchError(f"The connection failed: {_reason(error)}.") from None
    finally:
        watchdog.cancel()
        sock.close()
    if status not in (200, 204):
        raise FetchError(f"It answered with status {status}.")


def _connect(parts: SplitResult, allow_private: bool, end: float) -> socket.socket:
    assert parts.hostname
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise FetchError("The address has no such port.") from None
    reason = TOOK_TOO_LONG
    for address in _resolve(parts.hostname, port, allow_private):
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            sock = socket.create_connection((address, port), timeout=left)
        except TimeoutError:
            reason = TOOK_TOO_LONG
        except OSError as error:
            reason = f"The connection failed: {_reason(error)}."
        else:
            return _secured(sock, parts)
    raise FetchError(reason)


def _secured(sock: socket.socket, parts: SplitResult) -> socket.socket:
    """The connection as TLS if the address says so; the handshake is still to come."""
    if parts.scheme != "https":
        return sock
    return ssl.create_default_context().wrap_socket(
        sock, server_hostname=parts.hostname, do_handshake_on_connect=False
    )


def _resolve(host: str, port: int, allow_private: bool) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchError(f"There is no host {host}.") from None
    addresses = [str(item[4][0]) for item in found]
    if not allow_private and not all(_is_public(address) for address in addresses):
        raise FetchError(f"{host} is a private address; PORTAL_PRIVATE_LOGOUT_URIS=1 allows it.")
    return addresses


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if ip in TRANSLATED:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in ODD)


def _exchange(sock: socket.socket, parts: SplitResult, fields: dict[str, str]) -> int:
    """Send the form over the connection; the status of the answer."""
    if isinstance(sock, ssl.SSLSocket):
        sock.do_handshake()
    connection = http.client.HTTPConnection(parts.netloc.rpartition("@")[2])
    connection.sock = sock
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Connection": "close",
        }
        connection.request("POST", target, urlencode(fields), headers)
        answer = connection.getresponse()
        answer.read(MAX_ANSWER)
        return answer.status
    finally:
        connection.close()


def _hang_up(sock: socket.socket) -> None:
    """End what another thread waits for; below TLS, which would want to say goodbye."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ConnectionRefusedError):
        return "it was refused"
    return type(error).__name__
