"""Which letters of a text a person can see, and which only turn what stands around them."""

import unicodedata

#: Characters that turn the text around them: "Wiki<RLO>…" could read as another's name.
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Control and format characters, half ones, unassigned ones, spaces, and marks on other letters.
UNSEEN = frozenset(("Cc", "Cf", "Cs", "Cn", "Zs", "Zl", "Zp", "Mn", "Me"))
#: Letters and signs that are drawn as nothing: Hangul fillers, and Braille without a dot.
BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
#: Letters of somebody else's words that an error in one line repeats.
MOST_REPEATED = 200


def has_control_characters(text: str) -> bool:
    """Whether there is anything in one line of text that is no letter, sign or space."""
    return any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI_CONTROLS for c in text
    )


def is_whole(text: str) -> bool:
    """Whether there is no half of a character in it, which neither UTF-8 nor a database takes."""
    return not any(unicodedata.category(c) == "Cs" for c in text)


def can_be_seen(text: str) -> bool:
    """Whether a reader finds anything where the text stands."""
    return any(c not in BLANK and unicodedata.category(c) not in UNSEEN for c in text)


def printable(text: str, most: int | None = None) -> str:
    """The text with � for what cannot be seen but a space, cut with … to `most` characters."""
    clean = "".join(c if c.isprintable() else "�" for c in text)
    return clean if most is None or len(clean) <= most else f"{clean[: most - 1]}…"
