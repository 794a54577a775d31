"""`application …`: token format, ID token algorithm, account numbers, resources, back channel."""

import json

import pytest
import yaml

from portal.models import Application

OPTIONS = (
    *("--token-format", "jwt"),
    *("--id-token-alg", "ES256"),
    *("--subject-type", "pairwise"),
    *("--resource", "https://api.example.org"),
    *("--resource", "https://files.example.org"),
    *("--backchannel-logout-uri", "https://app.example.org/out"),
)
SETTINGS = {
    "token_format": "jwt",
    "id_token_alg": "ES256",
    "subject_type": "pairwise",
    "resources": ["https://api.example.org", "https://files.example.org"],
    "backchannel_logout_uri": "https://app.example.org/out",
}
DEFAULTS = {
    "token_format": "opaque",
    "id_token_alg": "RS256",
    "subject_type": "public",
    "resources": [],
    "backchannel_logout_uri": "",
}


@pytest.fixture
def create(flask, alice):
    def run(*options: str):
        return flask(
            "application", "create", "--name", "Wiki", "--owner", "alice",
            "--grant", "authorization_code", "--redirect-uri", "https://app.example.org/cb",
            "--scope", "openid", *options, "--json",
        )  # fmt: skip

    return run


def chosen(row: dict) -> dict:
    return {name: row[name] for name in SETTINGS}


def test_create_with_and_without(flask, create):
    assert chosen(create().json) == DEFAULTS
    made = create(*OPTIONS).json
    assert chosen(made) == SETTINGS
    assert chosen(flask("application", "show", made["client_id"], "--json").json) == SETTINGS
    text = flask("application", "show", made["client_id"]).out
    for words in ("ES256", "pairwise", "https://files.example.org", "https://app.example.org/out"):
        assert words in text


def test_update_changes_and_empties(flask, create):
    client_id = create().json["client_id"]
    assert chosen(flask("application", "update", client_id, *OPTIONS, "--json").json) == SETTINGS
    changed = flask(
        "application", "update", client_id, "--resource", "", "--backchannel-logout-uri", "",
        "--json",
    ).json  # fmt: skip
    assert chosen(changed) == {**SETTINGS, "resources": [], "backchannel_logout_uri": ""}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--id-token-alg", "none"), "none"),
        (("--subject-type", "other"), "other"),
        (("--resource", "api"), "Write the whole address"),
        (("--resource", "https://a.example.org https://b.example.org"), "Remove the spaces"),
        (("--backchannel-logout-uri", "http://app.example.org/"), "Start it with https://"),
        (
            ("--subject-type", "pairwise", "--redirect-uri", "https://b.example.org/"),
            "on one host",
        ),
    ],
)
def test_bad_input_is_one_line(create, options, words):
    assert words in create(*options).complaint
    assert Application.select().count() == 0


def test_an_address_on_this_computer_is_a_warning(create):
    answer = create("--backchannel-logout-uri", "http://localhost:9000/out")
    assert answer.code == 0
    assert "PORTAL_PRIVATE_LOGOUT_URIS=1" in answer.err


def test_export_and_import_carry_them(flask, create, tmp_path):
    client_id = create(*OPTIONS).json["client_id"]
    text = flask("application", "export", client_id).out
    (entry,) = yaml.safe_load(text)["applications"]
    assert chosen(entry) == SETTINGS
    Application.get().remove()
    file = tmp_path / "applications.yaml"
    file.write_text(text)
    assert flask("application", "import", str(file)).code == 0
    assert chosen(flask("application", "show", client_id, "--json").json) == SETTINGS
    again = flask("application", "import", str(file), "--json").json
    assert [row["action"] for row in again["applications"]] == ["unchanged"]


@pytest.mark.parametrize(
    "change", [{"id_token_alg": "none"}, {"resources": "https://a.example.org"}, {"resources": [1]}]
)
def test_an_import_keeps_the_rules(flask, create, tmp_path, change):
    client_id = create().json["client_id"]
    file = tmp_path / "applications.json"
    file.write_text(json.dumps([{"client_id": client_id, **change}]))
    assert flask("application", "import", str(file)).complaint
