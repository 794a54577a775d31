"""How times, numbers and names read to people; the filters of the templates."""

from datetime import UTC, datetime

from flask import Flask

from portal.clock import now
from portal.letters import printable

MINUTE, HOUR, DAY = 60, 3600, 86400


def ago(moment: int | None) -> str:
    """`4 minutes ago`, `Yesterday`, `2 November 2026`, `Never`."""
    if not moment:
        return "Never"
    passed = now() - moment
    if passed < MINUTE:
        return "Just now"
    if passed < HOUR:
        return plural(passed // MINUTE, "minute") + " ago"
    if passed < DAY:
        return plural(passed // HOUR, "hour") + " ago"
    if passed < 2 * DAY:
        return "Yesterday"
    if passed < 30 * DAY:
        return f"{passed // DAY} days ago"
    return date(moment)


def initials(name: str) -> str:
    """Two letters for an avatar: `AR` for `Acme Reports`, `I2` for `Invoice Bot (2)`."""
    letters = ("".join(c for c in word if c.isalnum()) for word in name.split())
    words = [word for word in letters if word] or ["?"]
    return (words[0][0] + (words[-1][0] if len(words) > 1 else words[0][1:2])).upper()


def until(moment: int) -> str:
    """`in 6 days`, `in 3 hours`."""
    left = max(0, moment - now())
    if left >= DAY:
        return "in " + plural(round(left / DAY), "day")
    if left >= HOUR:
        return "in " + plural(round(left / HOUR), "hour")
    return "in " + plural(max(1, left // MINUTE), "minute")


def date(moment: int) -> str:
    """`2 November 2026` (UTC)."""
    day = datetime.fromtimestamp(moment, UTC)
    return f"{day.day} {day:%B %Y}"


def iso(moment: int) -> str:
    """`2026-11-02T10:30:00Z`, for machines."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def lasting(seconds: int) -> str:
    """`30 days`, `15 minutes`."""
    for size, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= size:
            return plural(round(seconds / size), name)
    return plural(seconds, "second")


def plural(count: int, noun: str) -> str:
    """`1 day`, `2 days`, `3 people`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} " + ("people" if noun == "person" else f"{noun}s")


def init_app(app: Flask) -> None:
    for function in (ago, until, date, initials, iso, lasting, plural, printable):
        app.add_template_filter(function)
