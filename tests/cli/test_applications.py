"""`application …` but for its files."""

import pytest

from portal.credentials import hash_secret
from portal.models import Application, ApplicationSecret, User
from portal.models.application import DEVICE_CODE, REFRESH_TOKEN
from tests import factories

WEB = ("--grant", "authorization_code", "--redirect-uri", "https://wiki.example.org/cb")


@pytest.fixture(autouse=True)
def owner(alice) -> User:
    return alice


def create(flask, *more, name="Wiki", owner="alice"):
    return flask("application", "create", "--name", name, "--owner", owner, *more)


def live_hashes(client_id: str) -> list[bytes]:
    row = Application.with_client_id(client_id)
    return [bytes(secret.hash) for secret in row.live_secrets]


def test_a_new_application_shows_its_secret_once(flask):
    answer = create(flask, *WEB, "--scope", "openid email", "--json").json
    assert {
        "name": "Wiki",
        "owner": "alice",
        "grants": ["authorization_code"],
        "redirect_uris": ["https://wiki.example.org/cb"],
        "scopes": ["openid", "email"],
        "trusted": False,
        "confidential": True,
    }.items() <= answer.items()
    assert live_hashes(answer["client_id"]) == [hash_secret(answer["client_secret"])]
    for later in ("show", "export"):
        shown = flask("application", later, answer["client_id"], "--json").out
        assert answer["client_secret"] not in shown


def test_people_read_the_secret_too(flask):
    out = create(flask, *WEB).out
    row = Application.get()
    assert row.client_id in out
    assert "pcs_" in out


def test_a_public_application_has_no_secret(flask):
    answer = create(flask, *WEB, "--public", "--json").json
    assert (answer["confidential"], answer["client_secret"]) == (False, None)


@pytest.mark.parametrize("name", ["device_code", DEVICE_CODE])
def test_device_code_goes_by_two_names(flask, name):
    grants = create(flask, "--grant", name, "--grant", "refresh_token", "--json").json["grants"]
    assert grants == [DEVICE_CODE, REFRESH_TOKEN]


def test_all_that_an_application_can_be(flask):
    answer = create(
        flask,
        *(*WEB, "--redirect-uri", "https://wiki.example.org/cb2", "--grant", "client_credentials"),
        *("--post-logout-redirect-uri", "https://wiki.example.org/"),
        *("--scope", "openid", "--scope", "email phone", "--trusted", "--trust-reason", "Ours"),
        *("--resource-server", "--token-format", "jwt", "--no-pkce", "--json"),
    ).json
    assert len(answer["redirect_uris"]) == 2
    assert answer["post_logout_redirect_uris"] == ["https://wiki.example.org/"]
    assert answer["scopes"] == ["openid", "email", "phone"]
    assert (answer["trusted"], answer["trust_reason"]) == (True, "Ours")
    assert (answer["resource_server"], answer["require_pkce"]) == (True, False)
    assert answer["token_format"] == "jwt"


BAD = {
    "no grant": ((), "grant flow"),
    "a grant of no kind": (("--grant", "password"), "device_code"),
    "no redirect URI": (("--grant", "authorization_code"), "redirect URI"),
    "refresh alone": (("--grant", "refresh_token"), "grant flow"),
    "refresh for a machine": (
        ("--grant", "client_credentials", "--grant", "refresh_token"),
        "Refresh tokens",
    ),
    "plain http": ((*WEB, "--redirect-uri", "http://wiki.example.org/cb"), "http://wiki"),
    "a fragment": ((*WEB, "--redirect-uri", "https://wiki.example.org/cb#x"), "#x"),
    "a script": ((*WEB, "--redirect-uri", "javascript:alert(1)"), "javascript:"),
    "two in one": ((*WEB, "--redirect-uri", "https://a.example/ https://b.example/"), "spaces"),
    "a scope nobody knows": ((*WEB, "--scope", "openid teleport"), "teleport"),
    "a public machine": (("--grant", "client_credentials", "--public"), "secret"),
    "public without PKCE": ((*WEB, "--public", "--no-pkce"), "PKCE"),
    "a public resource server": ((*WEB, "--public", "--resource-server"), "confidential"),
    "trusted on a device": (
        (*WEB, "--redirect-uri", "http://127.0.0.1/cb", "--public", "--trusted"),
        "cannot be trusted",
    ),
    "an app's scheme with a secret": ((*WEB, "--redirect-uri", "com.example.app:/cb"), "--public"),
    "a token format of no kind": ((*WEB, "--token-format", "xml"), "--token-format"),
}


@pytest.mark.parametrize(("options", "says"), BAD.values(), ids=BAD)
def test_an_application_that_cannot_be(flask, options, says):
    assert says in create(flask, *options).complaint
    assert Application.select().count() == 0


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\0b", "Wiki\u202egnp"])
def test_a_name_that_people_cannot_read(flask, name):
    assert "name" in create(flask, *WEB, name=name).complaint


def test_an_owner_who_is_nobody(flask):
    assert "user list" in create(flask, *WEB, owner="nobody").complaint


def test_an_unwise_choice_is_made_with_a_warning(flask):
    answer = create(flask, *WEB, "--no-pkce")
    assert answer.code == 0
    assert answer.err.startswith("Warning: ")


def test_the_list_is_in_order_of_names(flask, owner):
    for name in ("wiki", "Agenda"):
        factories.make_application(owner=owner, name=name)
    rows = flask("application", "list", "--json").json
    assert [row["name"] for row in rows] == ["Agenda", "wiki"]
    assert rows[0]["client_id"] in flask("application", "list").out


def test_show_knows_secrets_by_their_beginning(flask, owner):
    row, secret = factories.make_application(owner=owner)
    shown = flask("application", "show", row.client_id, "--json").json
    assert [s["prefix"] for s in shown["secrets"]] == [secret[:8]]
    assert secret[:8] in flask("application", "show", row.client_id).out


def test_update_changes_what_is_named_and_nothing_else(flask, owner, bob):
    row, _ = factories.make_application(owner=owner)
    answer = flask(
        *("application", "update", row.client_id, "--name", "New", "--owner", "bob"),
        *("--scope", "openid", "--json"),
    ).json
    assert (answer["name"], answer["owner"], answer["scopes"]) == ("New", "bob", ["openid"])
    assert answer["redirect_uris"] == [factories.REDIRECT_URI]
    assert answer["client_secret"] is None
    assert Application.get_by_id(row.id).version > row.version


def test_an_empty_value_empties_a_list(flask, owner):
    row, _ = factories.make_application(
        owner=owner, post_logout_redirect_uris=["https://app.example.org/"]
    )
    option = ("--post-logout-redirect-uri", "", "--json")
    answer = flask("application", "update", row.client_id, *option).json
    assert answer["post_logout_redirect_uris"] == []


def test_update_holds_the_whole_to_the_rules(flask, owner):
    row, _ = factories.make_application(owner=owner)
    answer = flask("application", "update", row.client_id, "--redirect-uri", "")
    assert "redirect URI" in answer.complaint
    assert Application.get_by_id(row.id).redirect_uris == [factories.REDIRECT_URI]


def test_update_without_a_change_says_so(flask, owner):
    row, _ = factories.make_application(owner=owner)
    assert "--help" in flask("application", "update", row.client_id).complaint


def test_a_secret_comes_and_goes_with_confidentiality(flask, owner):
    row, _ = factories.make_application(owner=owner)
    answer = flask("application", "update", row.client_id, "--public", "--json").json
    assert answer["client_secret"] is None
    assert live_hashes(row.client_id) == []
    answer = flask("application", "update", row.client_id, "--confidential", "--json").json
    assert live_hashes(row.client_id) == [hash_secret(answer["client_secret"])]


def test_a_rotated_secret_ends_the_old_one_at_once_or_later(flask, owner):
    row, first = factories.make_application(owner=owner)
    kept = flask("application", "rotate-secret", row.client_id, "--keep-days", "7", "--json").json
    assert set(live_hashes(row.client_id)) == {
        hash_secret(first),
        hash_secret(kept["client_secret"]),
    }
    last = flask("application", "rotate-secret", row.client_id, "--json").json
    assert live_hashes(row.client_id) == [hash_secret(last["client_secret"])]


def test_a_public_application_has_nothing_to_rotate(flask, owner):
    row, _ = factories.make_application(owner=owner, confidential=False)
    assert "public" in flask("application", "rotate-secret", row.client_id).complaint


def test_disable_enable_and_delete(flask, owner):
    row, _ = factories.make_application(owner=owner)
    assert flask("application", "disable", row.client_id, "--json").json["enabled"] is False
    assert flask("application", "enable", row.client_id, "--json").json["enabled"] is True
    assert flask("application", "delete", row.client_id, "--json").json["deleted"] is True
    assert Application.select().count() == ApplicationSecret.select().count() == 0


@pytest.mark.parametrize(
    "command", ["show", "update", "rotate-secret", "disable", "enable", "delete", "export"]
)
@pytest.mark.parametrize("client_id", ["nobody", "", "\0", "' OR 1=1 --"])
def test_an_id_of_no_application(flask, command, client_id):
    assert "application list" in flask("application", command, client_id).complaint


def test_a_dry_run_says_what_would_end_and_changes_nothing(flask):
    made = create(flask, *WEB, "--scope", "openid email", "--json").json
    update = ("application", "update", made["client_id"])
    change = ("--redirect-uri", "https://new.example.org/cb", "--scope", "openid", "--dry-run")
    said = flask(*update, *change)
    assert "https://wiki.example.org/cb served no sign-in in the last 30 days." in said.out
    assert "Nobody loses it." in said.out
    assert "Nothing was changed" in said.err
    (address, scope) = flask(*update, *change, "--json").json["effects"]
    assert address.startswith("https://wiki.example.org/cb served")
    assert scope.startswith("email was given at no sign-in")
    assert Application.with_client_id(made["client_id"]).scopes == ["openid", "email"]
    assert "takes nothing away" in flask(*update, "--name", "Wiki 2", "--dry-run").out
    assert Application.with_client_id(made["client_id"]).name == "Wiki"
