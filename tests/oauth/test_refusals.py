"""Every reason to refuse can be met, and the operator learns which one it was."""

import time
from html import unescape

import pytest
import time_machine

from portal.models import ApplicationSecret, AuthorizationCode, Consent, DeviceCode, Refusal
from portal.oauth.refusals import REASONS
from tests.doors import through_both_doors
from tests.factories import make_scope, post
from tests.flows import DEVICE_GRANT, basic, query

pytestmark = through_both_doors


class Scene:
    """What the stories below need."""

    def __init__(self, rp, other, public, browser):
        self.rp, self.other, self.public, self.browser = rp, other, public, browser

    def code(self, **changes) -> str:
        response = self.rp.authorize(self.browser, **changes)
        if response.status_code == 200:
            response = self.rp.decide(self.browser, response)
        return query(response)["code"]

    def tokens(self) -> dict:
        return self.rp.redeem(self.code()).get_json()

    def device(self) -> str:
        answer = self.rp.post("/oauth/device_authorization", {}).get_json()
        self.user_code = answer["user_code"]
        return answer["device_code"]

    def poll(self, code: str):
        return self.rp.token(DEVICE_GRANT, device_code=code)

    def raw(self, **kwargs):
        return self.rp.http.post("/oauth/token", **kwargs)


def story_of_malformed(s):
    return s.raw(data=b"a=%ff", content_type="application/x-www-form-urlencoded")


def story_of_wrong_content_type(s):
    return s.raw(json={"grant_type": "client_credentials"})


def story_of_parameters_in_url(s):
    return s.raw(query_string={"grant_type": "client_credentials"})


def story_of_repeated_parameter(s):
    return s.raw(
        data=b"grant_type=a&grant_type=b", content_type="application/x-www-form-urlencoded"
    )


def story_of_parameter_missing(s):
    return s.rp.redeem(None)


def story_of_request_object(s):
    return s.rp.authorize(s.browser, request="x.y.z")


def story_of_request_uri(s):
    return s.rp.authorize(s.browser, request_uri="https://app.example.org/r")


def story_of_client_unknown(s):
    s.rp.client_id = "c_nobody"
    return s.rp.token("client_credentials")


def story_of_client_id_missing(s):
    return s.rp.authorize(s.browser, client_id=None)


def story_of_application_disabled(s):
    s.rp.application.disable()
    return s.rp.token("client_credentials")


def story_of_authentication_missing(s):
    return s.raw(data={"grant_type": "client_credentials"})


def story_of_authentication_malformed(s):
    return s.raw(data={"grant_type": "client_credentials"}, headers={"Authorization": "Basic ?"})


def story_of_authentication_method(s):
    return s.raw(data={"grant_type": "client_credentials", "client_assertion": "a.b.c"})


def story_of_two_methods(s):
    headers = basic(s.rp.client_id, s.rp.secret)
    return s.raw(data={"grant_type": "x", "client_secret": "y"}, headers=headers)


def story_of_client_id_differs(s):
    headers = basic(s.rp.client_id, s.rp.secret)
    return s.raw(data={"grant_type": "x", "client_id": "y"}, headers=headers)


def story_of_secret_missing(s):
    s.rp.secret = None
    return s.rp.token("client_credentials")


def story_of_secret_wrong(s):
    s.rp.secret = "pcs_wrong"
    return s.rp.token("client_credentials")


def story_of_secret_retired(s):
    s.rp.application.rotate_secret()
    return s.rp.token("client_credentials")


def story_of_secret_expired(s):
    s.rp.application.rotate_secret(keep_seconds=60)
    with time_machine.travel(time.time() + 60, tick=False):
        return s.rp.token("client_credentials")


def story_of_secret_of_another(s):
    s.rp.secret = s.other.secret
    return s.rp.token("client_credentials")


def story_of_secret_padded(s):
    s.rp.secret += " "
    return s.rp.token("client_credentials")


def story_of_secret_hash(s):
    row = ApplicationSecret.get(ApplicationSecret.application == s.rp.application)
    s.rp.secret = bytes(row.hash).hex()
    return s.rp.token("client_credentials")


def story_of_secret_unexpected(s):
    s.public.secret = "pcs_x"
    return s.public.token("refresh_token", refresh_token="x")


def story_of_redirect_uri_mismatch(s):
    return s.rp.authorize(s.browser, redirect_uri="https://evil.example.org/")


def story_of_redirect_uri_missing(s):
    s.rp.application.change(redirect_uris=["https://a.example.org/", "https://b.example.org/"])
    return s.rp.authorize(s.browser, redirect_uri=None)


def story_of_response_type_unsupported(s):
    return s.rp.authorize(s.browser, response_type="token")


def story_of_response_mode_unsupported(s):
    return s.rp.authorize(s.browser, response_mode="fragment")


def story_of_grant_type_unsupported(s):
    return s.rp.token("password")


def story_of_grant_not_allowed(s):
    return s.public.token("client_credentials")


def story_of_grant_code_off(s):
    s.rp.application.change(grants=["client_credentials"])
    return s.rp.authorize(s.browser)


def story_of_scope_not_allowed(s):
    return s.rp.authorize(s.browser, scope="address")


def story_of_scope_personal(s):
    return s.rp.token("client_credentials", scope="openid")


def story_of_scope_unknown(s):
    return s.rp.authorize(s.browser, scope="admin:all")


def story_of_scope_exceeds(s):
    return s.rp.refresh(s.tokens()["refresh_token"], scope="openid email")


def story_of_access_denied(s):
    return s.rp.decide(s.browser, s.rp.authorize(s.browser), "deny")


def story_of_login_required(s):
    return s.rp.authorize(s.rp.http, prompt="none")


def story_of_consent_required(s):
    return s.rp.authorize(s.browser, prompt="none")


def story_of_prompt_invalid(s):
    return s.rp.authorize(s.browser, prompt="none login")


def story_of_claims_malformed(s):
    return s.rp.authorize(s.browser, claims="[]")


def story_of_parameter_invalid(s):
    return s.rp.authorize(s.browser, max_age="x")


def story_of_acr_unmet(s):
    wish = '{"id_token": {"acr": {"essential": true, "value": "urn:other"}}}'
    return s.rp.authorize(s.browser, claims=wish)


def story_of_hint_invalid(s):
    return s.rp.authorize(s.browser, id_token_hint="nonsense")


def story_of_resource_not_allowed(s):
    return s.rp.authorize(s.browser, resource="https://evil.example.org")


def story_of_pkce_missing(s):
    return s.rp.authorize(s.browser, code_challenge=None, code_challenge_method=None)


def story_of_pkce_method(s):
    return s.rp.authorize(s.browser, code_challenge_method="plain")


def story_of_pkce_malformed(s):
    return s.rp.authorize(s.browser, code_challenge="short")


def story_of_verifier_missing(s):
    return s.rp.redeem(s.code(), code_verifier=None)


def story_of_verifier_wrong(s):
    return s.rp.redeem(s.code(), code_verifier="w" * 43)


def story_of_verifier_unexpected(s):
    s.rp.application.change(require_pkce=False)
    return s.rp.redeem(s.code(code_challenge=None, code_challenge_method=None))


def story_of_code_unknown(s):
    return s.rp.redeem("nonsense")


def story_of_code_foreign(s):
    return s.other.redeem(s.code())


def story_of_code_expired(s):
    code = s.code()
    AuthorizationCode.update(expires_at=1).execute()
    return s.rp.redeem(code)


def story_of_code_reused(s):
    code = s.code()
    s.rp.redeem(code)
    return s.rp.redeem(code)


def story_of_code_withdrawn(s):
    code = s.code()
    row = AuthorizationCode.get()
    Consent.withdraw(row.user_id, row.application_id)
    return s.rp.redeem(code)


def story_of_redirect_uri_differs(s):
    return s.rp.redeem(s.code(), redirect_uri="https://evil.example.org/")


def story_of_refresh_unknown(s):
    return s.rp.refresh("nonsense")


def story_of_refresh_foreign(s):
    return s.other.refresh(s.tokens()["refresh_token"])


def story_of_refresh_ended(s):
    token = s.tokens()["refresh_token"]
    s.rp.post("/oauth/revoke", {"token": token})
    return s.rp.refresh(token)


def story_of_refresh_expired(s):
    token = s.tokens()["refresh_token"]
    with time_machine.travel(time.time() + 31 * 86400, tick=False):
        return s.rp.refresh(token)


def story_of_refresh_reused(s):
    first = s.tokens()["refresh_token"]
    second = s.rp.refresh(first).get_json()["refresh_token"]
    s.rp.refresh(second)
    return s.rp.refresh(first)


def story_of_device_unknown(s):
    return s.poll("nonsense")


def story_of_device_foreign(s):
    return s.other.token(DEVICE_GRANT, device_code=s.device())


def story_of_device_used(s):
    code = s.device()
    s.rp.decide(s.browser, post(s.browser, "/device", {"user_code": s.user_code}))
    s.poll(code)
    return s.poll(code)


def story_of_device_expired(s):
    code = s.device()
    DeviceCode.update(expires_at=1).execute()
    return s.poll(code)


def story_of_device_pending(s):
    return s.poll(s.device())


def story_of_device_slow_down(s):
    code = s.device()
    s.poll(code)
    return s.poll(code)


def story_of_token_foreign(s):
    return s.other.post("/oauth/revoke", {"token": s.tokens()["access_token"]})


@pytest.fixture
def scene(rp, other, public, browser_of, bob) -> Scene:
    return Scene(rp, other, public, browser_of(bob))


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_reason_can_be_met(scene, code):
    reason = REASONS[code]
    response = globals()[f"story_of_{code}"](scene)
    noted = [row.reason for row in Refusal.select()]
    assert noted == ([code] if reason.noted else [])
    if response.is_json:
        assert response.status_code == reason.status
        assert response.get_json()["error"] == reason.error
        heard = response.get_json()["error_description"]
        named = f"{reason.sentence[:-1]}: {Refusal.get().detail}." if reason.names else ""
        assert heard == (named or reason.sentence)
    elif response.status_code == 303:
        assert query(response)["error"] == reason.error
    else:
        assert response.status_code == 400
        assert Refusal.get().reference in response.get_data(as_text=True)


def test_the_application_hears_which_parameter_is_wrong(rp, browser_of, bob):
    def heard(data):
        return rp.post("/oauth/token", data).get_json()["error_description"]

    assert heard({}) == "A required parameter is missing: grant_type."
    code = {"grant_type": "authorization_code", "redirect_uri": rp.redirect_uri}
    assert heard(code) == "A required parameter is missing: code."
    assert heard({"grant_type": ["a", "b"]}) == "A parameter is repeated: grant_type."
    assert heard({'gr"ant\u00e9': ["a", "b"]}) == "A parameter is repeated."


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ("openid reports:read", "Needs a person who signs in: openid. Client Credentials"),
        ("phone email", "Needs a person who signs in: phone, email. Client Credentials"),
        ("reports:read nope", "Not in the catalogue: nope. Add it under Admin > Scopes"),
        ("reports:write", "Tick the scope in the application's settings"),
    ],
)
def test_the_advice_about_a_scope_helps_wherever_it_is_read(rp, browser_of, alice, scope, says):
    make_scope("reports:write")
    answer = rp.token("client_credentials", scope=scope)
    # The caller cannot tell them apart.
    assert answer.get_json()["error_description"] == "The application may not ask for this scope."
    browser, reference = browser_of(alice), Refusal.get().reference
    own = f"/account/applications/{rp.client_id}"
    pages = (f"/admin/applications/{rp.client_id}", f"/admin/doctor/{reference}")
    for page in (*pages, own, f"{own}/refusals/{reference}"):
        text = unescape(browser.get(page).text)
        assert says in text
        assert ("Tick the scope" in text) is says.startswith("Tick")


@pytest.mark.parametrize("reason", REASONS.values(), ids=lambda reason: reason.code)
def test_what_the_caller_hears_is_plain_ascii(reason):
    """RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E; protocol text is never translated."""
    for text in (reason.error, reason.sentence):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set('"\\')
    assert reason.hint or not reason.noted
