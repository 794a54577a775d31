"""Client authentication: one answer for the caller, the cause for the operator."""

import base64
import re
import time

import pytest
import time_machine
from markupsafe import escape

from portal.models import AccessToken, ApplicationSecret, Refusal
from portal.models.application import CLIENT_CREDENTIALS
from portal.oauth.refusals import REASONS
from tests.doors import through_both_doors
from tests.factories import make_application
from tests.flows import RelyingApp, basic

pytestmark = through_both_doors


def refused(response, reason: str) -> Refusal:
    assert response.status_code == 401
    assert response.get_json() == {
        "error": "invalid_client",
        "error_description": "Invalid client ID or secret",
    }
    assert response.headers["WWW-Authenticate"].startswith("Basic ")
    assert response.headers["Cache-Control"] == "no-store"
    assert AccessToken.select().count() == 0
    refusal = Refusal.get()
    assert refusal.reason == reason
    return refusal


@pytest.mark.parametrize("auth", ["basic", "post"])
def test_a_secret_may_be_sent_in_the_header_or_in_the_body(rp, auth):
    response = rp.post("/oauth/token", {"grant_type": "client_credentials"}, auth)
    assert response.status_code == 200


def test_a_wrong_secret(rp):
    rp.secret = "pcs_" + "x" * 43
    assert refused(rp.token("client_credentials"), "secret_wrong").application_id == (
        rp.application.id
    )


def test_an_unknown_client_id(rp):
    rp.client_id = "c_nobody"
    assert refused(rp.token("client_credentials"), "client_unknown").application_id == 0


def test_a_retired_secret(rp):
    rp.application.rotate_secret()
    refusal = refused(rp.token("client_credentials"), "secret_retired")
    assert refusal.detail == rp.secret[:8]


def test_an_expired_secret(rp):
    rp.application.rotate_secret(keep_seconds=60)
    with time_machine.travel(time.time() + 61, tick=False):
        refused(rp.token("client_credentials"), "secret_expired")


def test_the_secret_of_another_application(rp, other):
    rp.secret = other.secret
    assert refused(rp.token("client_credentials"), "secret_of_another").detail == other.client_id


def test_spaces_around_the_secret(rp):
    rp.secret = f" {rp.secret}\n"
    refused(rp.token("client_credentials"), "secret_padded")


def test_the_hash_pasted_as_the_secret(rp):
    rp.secret = bytes(ApplicationSecret.get().hash).hex()
    refused(rp.token("client_credentials"), "secret_hash")


def test_a_confidential_application_without_its_secret(rp):
    rp.secret = None
    refused(rp.token("client_credentials"), "secret_missing")


def test_a_public_application_with_a_secret(public):
    public.secret = "pcs_" + "x" * 43
    refused(public.token("refresh_token", refresh_token="x"), "secret_unexpected")


def test_a_disabled_application(rp):
    rp.application.disable()
    refused(rp.token("client_credentials"), "application_disabled")


def test_nothing_sent(client):
    response = client.post("/oauth/token", data={"grant_type": "client_credentials"})
    refused(response, "authentication_missing")


UNREADABLE = [b"\xff\xfe:x", b"no-colon", b":x", b"a:%ff", b"a\0:b"]


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Basic !!!", "Bearer x", "Negotiate x", "Basic é"]
    + ["Basic " + base64.b64encode(pair).decode() for pair in UNREADABLE],
)
def test_a_header_that_cannot_be_read(rp, header):
    response = rp.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": header},
    )
    refused(response, "authentication_malformed")


def test_percent_encoded_specials_work(app, alice):
    application, secret = make_application(
        alice, client_id="app: ü%+/?", grants=[CLIENT_CREDENTIALS]
    )
    rp = RelyingApp(app.test_client(), application, secret)
    assert rp.token("client_credentials").status_code == 200


def test_two_methods_at_once(rp):
    response = rp.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "client_secret": rp.secret},
        headers=basic(rp.client_id, rp.secret),
    )
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_request"


def test_one_in_the_header_and_another_in_the_body(rp, other):
    response = rp.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "client_id": other.client_id},
        headers=basic(rp.client_id, rp.secret),
    )
    assert response.get_json()["error"] == "invalid_request"
    same = rp.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "client_id": rp.client_id},
        headers=basic(rp.client_id, rp.secret),
    )
    assert same.status_code == 200


def test_both_secrets_work_until_the_chosen_day(rp):
    old = rp.secret
    new = rp.application.rotate_secret(keep_seconds=86400)
    for secret in (old, new):
        rp.secret = secret
        assert rp.token("client_credentials").status_code == 200
    with time_machine.travel(time.time() + 86401, tick=False):
        assert rp.token("client_credentials").status_code == 200
        rp.secret = old
        assert rp.token("client_credentials").status_code == 401


def test_a_retired_secret_stops_at_once_also_in_a_warm_process(rp):
    assert rp.token("client_credentials").status_code == 200
    rp.application.retire_secret(ApplicationSecret.get().id)
    assert rp.token("client_credentials").status_code == 401


def test_other_peoples_wrong_secrets_never_lock_out_the_right_one(rp):
    right, rp.secret = rp.secret, "pcs_wrong"
    for _ in range(50):
        assert rp.token("client_credentials").status_code == 401
    assert Refusal.get().count == 50
    rp.secret = right
    assert rp.token("client_credentials").status_code == 200


def test_the_secret_says_when_it_was_last_used(rp):
    for _ in range(3):
        rp.token("client_credentials")
    secret = ApplicationSecret.get()
    assert abs(secret.last_used_at - time.time()) < 5
    assert abs(secret.application.last_used_at - time.time()) < 5


def test_refusals_are_bounded(rp):
    for n in range(80):
        Refusal.note(rp.application.id, "redirect_uri_mismatch", f"https://evil.example/{n}")
    assert Refusal.select().count() == 50
    assert Refusal.of(rp.application.id)[0].detail == "https://evil.example/79"


# The nine causes, told apart for operators alone


def cause_unknown_id(rp, other, public):
    rp.client_id = "c_nobody"


def cause_wrong_secret(rp, other, public):
    rp.secret = "pcs_" + "x" * 43


def cause_retired_secret(rp, other, public):
    rp.application.rotate_secret()


def cause_expired_secret(rp, other, public):
    ApplicationSecret.update(expires_at=1).where(
        ApplicationSecret.application == rp.application.id
    ).execute()


def cause_another_applications_secret(rp, other, public):
    rp.secret = other.secret


def cause_wrong_method(rp, other, public):
    rp.assertion = {"client_assertion": "a.b.c", "client_assertion_type": "x"}


def cause_hash_as_secret(rp, other, public):
    mine = ApplicationSecret.application == rp.application.id
    rp.secret = bytes(ApplicationSecret.get(mine).hash).hex()


def cause_spaces_around(rp, other, public):
    rp.secret = f"{rp.secret} "


def cause_public_with_secret(rp, other, public):
    rp.client_id = public.client_id


CAUSES = {
    cause_unknown_id: "client_unknown",
    cause_wrong_secret: "secret_wrong",
    cause_retired_secret: "secret_retired",
    cause_expired_secret: "secret_expired",
    cause_another_applications_secret: "secret_of_another",
    cause_wrong_method: "authentication_method",
    cause_hash_as_secret: "secret_hash",
    cause_spaces_around: "secret_padded",
    cause_public_with_secret: "secret_unexpected",
}
#: What every cause asks the database, and nothing else.
ASKED = [
    "SELECT application",
    "SELECT application",
    "SELECT application_secret",
    "INSERT refusal",
    "DELETE refusal",
]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
def test_each_cause_costs_the_same_and_is_told_to_the_doctor_alone(
    rp, other, public, cause, statements, browser_of, alice
):
    cause(rp, other, public)
    with statements() as seen:
        response = present(rp)
    assert [kind_of(sql) for sql in seen] == ASKED
    refusal = refused(response, CAUSES[cause])
    reason = REASONS[refusal.reason]
    text = browser_of(alice).get(f"/admin/doctor/{refusal.reference}").text
    assert reason.title in text
    assert escape(reason.hint) in text
    assert (rp.secret or "no secret") not in text


def test_each_cause_has_words_of_its_own():
    reasons = [REASONS[code] for code in CAUSES.values()]
    assert len({reason.title for reason in reasons}) == len({r.hint for r in reasons}) == 9


def test_a_public_application_at_an_endpoint_that_needs_a_secret(public):
    refused(public.post("/oauth/introspect", {"token": "x"}), "authentication_method")


def test_an_assertion_without_a_client_id(client):
    data = {"grant_type": "client_credentials", "client_assertion": "a.b.c"}
    refused(client.post("/oauth/token", data=data), "authentication_method")


def present(rp):
    """Ask for a token with what the cause made of the credentials."""
    data = {"grant_type": "client_credentials"}
    if assertion := getattr(rp, "assertion", None):
        return rp.http.post("/oauth/token", data={**data, "client_id": rp.client_id, **assertion})
    return rp.post("/oauth/token", data)


def kind_of(sql: str) -> str:
    """`SELECT application`: what a statement does, and to which table first."""
    verb = sql.split()[0]
    table = re.search(r'(?:FROM|INTO|UPDATE|JOIN)\s+"?(\w+)', sql)
    return f"{verb} {table[1]}"
