"""What `doctor` finds at the public address: the way there, and what the proxies make of it."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from portal import diagnosis
from portal.cli.installation import Finding, bad, good
from portal.clock import now
from portal.settings import Settings

SECONDS = 5
MOST_BYTES = 256 * 1024
CLOCK_SECONDS = 30
#: What a visitor might claim: an address for documentation (RFC 5737), a name that cannot exist.
FORGED_CLIENT, FORGED_HOST = "192.0.2.66", "forged.invalid"

SUBJECT, PROXY = "address", "proxy"
FOR_LINE = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
PROTO_LINE = "proxy_set_header X-Forwarded-Proto $scheme;"
HOST_LINE = "proxy_set_header Host $http_host;"
FORWARDED_HOST_LINE = "proxy_set_header X-Forwarded-Host $http_host;"


class Unreachable(Exception):
    """Nothing useful came back; the text says why, and what to change."""


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: str


def look(settings: Settings, base: str) -> Iterator[Finding]:
    """Fetch discovery from the public address, and ask the portal what it saw of a request."""
    try:
        reply = _get(base, "/.well-known/openid-configuration")
        answer = _ask(settings, base)
    except Unreachable as error:
        yield bad(SUBJECT, f"{base}: {error}")
        return
    path_problem = answer and _path_problem(base, answer)
    if path_problem:
        yield bad(PROXY, path_problem)
    else:
        problem = _discovery_problem(settings, base, reply)
        if problem:
            yield bad(SUBJECT, f"{base}: {problem}")
        else:
            yield good(SUBJECT, f"{base} leads to this portal")
        if not answer and not problem:
            yield bad(
                PROXY,
                "a portal answers there, but not to this command: it has another"
                " PORTAL_SECRET_KEY, is an older release, or a proxy drops the header"
                f" {diagnosis.HEADER}. Run doctor with the server's environment.",
            )
    yield from _clock(reply)
    if answer:
        problems = list(_proxy_problems(settings, base, answer))
        yield from (bad(PROXY, text) for text in problems)
        if not problems and not path_problem:
            yield good(PROXY, _as_seen(answer))


def _get(base: str, path: str, headers: dict[str, str] | None = None) -> Reply:
    """GET one address: no redirect is followed, nothing else is contacted."""
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        connection.request("GET", f"{parts.path}{path}", headers=headers or {})
        response = connection.getresponse()
        body = response.read(MOST_BYTES).decode("utf-8", "replace")
        return Reply(response.status, response.headers, body)
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(_certificate(error)) from None
    except ssl.SSLError:
        raise Unreachable(
            "what listens there does not speak TLS: give the proxy a certificate (listen 443 ssl),"
            " or correct the port"
        ) from None
    except socket.gaierror:
        raise Unreachable("its name cannot be resolved: check PORTAL_ISSUER and the DNS") from None
    except TimeoutError:
        raise Unreachable(
            f"no answer within {SECONDS} seconds: check the firewall and that the proxy runs"
        ) from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise Unreachable(
            f"cannot connect ({reason}): check that the proxy runs and listens on"
            f" port {parts.port or (443 if parts.scheme == 'https' else 80)}"
        ) from None
    except http.client.HTTPException as error:
        raise Unreachable(f"no HTTP comes back ({type(error).__name__}): check the port") from None
    finally:
        connection.close()


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with the certificate; the numbers are OpenSSL's X509_V_ERR_…"""
    said = error.verify_message.rstrip(".")
    if error.verify_code in (62, 64):  # host name, IP address
        return f"the certificate is for another name ({said}): get one for this name"
    if error.verify_code == 10:
        return "the certificate has expired: renew it"
    return (
        f"the certificate is not trusted ({said}): get one from a known authority and send its"
        " whole chain; for an authority of your own set SSL_CERT_FILE to its certificate"
    )


def _ask(settings: Settings, base: str, **claims: str) -> dict[str, Any] | None:
    """What the portal saw of a request with these headers; None when it does not tell us."""
    challenge, nonce = diagnosis.make_challenge(settings)
    headers = {name.replace("_", "-"): value for name, value in claims.items()}
    reply = _get(base, "/healthz", {diagnosis.HEADER: challenge, **headers})
    return diagnosis.read_answer(settings, reply.body, nonce)


def _discovery_problem(settings: Settings, base: str, reply: Reply) -> str | None:
    if 300 <= reply.status < 400:
        return _redirect(base, reply.headers.get("Location", ""))
    if reply.status in (502, 503, 504):
        return (
            f"the proxy answers {reply.status}: it does not reach the portal. Check that the portal"
            " runs, and the address after proxy_pass or reverse_proxy"
        )
    try:
        issuer = json.loads(reply.body)["issuer"]
    except (ValueError, TypeError, KeyError):
        return (
            f"something else than Portal answers there (status {reply.status}): check which server"
            " and which host the proxy leads to"
        )
    if issuer != settings.issuer:
        return (
            f"the portal there calls itself {issuer}, and the setting here is {settings.issuer}:"
            " start both with the same PORTAL_ISSUER"
        )
    if issuer != base:
        return f"the portal there calls itself {issuer}: set PORTAL_ISSUER={base} and restart it"
    return None


def _redirect(base: str, location: str) -> str:
    here, there = urlsplit(base), urlsplit(location)
    if there.netloc and there.hostname != here.hostname:
        return (
            f"it redirects to another host, {there.netloc}: set PORTAL_ISSUER to the address that"
            " people end at"
        )
    if (here.scheme, there.scheme) == ("http", "https"):
        return f"it redirects to https: set PORTAL_ISSUER=https://{there.netloc}"
    return f"it redirects to {location}: let the proxy hand every path to the portal"


def _path_problem(base: str, answer: dict[str, Any]) -> str | None:
    """The portal lives at the root of a host: its pages link to /admin, /login and so on."""
    prefix, path = urlsplit(base).path, str(answer["path"])
    if prefix:
        kept = "keeps" if path.startswith(prefix) else "takes away"
        return (
            f"the address has the path {prefix}, which the proxy {kept}; the portal needs a host"
            " name of its own: set PORTAL_ISSUER without a path"
        )
    if path == "/healthz":
        return None
    if path.endswith("/healthz"):
        added = path.removesuffix("/healthz")
        return (
            f"the proxy adds {added} before each path: write the address after proxy_pass or"
            " reverse_proxy without it"
        )
    return f"the proxy changes /healthz into {path}: let it hand on paths as they are"


def _proxy_problems(settings: Settings, base: str, answer: dict[str, Any]) -> Iterator[str]:
    hops, scheme = answer["hops"], urlsplit(base).scheme
    forwarded = answer["forwarded"]
    arrived = [part for part in forwarded.get("X-Forwarded-For", "").split(",") if part.strip()]
    if hops != settings.proxy_hops:
        yield (
            f"the portal that runs has PORTAL_PROXY_HOPS={hops}, this command"
            f" {settings.proxy_hops}: restart it, or run doctor with its environment"
        )
    yield from _hop_problems(hops, len(arrived), forwarded, needed=answer["scheme"] != scheme)
    if hops and answer["scheme"] != scheme:
        yield _scheme_problem(scheme, forwarded.get("X-Forwarded-Proto"))
    if answer["host"] != urlsplit(base).netloc:
        yield (
            f"the portal sees the host {answer['host']} instead of {urlsplit(base).netloc}: the"
            f" proxy rewrites the Host header; add {HOST_LINE}"
        )
    elif hops:
        yield from _forging_problems(settings, base, few=len(arrived) < hops)


def _hop_problems(
    hops: int, arrived: int, forwarded: dict[str, str], needed: bool
) -> Iterator[str]:
    proxies = f"{arrived} hop{'' if arrived == 1 else 's'}"
    if hops == arrived == 0:
        if needed:
            instead = (
                " (only Forwarded, which Portal does not read)" if "Forwarded" in forwarded else ""
            )
            yield (
                f"the proxy does not send X-Forwarded-Proto{instead}: people would get http://"
                f" where they use https://; add {PROTO_LINE} {FOR_LINE} and set PORTAL_PROXY_HOPS=1"
            )
    elif hops == 0:
        yield (
            "PORTAL_PROXY_HOPS is 0 but a proxy adds X-Forwarded-For: everybody seems to have the"
            f" proxy's address; set it to {arrived}"
        )
    elif arrived == 0:
        yield (
            f"PORTAL_PROXY_HOPS is {hops} but no X-Forwarded-For arrives: a visitor can forge"
            f" addresses; add {FOR_LINE} or, without a proxy, set it to 0"
        )
    elif arrived < hops:
        yield (
            f"PORTAL_PROXY_HOPS is {hops} but only {proxies} arrive{'s' if arrived == 1 else ''}:"
            f" a visitor can forge addresses; set it to {arrived}"
        )
    elif arrived > hops:
        yield (
            f"PORTAL_PROXY_HOPS is {hops} but {proxies} arrive: everybody seems to have the"
            f" address of a proxy; set it to {arrived}"
        )


def _scheme_problem(scheme: str, sent: str | None) -> str:
    if sent is None:
        return (
            "the proxy does not send X-Forwarded-Proto: people would get http:// where they use"
            f" {scheme}://; add {PROTO_LINE}"
        )
    return (
        f"the proxy sends X-Forwarded-Proto: {sent}, but people use {scheme}://; where another"
        " proxy ends TLS before it, hand its word on:"
        " proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;"
    )


def _forging_problems(settings: Settings, base: str, few: bool) -> Iterator[str]:
    """Try what a visitor may try; `few` hops have been named as a problem already."""
    forged = _ask(settings, base, X_Forwarded_For=FORGED_CLIENT, X_Forwarded_Host=FORGED_HOST)
    if forged is None:
        return
    if forged["client"] == FORGED_CLIENT and not few:
        yield f"the proxy believes a visitor's X-Forwarded-For: add {FOR_LINE}"
    if forged["host"] == FORGED_HOST:
        yield f"the proxy hands on a visitor's X-Forwarded-Host: add {FORWARDED_HOST_LINE}"


def _clock(reply: Reply) -> Iterator[Finding]:
    try:
        ahead = round(parsedate_to_datetime(reply.headers["Date"]).timestamp()) - now()
    except (TypeError, ValueError):
        return
    if abs(ahead) > CLOCK_SECONDS:
        yield bad(
            "clock",
            f"the server at the public address is {ahead} seconds ahead of this"
            " machine: switch on time synchronisation (NTP) on both",
        )


def _as_seen(answer: dict[str, Any]) -> str:
    where = f"{answer['scheme']}://{answer['host']} from {answer['client']}"
    hops = answer["hops"]
    if not hops:
        return f"none is in between; the portal sees {where}"
    return f"{hops} {'is' if hops == 1 else 'are'} believed; the portal sees {where}"
