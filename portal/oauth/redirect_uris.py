"""Redirect URIs: which may be saved, which one was meant, and how two of them differ.

Pure functions over text. None of them raises, whatever was sent.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote

from portal.letters import printable

LONGEST = 2000
#: Where plain http stays on the person's own computer (RFC 8252 §7.3).
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
RUNS_OR_READS = frozenset(
    {"javascript", "vbscript", "data", "file", "filesystem", "blob", "about", "mailto"}
)
#: RFC 3986, appendix B: splits every text there is.
_PARTS = re.compile(
    r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL | re.ASCII
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_LEGAL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*", re.ASCII)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_LOOPBACK = re.compile(
    r"http://(localhost|127\.0\.0\.1|\[::1\])(?::([0-9]{1,5}))?((?:[/?].*)?)", re.DOTALL
)


class Part(NamedTuple):
    """One part of two addresses. The `sent` of all parts, joined, is the address sent."""

    sent: str
    saved: str
    differs: bool
    #: scheme, user, host, port, path, trailing slash, query or fragment; "case" for one of
    #: them that differs in small and capital letters only.
    name: str


class _Address(NamedTuple):
    """An address cut into pieces that join to the whole again."""

    scheme: str
    user: str
    host: str
    port: str
    path: str
    slash: str
    query: str
    fragment: str

    @property
    def scheme_name(self) -> str:
        return self.scheme.partition(":")[0].lower()


NAMES = ("scheme", "user", "host", "port", "path", "trailing slash", "query", "fragment")
#: What makes two addresses one another's neighbours: the host before all.
_WEIGHTS = (2, 1, 8, 1, 4, 1, 2, 1)


def _cut(uri: str) -> _Address:
    found = _PARTS.fullmatch(uri)
    assert found, "the pattern splits every text"
    scheme, authority, path, query, fragment = found.groups()
    head = (f"{scheme}:" if scheme else "") + ("//" if authority is not None else "")
    user, at, rest = (authority or "").rpartition("@")
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        host, colon, port = rest, "", ""
    slash = "/" if path.endswith("/") else ""
    path = path.removesuffix("/")
    return _Address(head, user + at, host, colon + port, path, slash, query or "", fragment or "")


# What may be saved


def problem(uri: str) -> str | None:
    """What to change before this address may be saved; None when it may (RFC 9700 §4.1)."""
    return _bad_text(uri) or _bad_address(_cut(uri))


def _bad_text(uri: str) -> str | None:
    if not uri:
        return "Enter an address."
    if len(uri) > LONGEST:
        return f"Shorten the address to at most {LONGEST:,} characters."
    if any(c.isspace() or not c.isprintable() for c in uri):
        return "Remove the spaces and invisible characters."
    if not uri.isascii():
        return "Write it in ASCII: the host as xn--…, other letters percent-encoded."
    if "\\" in uri:
        return "Use / instead of \\."
    if "*" in uri:
        return "Remove the *: list each address, since a wildcard also fits an attacker's."
    if "#" in uri:
        return "Remove the # and what follows: a redirect URI has no fragment."
    if not _LEGAL.fullmatch(uri) or _BAD_PERCENT.search(uri):
        return "Percent-encode the characters that an address may not have."
    if _ENCODED_CONTROL.search(uri):
        return "Remove the percent-encoded control characters."
    return None


def _bad_address(address: _Address) -> str | None:
    scheme = address.scheme_name
    if not scheme or not _SCHEME.fullmatch(scheme):
        return "Write the whole address, such as https://app.example.org/callback."
    if scheme in RUNS_OR_READS:
        return f"Use https:// instead: a {scheme}: address cannot receive an answer safely."
    if address.user:
        return "Remove the user name before the @: it hides the host."
    if _has_dot_segment(address.path + address.slash):
        return "Remove the . and .. from the path: browsers resolve them to another address."
    if scheme in ("http", "https"):
        return _bad_web_address(address)
    return _bad_private_use(address)


def _bad_web_address(address: _Address) -> str | None:
    if not address.scheme.endswith("//") or not address.host:
        return f"Write the host after {address.scheme_name}://, such as app.example.org."
    wrong = _bad_host(address.host) or _bad_port(address.port)
    if wrong:
        return wrong
    if address.scheme_name == "http" and address.host.lower() not in LOOPBACK_HOSTS:
        return (
            "Start it with https://. Plain http is only for http://localhost, http://127.0.0.1"
            " and http://[::1]."
        )
    return None


def _bad_private_use(address: _Address) -> str | None:
    scheme = address.scheme_name
    labels = scheme.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        return (
            "Start it with https://. A scheme of your own needs a domain that you hold, written"
            " backwards: com.example.app:/callback."
        )
    if address.host or address.port:
        return _bad_host(address.host) or _bad_port(address.port)
    if not (address.path + address.slash).startswith("/"):
        return f"Write a path after the scheme, such as {scheme}:/callback."
    return None


def _bad_host(host: str) -> str | None:
    if host.startswith("["):
        return None if _ip(host[1:-1], 6) and host.endswith("]") else "Correct the IPv6 address."
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(host) > 253:
        return "Correct the host: letters, digits, hyphens and dots, such as app.example.org."
    # Browsers read 0x7f.1 and 2130706433 as 127.0.0.1.
    if re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", labels[-1]) and not _ip(host, 4):
        return "Write the IP address as four numbers, such as 192.0.2.1."
    return None


def _bad_port(port: str) -> str | None:
    digits = port[1:]
    if not port or (re.fullmatch("[0-9]{1,5}", digits) and 0 < int(digits) < 65536):
        return None
    return "Correct the port: a number from 1 to 65535 after the colon."


def _has_dot_segment(path: str) -> bool:
    decoded = re.sub("%2e", ".", path, flags=re.IGNORECASE)
    decoded = re.sub("%(?:2f|5c)", "/", decoded, flags=re.IGNORECASE)
    return any(segment in (".", "..") for segment in decoded.split("/"))


def _ip(text: str, version: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return found if found.version == version and "%" not in text else None


# What kind of address it is


def is_loopback(uri: str) -> bool:
    """Whether the answer goes to a program on the person's own computer."""
    address = _cut(uri)
    host = address.host.lower().rstrip(".")
    if address.scheme_name not in ("http", "https"):
        return False
    found = _ip(host.strip("[]"), 6 if host.startswith("[") else 4)
    return host == "localhost" or host.endswith(".localhost") or bool(found and found.is_loopback)


def is_private_use(uri: str) -> bool:
    """Whether the scheme is an app's own (RFC 8252 §7.1), such as com.example.app:/cb."""
    scheme = _cut(uri).scheme_name
    return "." in scheme and bool(_SCHEME.fullmatch(scheme))


def same_host(one: str, other: str) -> bool:
    """Whether both answers go to the same host (or the same app's scheme)."""
    mine, theirs = _cut(one), _cut(other)
    if is_private_use(one):
        return mine.scheme_name == theirs.scheme_name
    return bool(mine.host) and mine.host.lower() == theirs.host.lower()


# Which one was meant


def matches(sent: str, registered: Collection[str]) -> bool:
    """Whether `sent` is one of the registered addresses.

    Exactly, character by character: a prefix match would let /cb/evil through (RFC 9700 §4.1.3).
    On plain http to the own computer only the port may differ, since a native app takes the port
    it gets (RFC 8252 §7.3).
    """
    return registered_as(sent, registered) is not None


def registered_as(sent: str, registered: Collection[str]) -> str | None:
    """The registered address that `sent` is, whatever its port may be; None when it is none."""
    if sent in registered:
        return sent
    mine = _without_port(sent)
    if mine is None:
        return None
    return next((saved for saved in registered if mine == _without_port(saved)), None)


def _without_port(uri: str) -> tuple[str, str] | None:
    found = _LOOPBACK.fullmatch(uri)
    if not found or (found[2] and not 0 < int(found[2]) < 65536):
        return None
    return found[1], found[3]


def nearest(sent: str, registered: Collection[str]) -> str | None:
    """The registered address that `sent` most probably meant; None when there is none."""
    return max(registered, key=lambda saved: _likeness(sent[:LONGEST], saved), default=None)


def _likeness(sent: str, saved: str) -> tuple[int, int]:
    pairs = zip(_cut(sent.strip()), _cut(saved), _WEIGHTS, strict=True)
    same = sum(weight for mine, theirs, weight in pairs if mine.lower() == theirs.lower())
    return same, _common(sent, saved) + _common(sent[::-1], saved[::-1])


def _common(one: str, other: str) -> int:
    """How many letters two texts share from the start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


# How two of them differ


def explain(sent: str, saved: str) -> list[Part]:
    """Both addresses side by side, part by part, from the scheme to the fragment."""
    return [
        Part(mine, theirs, mine != theirs, _part_name(name, mine, theirs))
        for name, mine, theirs in zip(NAMES, _cut(sent), _cut(saved), strict=True)
        if mine or theirs
    ]


def _part_name(name: str, sent: str, saved: str) -> str:
    return "case" if sent != saved and sent.lower() == saved.lower() else name


def sentence(sent: str, saved: str) -> str:
    """The difference in words: `A trailing slash was added.`"""
    if sent == saved:
        return "Both are the same."
    if sent.strip() == saved:
        return "Spaces were added around it."
    if unquote(sent) == saved:
        return "It was percent-encoded once too often."
    pairs = list(zip(NAMES, _cut(sent), _cut(saved), strict=True))
    different = [_difference(*pair) for pair in pairs if pair[1] != pair[2]]
    if len(different) > 3:
        return "It is another address: " + _listed([n for n, a, b in pairs if a != b]) + " differ."
    return " ".join(different)


def _difference(name: str, sent: str, saved: str) -> str:
    if _part_name(name, sent, saved) == "case":
        return f"The {name} differs in capital letters."
    if name == "trailing slash":
        return "A trailing slash was added." if sent else "The trailing slash is missing."
    if name == "user":
        return "A user name stands before the host."
    if name in ("query", "fragment"):
        if sent and saved:
            return f"The {name} differs."
        return f"A {name} was added." if sent else f"The {name} is missing."
    mine, theirs = _bare(name, sent), _bare(name, saved)
    if not mine:
        return f"The {name} {theirs} is missing."
    if not theirs:
        return f"The {name} {mine} was added."
    return f"The {name} is {mine} instead of {theirs}."


def _bare(name: str, text: str) -> str:
    """A part as a sentence shows it: without its marks, short and printable."""
    if name == "scheme":
        text = text.removesuffix("//").removesuffix(":")
    if name == "port":
        text = text.removeprefix(":")
    return printable(text, 60)


def _listed(words: list[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1]


def shown_host(uri: str) -> str:
    """Where a person is sent, as the consent page says it: the host, or an app's own scheme."""
    address = _cut(uri)
    return address.host or f"the app that opens {address.scheme_name}: links"
