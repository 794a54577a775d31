"""`keys list`, `rotate` and `retire`."""

import pytest

from portal.models import SigningKey
from portal.models.signing_key import EC, RSA


def by_state(flask, kind: str) -> dict[str, str]:
    """The keys of a kind: state to key ID."""
    return {row["state"]: row["kid"] for row in flask("keys", "list", "--json").json
            if row["kind"] == kind}  # fmt: skip


def test_list_shows_no_private_part(flask):
    answer = flask("keys", "list", "--json")
    assert {(row["kind"], row["state"]) for row in answer.json} == {
        ("ec", "signs"),
        ("rsa", "signs"),
    }
    assert set(answer.json[0]) == {
        "kid", "kind", "algorithms", "state", "created_at", "active_at", "ends_at",
    }  # fmt: skip
    text = flask("keys", "list").out
    for row in SigningKey.select():
        assert row.kid in text
        assert row.private_jwk not in text + answer.out


def test_rotate_announces(flask):
    old = by_state(flask, "ec")["signs"]
    (made,) = flask("keys", "rotate", "ec", "--json").json
    assert made["state"] == "announced"
    assert by_state(flask, "ec") == {"signs": old, "announced": made["kid"]}
    assert set(by_state(flask, "rsa")) == {"signs"}


def test_rotate_now_signs_at_once(flask, client):
    old = by_state(flask, "rsa")["signs"]
    made = flask("keys", "rotate", "all", "--now", "--json").json
    assert [row["kind"] for row in made] == ["ec", "rsa"]
    assert by_state(flask, "rsa") == {"signs": made[1]["kid"], "kept": old}
    assert len(client.get("/oauth/jwks").get_json()["keys"]) == 4


def test_rotate_says_when_and_what_next(flask):
    assert "signs from 20" in flask("keys", "rotate", "rsa").out
    assert "retire the one that leaked" in flask("keys", "rotate", "rsa", "--now").out


def test_retire_refuses_the_only_signing_key(flask):
    kid = by_state(flask, "ec")["signs"]
    assert "keys rotate ec --now" in flask("keys", "retire", kid).complaint
    flask("keys", "rotate", "ec")
    assert "only EC key" in flask("keys", "retire", kid).complaint
    flask("keys", "rotate", "ec", "--now")
    assert flask("keys", "retire", kid, "--json").json["state"] == "ended"
    assert flask("keys", "retire", kid).out == f"{kid} is retired.\n"


@pytest.mark.parametrize(
    "arguments",
    [("rotate",), ("rotate", "dsa"), ("retire",), ("retire", "none"), ("retire", "a\0b"), ("x",)],
)
def test_bad_input_is_one_line(flask, arguments):
    assert flask("keys", *arguments).complaint
    assert SigningKey.select().where(SigningKey.kind.in_([EC, RSA])).count() == 2
