"""idpyoidc as a relying application: a library from among the authors of the standard's tests."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptojwt.key_jar import KeyJar
from idpyoidc.client.defaults import DEFAULT_OIDC_SERVICES
from idpyoidc.client.oauth2.stand_alone_client import backchannel_logout
from idpyoidc.client.rp_handler import RPHandler

from tests.libraries.conftest import AFTER, REDIRECT_URI
from tests.receivers import receivers

SERVICES = {
    **DEFAULT_OIDC_SERVICES,
    "end_session": {"class": "idpyoidc.client.oidc.end_session.EndSession"},
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make_handler(registered, algorithm: str = "RS256") -> RPHandler:
    """A relying party for one provider: found by discovery, registered by hand."""
    return RPHandler(
        base_url="http://localhost:9",
        client_configs={
            "portal": {
                "issuer": registered.issuer,
                "client_id": registered.client_id,
                "client_secret": registered.client_secret,
                "client_type": "oidc",
                "redirect_uris": [REDIRECT_URI],
                "post_logout_redirect_uris": [AFTER],
                "response_types_supported": ["code"],
                "scopes_supported": ["openid", "profile", "email"],
                "id_token_signed_response_alg": algorithm,
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "client_authn_methods": ["client_secret_basic", "bearer_header"],
                "services": SERVICES,
                "add_ons": {
                    "pkce": {
                        "function": "idpyoidc.client.oauth2.add_on.pkce.add_support",
                        "kwargs": {"code_challenge_length": 64, "code_challenge_method": "S256"},
                    }
                },
            }
        },
        # Without one it writes keys of its own into the working folder.
        keyjar=KeyJar(),
        httpc_params={"timeout": 10},
    )


def sign_in(handler: RPHandler, person) -> dict:
    """From the link to the claims; on the way the library checks state, iss and the ID token."""
    callback = person.visit(handler.begin("portal"), REDIRECT_URI)
    (issuer,) = handler.issuer2rp
    done = handler.finalize(issuer, dict(parse_qsl(urlsplit(callback).query)))
    assert "error" not in done, done
    return done


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256"])
def test_it_signs_people_in(register, person, algorithm):
    registered = register(id_token_alg=algorithm)
    done = sign_in(make_handler(registered, algorithm), person)
    assert done["id_token"]["sub"] == done["userinfo"]["sub"] == registered.sub
    assert done["id_token"].jws_header["alg"] == algorithm
    assert done["userinfo"]["email_verified"] is True
    assert done["userinfo"]["family_name"] == "Jones"


def test_it_keeps_people_signed_in(register, person):
    handler = make_handler(register())
    done = sign_in(handler, person)
    assert handler.has_active_authentication(done["state"])
    fresh = handler.refresh_access_token(done["state"])
    assert fresh["access_token"] != done["token"]
    assert handler.get_user_info(done["state"], access_token=fresh["access_token"])["name"] == "Bob"


def test_it_signs_people_out_and_hears_of_it(register, person):
    with receivers() as make:
        receiver = make()
        handler = make_handler(register(backchannel_logout_uri=receiver.uri))
        done = sign_in(handler, person)
        address = handler.logout(done["state"], post_logout_redirect_uri=AFTER)["url"]
        assert person.visit(address, AFTER).startswith(f"{AFTER}?state=")
        (token,) = receiver.tokens
    (client,) = handler.issuer2rp.values()
    state = backchannel_logout(client, request_args={"logout_token": token})
    assert state == done["state"], "the library takes the token and finds the sign-in"
