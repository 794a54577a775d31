"""Write a value so that a file of a certain kind reads exactly that value back.

Each environment does so for every `{{ value }}` of its templates by itself; what a format cannot
say (a line break in an ini file) becomes U+FFFD, which nothing takes for anything else.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parents[2] / "templates" / "cards"


class Verbatim(str):
    """Text that goes into the file as it is."""


def comment(text: str) -> Verbatim:
    """Text for a comment, on its line; the template ends the line with something else."""
    # A backslash at the end of a line would draw Apache's next line into the comment.
    return Verbatim("".join(c if c.isprintable() and c != "\\" else " " for c in text))


def _shell(value: str) -> str:
    return quote(value)


def _double_quoted(escape: Callable[[str], str]) -> Callable[[str], str]:
    """Double quotes as JSON has them, with an escape of the language's own for odd characters."""

    def write(value: str) -> str:
        text = json.dumps(value, ensure_ascii=False)
        return "".join(c if c.isprintable() else escape(c) for c in text)

    return write


def _eight_digits(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _surrogates(character: str) -> str:
    return json.dumps(character)[1:-1]


def _ruby(value: str) -> str:
    """Single quotes: nothing inside is run, `#{…}` stays text."""
    return "'" + _kept(value, r"[^\x20-\x7e]").replace("\\", "\\\\").replace("'", "\\'") + "'"


def _ini(value: str) -> str:
    """As it is, or in backquotes, which Grafana's reader takes as they stand.

    Braces could name a variable: Grafana reads `${…}` and `$__env{…}` anywhere.
    """
    value = _kept(value, r"[^\x20-\x7e]|[`{}]")
    return value if re.fullmatch(r"[\w:/.@%+=?&~, -]*", value, re.ASCII) else f"`{value}`"


def _apache(value: str) -> str:
    """A quoted argument; braces could name a variable, which Apache reads inside quotes, too."""
    value = _kept(value, r"[^\x20-\x7e]|[{}]")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _kept(value: str, but: str) -> str:
    return re.sub(but, "�", value)


FORMATS: dict[str, Callable[[str], str]] = {
    "shell": _shell,
    "python": _double_quoted(_eight_digits),
    "yaml": _double_quoted(_eight_digits),
    "toml": _double_quoted(_eight_digits),
    "json": _double_quoted(_surrogates),
    "javascript": _double_quoted(_surrogates),
    "ruby": _ruby,
    "ini": _ini,
    "apache": _apache,
}


@cache
def environment(name: str) -> Environment:
    """Jinja for one format: every value comes out written in it, lists in brackets."""
    write = FORMATS[name]

    def finalize(value: Any) -> str:
        if isinstance(value, Verbatim):
            return value
        if isinstance(value, list):
            return "[" + ", ".join(write(item) for item in value) + "]"
        return write(str(value))

    made = Environment(
        loader=FileSystemLoader(FOLDER),
        # HTML's escapes would be wrong here; the page escapes the whole text.
        autoescape=False,  # noqa: S701
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["comment"] = comment
    return made
