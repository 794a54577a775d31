"""`application export` and `import`: there and back, all or nothing."""

import json

import pytest
import yaml

from portal.credentials import hash_secret
from portal.models import Application
from tests import factories

ENTRY = {
    "client_id": "wiki",
    "name": "Wiki",
    "owner": "alice",
    "grants": ["authorization_code", "device_code"],
    "redirect_uris": ["https://wiki.example.org/cb"],
    "scopes": ["openid"],
}


@pytest.fixture(autouse=True)
def owner(alice):
    return alice


@pytest.fixture
def import_(flask):
    def run(*entries, text: str | None = None):
        document = text if text is not None else json.dumps({"applications": entries})
        return flask("application", "import", "-", "--json", stdin=document)

    return run


def entry(**changes) -> dict:
    return {**ENTRY, **changes}


def test_what_was_exported_imports_elsewhere_with_the_same_ids(flask, import_, owner):
    for name in ("Wiki", "Agenda"):
        factories.make_application(owner=owner, name=name, trusted=True, trust_reason="Ours: ü")
    row, _ = factories.make_application(owner=owner, name="Off")
    row.disable()
    yaml_text = flask("application", "export").out
    json_text = flask("application", "export", "--json").out
    assert yaml.safe_load(yaml_text) == json.loads(json_text)
    Application.get(Application.name == "Wiki").remove()
    row.remove()
    actions = [r["action"] for r in import_(text=yaml_text).json["applications"]]
    assert sorted(actions) == ["created", "created", "unchanged"]
    assert flask("application", "export").out.count("client_id") == 3
    assert not Application.get(Application.name == "Off").is_enabled


def test_an_import_is_idempotent(import_):
    assert import_(ENTRY).json["applications"][0]["action"] == "created"
    before = Application.get()
    again = import_(ENTRY).json["applications"][0]
    assert (again["action"], again["client_secret"]) == ("unchanged", None)
    assert Application.get().version == before.version


def test_a_new_confidential_application_gets_a_secret_that_is_shown_once(import_):
    secret = import_(ENTRY).json["applications"][0]["client_secret"]
    assert bytes(Application.get().live_secrets[0].hash) == hash_secret(secret)


def test_people_read_what_happened(flask, tmp_path):
    path = tmp_path / "applications.yaml"
    path.write_text(yaml.safe_dump({"applications": [ENTRY]}))
    out = flask("application", "import", str(path)).out
    assert "wiki  created" in out
    assert "pcs_" in out


def test_keys_that_are_left_out_stay_as_they_are(import_):
    import_(entry(scopes=["openid", "email"]))
    result = import_({"client_id": "wiki", "name": "New", "enabled": False}).json
    assert result["applications"][0]["action"] == "updated"
    row = Application.get()
    assert (row.name, row.scopes, row.is_enabled) == ("New", ["openid", "email"], False)


def test_a_new_owner_is_a_change(import_, bob):
    import_(ENTRY)
    assert import_(entry(owner="bob")).json["applications"][0]["action"] == "updated"
    assert Application.get().owner.id == bob.id


def test_a_public_application_that_becomes_confidential_gets_a_secret(import_):
    assert import_(entry(confidential=False)).json["applications"][0]["client_secret"] is None
    assert import_(entry(confidential=True)).json["applications"][0]["client_secret"]


BAD = {
    "an owner who is nobody": (entry(owner="nobody"), "nobody called 'nobody'"),
    "no owner": ({k: v for k, v in ENTRY.items() if k != "owner"}, "owner"),
    "no grants": ({k: v for k, v in ENTRY.items() if k != "grants"}, "grant flow"),
    "no client_id": ({k: v for k, v in ENTRY.items() if k != "client_id"}, "client_id"),
    "an odd client_id": (entry(client_id="a b"), "client_id"),
    "a misspelt key": (entry(redirect_uri=[]), "redirect_uris"),
    "a secret": (entry(client_secret="x" * 40), "client_secret"),
    "what the portal counts": (entry(version=7), "version"),
    "text for a list": (entry(scopes="openid"), "scopes must be a list of texts"),
    "numbers in a list": (entry(scopes=[1]), "scopes must be a list of texts"),
    "text for a switch": (entry(trusted="yes"), "trusted must be true or false"),
    "half a character": (entry(name="a\ud800"), "name holds half a character"),
    "half a character in a list": (entry(scopes=["\ud800"]), "scopes holds half a character"),
    "nothing for a text": (entry(name=None), "name must be text"),
    "an unknown grant": (entry(grants=["password"]), "password"),
    "an unknown scope": (entry(scopes=["teleport"]), "teleport"),
    "a redirect URI of no use": (entry(redirect_uris=["https://x.example/#y"]), "#y"),
    "no entry": ("wiki", "keys and values"),
}


@pytest.mark.parametrize(("bad", "says"), BAD.values(), ids=BAD)
def test_one_bad_entry_keeps_all_out(import_, bad, says):
    complaint = import_(entry(client_id="good"), bad).complaint
    assert says in complaint
    assert "Application 2" in complaint
    assert Application.select().count() == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"applications": [', "line 1"),
        ("applications:\n- a: [", "line"),
        ("applications: {}", "list"),
        ("", "list"),
        ("{}", "list"),
        ('{"applications": [], "more": 1}', "list"),
        ("a: &a [*a", "line"),
        ("!!python/object/apply:os.system ['true']", "line 1"),
        ("[" * 100_000, "neither"),
    ],
)
def test_a_file_that_is_none(import_, text, says):
    assert says in import_(text=text).complaint


def test_one_client_id_twice(import_):
    assert "twice" in import_(ENTRY, ENTRY).complaint


def test_a_file_that_is_not_there(flask, tmp_path):
    assert "cannot be read" in flask("application", "import", str(tmp_path / "x.json")).complaint
    assert "cannot be read" in flask("application", "import", str(tmp_path)).complaint


def test_a_file_that_is_not_text(flask, tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in flask("application", "import", str(tmp_path / "x.yaml")).complaint
