"""Metadata: what client libraries read first."""

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc9207 import AuthorizationServerMetadata as IssuerMetadata

PATH = "/.well-known/oauth-authorization-server"


def test_the_metadata_is_valid(client):
    data = client.get(PATH).get_json()

    metadata = AuthorizationServerMetadata(data)
    metadata.issuer = "https://portal.example.org"  # the library insists on https
    for name in data:
        if name.endswith("_endpoint"):
            metadata[name] = data[name].replace("http://localhost:8000", metadata["issuer"])
    metadata["issuer"] = "https://portal.example.org"
    metadata.validate(metadata_classes=[IssuerMetadata])
    assert data["code_challenge_methods_supported"] == ["S256"]
    assert data["authorization_response_iss_parameter_supported"] is True
    assert "implicit" not in data["grant_types_supported"]
    assert set(data["scopes_supported"]) >= {"openid", "profile", "email", "offline_access"}


def test_every_advertised_endpoint_is_there(client):
    data = client.get(PATH).get_json()
    for name, address in data.items():
        if name.endswith("_endpoint"):
            path = address.removeprefix("http://localhost:8000")
            assert client.post(path, data={}).status_code in (303, 400, 401), name


def test_addresses_come_from_the_issuer_setting(client):
    headers = {"Host": "evil.example.org", "X-Forwarded-Host": "evil.example.org"}
    text = client.get(PATH, headers=headers).get_data(as_text=True)
    assert "evil" not in text


def test_scripts_of_other_origins_may_read_it_and_get_tokens(client):
    assert client.get(PATH).headers["Access-Control-Allow-Origin"] == "*"
    preflight = client.options("/oauth/token", headers={"Origin": "https://spa.example.org"})
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    for path in ("/oauth/authorize", "/oauth/introspect", "/login"):
        assert "Access-Control-Allow-Origin" not in client.get(path).headers


def test_no_cookie_is_set_for_machines(client):
    assert "Set-Cookie" not in client.get(PATH).headers
    assert "Set-Cookie" not in client.post("/oauth/token", data={"x": "y"}).headers
