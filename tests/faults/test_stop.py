"""SIGTERM under load, and the start afterwards: no request is cut, nothing has to be done again."""

import time
from urllib.parse import urlencode

from portal.models import AccessToken, Application
from tests.engines import on_both_engines
from tests.factories import make_application
from tests.faults.portal import Load, cookie_of, get_code
from tests.flows import RelyingApp

pytestmark = on_both_engines

#: A connection that the kernel took for a server already gone is reset before it is read.
NEVER_READ = (ConnectionRefusedError, ConnectionResetError, BrokenPipeError)


def test_sigterm_under_load_cuts_nothing_and_a_restart_keeps_everything(
    rp, portal, browser_of, bob
):
    browser, real = browser_of(bob), portal.serving(rp)
    code, before = get_code(rp, browser), AccessToken.select().count()
    portal.start()
    keys = portal.get("/oauth/jwks").get_json()
    with Load(8, lambda: real.token("client_credentials")) as load:
        time.sleep(1)
        exit_code, seconds = portal.stop()
    assert exit_code == 0
    assert seconds < 10
    assert {answer.status_code for answer in load.done} == {200}
    assert all(isinstance(error, NEVER_READ) for error in load.failed), load.failed
    # Whatever was done has been answered.
    assert AccessToken.select().count() == before + len(load.done)
    tokens = [answer.get_json()["access_token"] for answer in load.done]

    portal.start()
    assert all(real.is_active(token) for token in tokens[-20:])
    assert all(rp.is_active(token) for token in tokens)
    assert portal.get("/oauth/jwks").get_json() == keys
    assert real.redeem(code).status_code == 200
    # Still signed in, and the consent is known: straight back with a code.
    address = f"/oauth/authorize?{urlencode(rp.authorize_params())}"
    again = portal.get(address, headers=cookie_of(browser))
    assert again.status_code == 303
    assert "code=" in again.headers["Location"]


def test_what_was_used_in_the_last_second_is_known_afterwards(rp, portal, alice):
    made = [make_application(alice, grants=["client_credentials"]) for _ in range(40)]
    portal.environ["PORTAL_SWEEP_SECONDS"] = "0"
    portal.start()
    for application, secret in made:
        one = RelyingApp(portal, application, secret)
        assert one.token("client_credentials").status_code == 200
    portal.stop()
    asked = [application.id for application, _ in made]
    used = Application.select().where(Application.id.in_(asked), Application.last_used_at > 0)
    assert used.count() == len(made)
