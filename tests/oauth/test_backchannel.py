"""Back-channel logout: each application that signed a person in hears that they signed out."""

import socket
import threading
import time
from dataclasses import replace

import pytest
import time_machine
from joserfc import jwt
from joserfc.jwk import KeySet

from portal import create_app
from portal.fetch import SECONDS, FetchError, post_form
from portal.models import LogoutDelivery, Session, User
from portal.models.logout_delivery import PAUSES
from portal.oauth.backchannel import EVENT, deliver_due
from tests.factories import PASSWORD, make_application, make_user, post, sign_in
from tests.flows import RelyingApp
from tests.receivers import Receiver, receivers

ISSUER = "http://localhost:8000"


@pytest.fixture
def settings(settings):
    """Applications on this computer may be told."""
    return replace(settings, private_logout_uris=1)


@pytest.fixture
def receiver():
    with receivers() as make:
        yield make


@pytest.fixture
def rp(app, alice, receiver) -> RelyingApp:
    """An application with a back channel; `rp.hears` is where it listens."""
    return listening(app, alice, receiver())


def listening(app, owner, hears: Receiver, **fields) -> RelyingApp:
    application, secret = make_application(owner, backchannel_logout_uri=hears.uri, **fields)
    rp = RelyingApp(app.test_client(), application, secret)
    rp.hears = hears
    return rp


def read(rp: RelyingApp, token: str) -> tuple[dict, dict]:
    keys = KeySet.import_key_set(rp.http.get("/oauth/jwks").get_json())
    checked = jwt.decode(token, keys, algorithms=["RS256", "ES256", "PS256"])
    return checked.header, checked.claims


def sign_out(browser):
    return post(browser, "/logout")


# What is sent


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256"])
def test_the_logout_token_says_who_where_and_nothing_else(rp, bob, bob_signs_in, algorithm):
    rp.application.change(id_token_alg=algorithm)
    _, id_claims = read(rp, bob_signs_in(rp, nonce="n0nce")["id_token"])
    sign_out(bob_signs_in.browser)
    (got,) = rp.hears.received
    assert got.path == "/logout?tenant=1"
    assert got.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert got.headers["Host"] == f"127.0.0.1:{rp.hears.server.server_port}"
    assert set(got.form) == {"logout_token"}
    header, claims = read(rp, rp.hears.tokens[0])
    assert header["typ"] == "logout+jwt"
    assert header["alg"] == algorithm
    assert header["kid"]
    assert abs(claims["iat"] - time.time()) < 5
    assert time.time() < claims["exp"] <= time.time() + 120
    assert claims["jti"]
    assert claims["sid"] == id_claims["sid"]
    assert claims["sub"] == id_claims["sub"] == bob.sub
    assert (claims["iss"], claims["aud"]) == (ISSUER, rp.client_id)
    assert claims["events"] == {EVENT: {}}
    assert set(claims) == {"iss", "aud", "iat", "exp", "jti", "sub", "sid", "events"}
    assert LogoutDelivery.select().count() == 0, "what was taken is forgotten"


def test_a_pairwise_subject_stays_pairwise(rp, bob, bob_signs_in):
    rp.application.change(subject_type="pairwise")
    _, id_claims = read(rp, bob_signs_in(rp)["id_token"])
    sign_out(bob_signs_in.browser)
    _, claims = read(rp, rp.hears.tokens[0])
    assert claims["sub"] == id_claims["sub"] != bob.sub


def test_a_logout_token_is_no_hint_and_no_access_token(rp, bob_signs_in, browser_of, bob):
    bob_signs_in(rp)
    sign_out(bob_signs_in.browser)
    token = rp.hears.tokens[0]
    assert "error=invalid_request" in rp.authorize(browser_of(bob), id_token_hint=token).location
    assert not rp.is_active(token)


def test_it_arrives_before_the_person_goes_on(rp, bob_signs_in):
    """The receiver looks: the session is gone, and the answer to the person is not there yet."""
    seen = []
    rp.hears.before_answer = lambda: time.sleep(0.3) or seen.append(answered.is_set())
    answered = threading.Event()
    hint = bob_signs_in(rp)["id_token"]
    response = bob_signs_in.browser.get("/oauth/logout", query_string={"id_token_hint": hint})
    answered.set()
    assert response.status_code == 200
    assert seen == [False]


def test_who_did_not_sign_anybody_in_from_this_session_hears_nothing(
    app, alice, receiver, rp, bob, bob_signs_in, browser_of
):
    bob_signs_in(rp)
    other = listening(app, alice, receiver(), name="Other")
    without_openid = listening(app, alice, receiver(), name="Plain")
    without_openid.sign_in(bob_signs_in.browser, scope="profile")
    elsewhere = browser_of(bob)
    other.sign_in(elsewhere)
    sign_out(bob_signs_in.browser)
    assert [len(it.hears.received) for it in (rp, other, without_openid)] == [1, 0, 0]


def test_each_application_hears_once_however_often_it_signed_in(rp, bob_signs_in):
    for _ in range(3):
        bob_signs_in(rp)
    sign_out(bob_signs_in.browser)
    assert len(rp.hears.received) == 1


def test_a_disabled_application_hears_nothing(rp, bob_signs_in):
    bob_signs_in(rp)
    rp.application.disable()
    sign_out(bob_signs_in.browser)
    assert rp.hears.received == []
    assert LogoutDelivery.select().count() == 0


# Every way in which a session ends


def test_signing_one_browser_out_tells(rp, bob, bob_signs_in, browser_of):
    bob_signs_in(rp)
    session = Session.get(Session.user_id == bob.id)
    elsewhere = browser_of(bob)
    post(elsewhere, f"/account/sessions/{session.id}/end", page="/account/sessions")
    assert len(rp.hears.received) == 1


def test_signing_all_others_out_tells_about_each(rp, bob, browser_of):
    sids = {read(rp, rp.sign_in(browser_of(bob))["id_token"])[1]["sid"] for _ in range(2)}
    here = browser_of(bob)
    rp.sign_in(here)
    post(here, "/account/sessions/end-others", page="/account/sessions")
    assert {read(rp, token)[1]["sid"] for token in rp.hears.tokens} == sids
    assert here.get("/account/sessions").status_code == 200


def test_signing_out_everywhere_tells_about_each(rp, bob, browser_of):
    browsers = [browser_of(bob), browser_of(bob)]
    sids = {read(rp, rp.sign_in(browser)["id_token"])[1]["sid"] for browser in browsers}
    post(browsers[0], "/account/sessions/end-all", page="/account/sessions")
    assert {read(rp, token)[1]["sid"] for token in rp.hears.tokens} == sids


def test_a_new_password_tells_about_the_other_browsers(rp, bob, browser_of):
    other, here = browser_of(bob), browser_of(bob)
    for browser in (other, here):
        rp.sign_in(browser)
    fields = {"current_password": PASSWORD, "new_password": "another horse battery"}
    assert post(here, "/account/password", fields).status_code == 303
    assert len(rp.hears.received) == 1


def test_an_administrator_who_disables_somebody_tells(rp, bob, alice, browser_of, bob_signs_in):
    bob_signs_in(rp)
    response = post(browser_of(alice), "/admin/users/bob/disable", page="/admin/users/bob")
    assert response.status_code == 303
    assert len(rp.hears.received) == 1


def test_a_command_that_disables_somebody_tells(app, rp, bob_signs_in):
    bob_signs_in(rp)
    assert app.test_cli_runner().invoke(args=["user", "disable", "bob"]).exit_code == 0
    assert len(rp.hears.received) == 1


def test_a_deleted_person_is_signed_out_too(app, rp, bob, bob_signs_in):
    bob_signs_in(rp)
    assert app.test_cli_runner().invoke(args=["user", "delete", "bob"]).exit_code == 0
    _, claims = read(rp, rp.hears.tokens[0])
    assert claims["sub"] == bob.sub


def test_somebody_else_who_signs_in_here_ends_the_session_before(rp, bob_signs_in, charlie):
    bob_signs_in(rp)
    fields = {"username": "charlie", "password": PASSWORD}
    page = "/login?reauth=1"
    assert post(bob_signs_in.browser, "/login", fields, page=page).status_code == 303
    assert len(rp.hears.received) == 1


def test_signing_in_again_ends_nothing(rp, bob_signs_in):
    _, first = read(rp, bob_signs_in(rp)["id_token"])
    fields = {"username": "bob", "password": PASSWORD}
    assert post(bob_signs_in.browser, "/login", fields, page="/login?reauth=1").status_code == 303
    _, second = read(rp, bob_signs_in(rp)["id_token"])
    assert first["sid"] == second["sid"]
    assert rp.hears.received == []
    sign_out(bob_signs_in.browser)
    assert len(rp.hears.received) == 1


# When it fails


def test_many_are_told_at_the_same_time(app, alice, receiver, bob, browser_of):
    browser = browser_of(bob)
    apps = [listening(app, alice, receiver(), name=f"App {n}") for n in range(4)]
    for rp in apps:
        rp.hears.before_answer = lambda: time.sleep(0.5)
        rp.sign_in(browser)
    began = time.monotonic()
    sign_out(browser)
    assert time.monotonic() - began < 1.5
    moments = [rp.hears.received[0].at for rp in apps]
    assert max(moments) - min(moments) < 0.4


def test_a_receiver_that_hangs_delays_nobody_for_long(app, alice, receiver, rp, bob_signs_in):
    """Nor one that answers a byte at a time; the others hear it meanwhile."""
    release = threading.Event()
    rp.hears.before_answer = lambda: release.wait(20)
    good = listening(app, alice, receiver(), name="Good")
    with socket.create_server(("127.0.0.1", 0)) as slow:
        threading.Thread(target=drip, args=(slow, release), daemon=True).start()
        dripping = listening(app, alice, receiver(), name="Slow")
        uri = f"http://127.0.0.1:{slow.getsockname()[1]}/"
        dripping.application.change(backchannel_logout_uri=uri)
        for app_ in (rp, good, dripping):
            bob_signs_in(app_)
        began = time.monotonic()
        response = sign_out(bob_signs_in.browser)
        took = time.monotonic() - began
        release.set()
    assert response.status_code == 303
    assert SECONDS - 1 < took <= 5
    assert len(good.hears.received) == 1
    failed = {row.application_id: row.last_error for row in LogoutDelivery.select()}
    assert set(failed) == {rp.application.id, dripping.application.id}
    assert all("within 4 seconds" in error for error in failed.values()), failed


def drip(server: socket.socket, stop: threading.Event) -> None:
    connection, _ = server.accept()
    with connection:
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000:
            if stop.wait(0.5):
                return
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return


def test_a_failure_is_stored_shown_and_tried_again(rp, alice, bob, bob_signs_in, browser_of, app):
    rp.hears.status = 500
    bob_signs_in(rp)
    assert sign_out(bob_signs_in.browser).status_code == 303, (
        "the person is signed out all the same"
    )
    assert Session.select().where(Session.user_id == bob.id).count() == 0
    (row,) = LogoutDelivery.failing(rp.application.id)
    assert (row.tries, row.last_error) == (1, "It answered with status 500.")

    page = browser_of(alice).get(f"/admin/applications/{rp.client_id}").get_data(as_text=True)
    assert "It answered with status 500." in page

    server = app.extensions["portal.oauth"]
    assert deliver_due(server) == 0, "not before its time"
    with time_machine.travel(time.time() + PAUSES[0], tick=False):
        rp.hears.status = 204
        assert deliver_due(server) == 1
    assert len(rp.hears.received) == 2
    first, second = (read(rp, token)[1] for token in rp.hears.tokens)
    assert first["jti"] != second["jti"]
    assert first["sid"] == second["sid"]
    assert LogoutDelivery.select().count() == 0


def test_cleanup_tries_again_gives_up_and_forgets(rp, bob_signs_in, app):
    rp.hears.status = 400
    bob_signs_in(rp)
    sign_out(bob_signs_in.browser)
    moment = time.time()
    for pause in (*PAUSES, *PAUSES):
        moment += pause
        with time_machine.travel(moment, tick=False):
            app.test_cli_runner().invoke(args=["cleanup"])
    assert len(rp.hears.received) == 1 + len(PAUSES)
    (row,) = LogoutDelivery.select()
    assert row.is_given_up
    with time_machine.travel(moment + 31 * 24 * 3600, tick=False):
        result = app.test_cli_runner().invoke(args=["cleanup", "--json"])
    assert '"logout_notices": 1' in result.stdout
    assert LogoutDelivery.select().count() == 0


def test_what_no_process_lived_to_send_is_sent_by_cleanup(rp, bob, bob_signs_in, app):
    bob_signs_in(rp)
    Session.end(bob.id)
    LogoutDelivery.take_fresh()  # the process died here
    with time_machine.travel(time.time() + PAUSES[0], tick=False):
        assert deliver_due(app.extensions["portal.oauth"]) == 1
    assert len(rp.hears.received) == 1


def test_two_runs_do_not_send_the_same_notice(rp, bob, bob_signs_in, app):
    bob_signs_in(rp)
    Session.end(bob.id)
    LogoutDelivery.take_fresh()
    with time_machine.travel(time.time() + PAUSES[0], tick=False):
        (row,) = LogoutDelivery.take_due()
        assert LogoutDelivery.take_due() == []
        assert LogoutDelivery.get_by_id(row.id).next_at != row.next_at


def test_an_application_that_is_deleted_takes_its_notices_along(rp, bob, bob_signs_in):
    rp.hears.status = 500
    bob_signs_in(rp)
    sign_out(bob_signs_in.browser)
    rp.application.remove()
    assert LogoutDelivery.select().count() == 0


# Where it may go


def test_no_redirect_is_followed(rp, receiver, bob_signs_in):
    elsewhere = receiver()
    rp.hears.status, rp.hears.headers = 302, {"Location": elsewhere.uri}
    bob_signs_in(rp)
    sign_out(bob_signs_in.browser)
    assert elsewhere.received == []
    assert LogoutDelivery.get().last_error == "It answered with status 302."


def test_private_addresses_are_told_only_with_the_setting(settings, rp, bob_signs_in):
    strict = create_app(replace(settings, private_logout_uris=0))
    bob_signs_in(rp)
    browser = sign_in(strict.test_client(), User.named("bob"))
    rp.http = strict.test_client()
    rp.sign_in(browser)
    sign_out(browser)
    assert rp.hears.received == []
    assert "PORTAL_PRIVATE_LOGOUT_URIS=1" in LogoutDelivery.get().last_error


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "192.168.1.1", "0.0.0.0",
     "169.254.169.254", "[fe80::1]", "[fd00::1]", "100.64.0.1", "224.0.0.1", "2130706433",
     "0x7f.1", "127.1"],
)  # fmt: skip
def test_special_addresses_are_refused_before_anything_is_sent(host, monkeypatch):
    def connected(*args, **more):
        raise AssertionError("nothing may be connected to")

    monkeypatch.setattr(socket, "create_connection", connected)
    with pytest.raises(FetchError, match="private address"):
        post_form(f"http://{host}/", {})


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch):
    """A name that answers differently the second time (DNS rebinding) gains nothing."""
    answers = [[(0, 0, 0, "", ("93.184.216.34", 80))], [(0, 0, 0, "", ("127.0.0.1", 80))]]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: answers.pop(0))
    asked = []

    def refuse(address, **more):
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(FetchError, match="refused"):
        post_form("http://rebinding.example.org/", {})
    assert asked == [("93.184.216.34", 80)]


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    both = [(0, 0, 0, "", (ip, 80)) for ip in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: both)
    with pytest.raises(FetchError, match="private"):
        post_form("http://mixed.example.org/", {})


@pytest.mark.parametrize(
    "url", ["ftp://x.example.org/", "https://", "http://x:99999/", "file:///x"]
)
def test_odd_addresses_are_refused(url):
    with pytest.raises(FetchError):
        post_form(url, {}, True)


def test_a_certificate_that_nobody_trusts_is_refused(receiver):
    """Plain HTTP where TLS was promised is no answer either."""
    uri = receiver().uri.replace("http:", "https:")
    with pytest.raises(FetchError, match="The connection failed"):
        post_form(uri, {}, True)


def test_the_database_is_not_asked_when_nobody_signed_out(client, statements):
    client.get("/login")
    with statements() as seen:
        client.get("/healthz")
    assert seen == []


def test_a_person_without_sessions_is_no_trouble(app):
    make_user("eve").disable()
    assert LogoutDelivery.select().count() == 0
