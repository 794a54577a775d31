"""What people say about themselves: the standard claims, and the rule of each (OIDC Core §5.1)."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from portal.clock import now
from portal.letters import has_control_characters

LONGEST_LINE = 200
LONGEST_URL = 500
LONGEST_STREET = 500
#: The parts of an address; `formatted` is made of them.
ADDRESS = ("street_address", "locality", "region", "postal_code", "country")
LOCALE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,4}", re.ASCII | re.IGNORECASE)
PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
#: What people put between the digits of a telephone number.
PHONE_FILLING = re.compile(r"[ \u00a0\u202f().\-/\u2010-\u2013]")
BIRTHDATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})-([0-9]{2}))?")
#: A year that stands for "not said" needs the 29th of February.
ANY_LEAP_YEAR = 2000


class ProfileProblem(ValueError):
    """A claim that cannot be kept; the text is one sentence that says what to change."""


def cleaned(claim: str, text: str) -> str:
    """What to keep of what a person typed, "" for nothing; ProfileProblem when it cannot be."""
    text = unicodedata.normalize("NFC", text).strip()
    return RULES[claim](text) if text else ""


def claims_of(values: Mapping[str, str]) -> dict[str, Any]:
    """The claims that cleaned values make: nothing empty, the address in one object."""
    claims: dict[str, Any] = {
        claim: values[claim] for claim in RULES if claim not in ADDRESS and values.get(claim)
    }
    address = {part: values[part] for part in ADDRESS if values.get(part)}
    if address:
        claims["address"] = {**address, "formatted": _formatted(address)}
    return claims


def values_of(claims: Mapping[str, Any]) -> dict[str, str]:
    """The text of each field of a form for these claims."""
    flat = {**claims, **claims.get("address", {})}
    return {claim: str(flat.get(claim, "")) for claim in RULES}


@cache
def time_zones() -> tuple[str, ...]:
    """The names of the world's time zones, as this machine knows them."""
    return tuple(sorted(available_timezones()))


def _formatted(address: Mapping[str, str]) -> str:
    """The address as on an envelope, a line a part."""
    return "\n".join(address[part] for part in ADDRESS if part in address)


def _line(what: str, longest: int = LONGEST_LINE) -> Callable[[str], str]:
    def rule(text: str) -> str:
        if len(text) > longest:
            raise ProfileProblem(f"Shorten the {what} to at most {longest} characters.")
        if has_control_characters(text):
            raise ProfileProblem(
                f"Leave tabs, line breaks and other control characters out of the {what}."
            )
        return text

    return rule


def _street(text: str) -> str:
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    check = _line("street address", LONGEST_STREET)
    check(" ".join(lines))
    return "\n".join(line for line in lines if line)


def _url(what: str) -> Callable[[str], str]:
    def rule(text: str) -> str:
        if len(text) > LONGEST_URL:
            raise ProfileProblem(f"Use an address of at most {LONGEST_URL} characters for {what}.")
        if not _is_web_address(text):
            raise ProfileProblem(
                f"Enter a web address that starts with https:// for {what},"
                " such as https://example.org/sam."
            )
        return text

    return rule


def _is_web_address(text: str) -> bool:
    # What a browser reads otherwise than this portal does has no place in an address.
    if re.search(r"[\s\\<>\"`{}|^]", text) or has_control_characters(text):
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc


def _birthdate(text: str) -> str:
    """A day, a year, or (with the year 0000) a day without its year."""
    found = BIRTHDATE.fullmatch(text)
    if found is None:
        raise ProfileProblem(
            "Enter the date of birth as year-month-day, such as 1990-04-23, or only the year."
        )
    year, month, day = (int(part) if part else None for part in found.groups())
    if month is None and not year:
        raise ProfileProblem("Enter a year of birth such as 1990.")
    try:
        born = date(year or ANY_LEAP_YEAR, month or 1, day or 1)
    except ValueError:
        raise ProfileProblem(f"There is no day {text}: check the date of birth.") from None
    if year and born > datetime.fromtimestamp(now(), UTC).date():
        raise ProfileProblem("The date of birth must not be in the future.")
    return text


def _zone(text: str) -> str:
    typed = text.replace(" ", "_").casefold()
    for zone in time_zones():
        if zone.casefold() == typed:
            return zone
    raise ProfileProblem("Choose a time zone from the list, such as Europe/London.")


def _locale(text: str) -> str:
    tag = text.replace("_", "-")
    if not LOCALE.fullmatch(tag):
        raise ProfileProblem("Enter the language as a code such as en-GB or cy.")
    language, *rest = tag.split("-")
    return "-".join([language.lower(), *(_subtag(part) for part in rest)])


def _subtag(part: str) -> str:
    """As RFC 5646 §2.1.1 writes it: Latn, GB, valencia."""
    return {2: part.upper(), 4: part.title()}.get(len(part), part.lower())


def _phone(text: str) -> str:
    number = PHONE_FILLING.sub("", text)
    if number.startswith("00"):
        number = "+" + number[2:]
    if not PHONE.fullmatch(number):
        raise ProfileProblem(
            "Enter the telephone number with its country code, such as +44 20 7946 0018."
        )
    return number


RULES: dict[str, Callable[[str], str]] = {
    "given_name": _line("given name"),
    "family_name": _line("family name"),
    "middle_name": _line("middle name"),
    "nickname": _line("nickname"),
    "profile": _url("the profile page"),
    "picture": _url("the picture"),
    "website": _url("the website"),
    "gender": _line("gender"),
    "birthdate": _birthdate,
    "zoneinfo": _zone,
    "locale": _locale,
    "phone_number": _phone,
    "street_address": _street,
    "locality": _line("town or city"),
    "region": _line("county or region"),
    "postal_code": _line("postcode", 40),
    "country": _line("country"),
}
