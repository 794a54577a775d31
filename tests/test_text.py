"""How names read to people."""

import pytest

from portal.text import initials


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Acme Reports", "AR"),
        ("Room Booking CLI", "RC"),
        ("wiki", "WI"),
        ("Invoice Bot (2)", "I2"),
        ("Nightly <i>", "NI"),
        ("Élan", "ÉL"),
        ("R & D", "RD"),
        ("x", "X"),
        ("…", "?"),
        ("", "?"),
    ],
)
def test_an_avatar_has_letters_and_no_brackets(name, letters):
    assert initials(name) == letters
