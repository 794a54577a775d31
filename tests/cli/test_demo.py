"""`demo`: what `make run` starts with."""

import base64

from portal.credentials import hash_secret
from portal.models import Application, OneTimeLink, User


def secrets_of(client_id: str) -> list[bytes]:
    return [bytes(s.hash) for s in Application.with_client_id(client_id).live_secrets]


def test_the_demo_application_gets_a_token_with_what_is_shown(flask, client):
    made = flask("demo", "--json").json
    assert made["client_id"] == "demo"
    assert made["curl"].endswith("http://localhost:8000/oauth/token")
    assert f"-u demo:{made['client_secret']} " in made["curl"]
    basic = base64.b64encode(f"demo:{made['client_secret']}".encode()).decode()
    answer = client.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "scope": "reports:read"},
        headers={"Authorization": f"Basic {basic}"},
    )
    assert answer.status_code == 200
    assert answer.json["scope"] == "reports:read"


def test_each_run_has_a_secret_of_its_own(flask):
    first = flask("demo", "--json").json["client_secret"]
    second = flask("demo", "--json").json["client_secret"]
    assert first != second
    assert secrets_of("demo") == [hash_secret(second)]
    assert Application.select().count() == 2


def test_what_became_of_the_demo_application_is_put_right(flask):
    flask("demo")
    row = Application.with_client_id("demo")
    row.change(scopes=[], resource_server=False)
    row.disable()
    flask("demo")
    row = Application.with_client_id("demo")
    assert (row.scopes, row.is_enabled) == (["reports:read"], True)


def test_the_link_is_for_the_first_administrator_only(flask):
    link = flask("demo", "--json").json["setup_link"]
    assert OneTimeLink.find(link.removeprefix("http://localhost:8000/setup/"))
    User.register("alice", "alice@example.org", is_admin=True)
    assert flask("demo", "--json").json["setup_link"] is None
    assert "first admin" not in flask("demo").out


def test_nobody_can_sign_in_as_the_owner_of_the_demo_data(flask):
    flask("demo")
    owner = User.named("demo")
    assert (owner.is_admin, owner.password_hash) == (False, None)
