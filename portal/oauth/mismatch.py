"""A redirect URI that does not match: what to do about it, and whether one press may save it.

Pure functions over text. Anybody can have an address of theirs refused, so nothing here takes an
address for the application's own because it was sent.
"""

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote

from portal.models.refusal import DETAIL_LENGTH
from portal.oauth.redirect_uris import (
    LOOPBACK_HOSTS,
    Part,
    explain,
    is_loopback,
    is_private_use,
    problem,
    same_host,
    sentence,
)

DEFAULT_PORTS = {"http": ":80", "https": ":443"}
STAGING = frozenset({"staging", "stage", "test", "testing", "dev", "qa", "uat", "preview", "beta"})

ONE_PRESS, CONFIRM, REFUSED = "one press", "confirm", "refused"


class Verdict(NamedTuple):
    """Whether an address may be saved from the log: `ONE_PRESS`, `CONFIRM` or `REFUSED`; why."""

    how: str
    why: str = ""


def verdict(sent: str, saved: Collection[str]) -> Verdict:
    """One press for a saved host by https or on the own computer; never for a foreign one."""
    if len(sent) >= DETAIL_LENGTH:
        return Verdict(REFUSED, "It is too long for the log, which may have cut it off.")
    if wrong := problem(sent):
        return Verdict(REFUSED, wrong)
    known = [uri for uri in saved if same_host(sent, uri)]
    if not known:
        if double := next((uri for uri in saved if _looks_like(_host(sent), _host(uri))), None):
            why = f"Its host looks like {_host(double)} but is another one."
            return Verdict(REFUSED, why)
        return Verdict(CONFIRM, "Its host is none of the saved ones.")
    if sent.lower().startswith("https://") or is_loopback(sent):
        return Verdict(ONE_PRESS)
    return Verdict(CONFIRM, "It is neither https nor on the person's own computer.")


def advice(sent: str, saved: str) -> str:
    """What to do about the difference; "" when there is no more to say than the difference."""
    if sent.strip() == saved:
        return "Remove the space or line break from the address in your app's settings."
    if unquote(sent) == saved:
        return "Your app encodes the address before its library does: give it the plain address."
    parts = {part.name: part for part in explain(sent, saved) if part.differs}
    if set(parts) == {"case"}:
        return "Addresses match letter by letter: write it in your app as it is registered."
    if set(parts) == {"host"}:
        return _about_host(parts["host"])
    if set(parts) <= {"scheme", "port"} and parts:
        return _about_scheme_and_port(parts, sent)
    if len(parts) != 1:
        return ""
    (name,) = parts
    return _ABOUT.get(name, "")


_ABOUT = {
    "trailing slash": "To Portal these are two addresses. Change your app, or replace the"
    " registered one.",
    "path": "The callback path of your app is another one: a new version or framework may have"
    " moved it.",
    "query": "Your app adds parameters to its address: send them in state instead, or register the"
    " address with them.",
    "fragment": "An address may have no # part: remove it in your app.",
    "user": "Remove what stands before the @ in your app: it hides the host.",
}


def _about_scheme_and_port(parts: dict[str, Part], sent: str) -> str:
    scheme, port = parts.get("scheme"), parts.get("port")
    if scheme and (scheme.sent, scheme.saved) == ("http://", "https://"):
        return (
            "Your app sends http, but https is registered: its proxy header X-Forwarded-Proto is"
            " probably missing, or the app does not trust it."
        )
    if scheme and (scheme.sent, scheme.saved) == ("https://", "http://"):
        return "Your app sends https, but http is registered: replace it if the app has https now."
    if port is None:
        return ""
    usual = DEFAULT_PORTS.get(sent.partition(":")[0].lower())
    if usual in (port.sent, port.saved) and "" in (port.sent, port.saved):
        which = "Your app writes" if port.sent else "The registered address has"
        return f"{which} the usual port {usual[1:]} out, which is another address: leave it away."
    return (
        "Your app runs on another port, or sends the one that it listens on behind its proxy:"
        " check its public address and X-Forwarded-Host."
    )


def _about_host(part: Part) -> str:
    sent, saved = part.sent.lower(), part.saved.lower()
    if {sent, saved} <= LOOPBACK_HOSTS:
        return f"{sent} and {saved} are one computer, but two addresses: use {saved} in your app."
    if sent in LOOPBACK_HOSTS:
        return (
            "Your app sends the address of a developer's computer: set its public address. For"
            " development add an application of its own."
        )
    if f"www.{saved}" == sent or f"www.{sent}" == saved:
        return "One has www and the other has not: send people to one of the two, or register both."
    if STAGING & set(sent.replace("-", ".").split(".")) - set(saved.replace("-", ".").split(".")):
        return (
            "It looks like a staging or test host: give that environment an application of its"
            " own, so that its secret cannot be used here."
        )
    if sent.split(".")[-2:] == saved.split(".")[-2:]:
        return "It is another subdomain: register it only if the same app runs there, too."
    return "Another host altogether. If you do not know it, somebody may be trying to get codes."


def told(sent: str, saved: str) -> str:
    """The difference in words, and what to do about it."""
    return f"{sentence(sent, saved)} {advice(sent, saved)}".strip()


# Look-alikes


def _host(uri: str) -> str:
    if is_private_use(uri):
        return uri.partition(":")[0].lower()
    return next((part.sent for part in explain(uri, uri) if part.name == "host"), "").lower()


def _looks_like(host: str, saved: str) -> bool:
    """Whether a person may take one host for the other.

    The saved one written into a longer name, letters of another script, and a domain that
    differs in one letter or in letters that look alike. Subdomains of one domain do not count.
    """
    if not host or not saved:
        return False
    if any(label.startswith("xn--") for label in host.split(".")):
        return True
    mine, theirs = host.split("."), saved.split(".")
    if mine[-2:] == theirs[-2:]:
        return False
    plain, wanted = _plain(".".join(mine[-2:])), _plain(".".join(theirs[-2:]))
    return f"{saved}." in f"{host}." or _plain(saved) in _plain(host) or _close(plain, wanted)


def _plain(host: str) -> str:
    """Letters that are read as one another made one; without what only divides."""
    text = host.replace("rn", "m").replace("vv", "w")
    return text.translate(str.maketrans("01i", "oll", "-."))


def _close(one: str, other: str) -> bool:
    """Whether they differ by at most one letter: changed, added or left out."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if start is None:
        return True
    rest, other_rest = one[start:], other[start:]
    return other_rest[1:] in (rest, rest[1:]) or rest[1:] == other_rest
