"""How many SQL statements an answer costs, on both engines: exact, where time is only noise."""

import pytest

from tests.engines import on_both_engines
from tests.factories import make_application
from tests.flows import RelyingApp, query

pytestmark = on_both_engines


@pytest.fixture
def rp(app, alice) -> RelyingApp:
    application, secret = make_application(
        alice, grants=["authorization_code", "client_credentials", "refresh_token"]
    )
    rp = RelyingApp(app.test_client(), application, secret)
    for _ in range(2):  # the cache is warm, and that it was used just now is noted
        assert rp.token("client_credentials").status_code == 200
    return rp


def spent(seen: list[str]) -> list[str]:
    """The statements without what opens and closes a transaction."""
    return [sql for sql in seen if sql.split()[0].upper() not in ("BEGIN", "COMMIT")]


def test_a_machine_token_costs_one_statement(rp, statements):
    with statements() as seen:
        assert rp.token("client_credentials").status_code == 200
    assert len(spent(seen)) == 1, seen


def test_introspection_costs_one_statement(rp, statements):
    token = rp.token("client_credentials").get_json()["access_token"]
    with statements() as seen:
        assert rp.is_active(token)
    assert len(spent(seen)) == 1, seen


def test_redeeming_a_code_costs_four_statements(rp, statements, browser_of, bob):
    browser = browser_of(bob)
    rp.sign_in(browser)  # a process looks the signing keys up once a minute
    code = query(rp.authorize(browser))["code"]
    with statements() as seen:
        assert rp.redeem(code).status_code == 200
    # Find the code, use it, start its family, issue.
    assert len(spent(seen)) == 4, seen


def test_refreshing_costs_three_statements(rp, statements, browser_of, bob):
    token = rp.sign_in(browser_of(bob))["refresh_token"]
    with statements() as seen:
        token = rp.refresh(token).get_json()["refresh_token"]
    # Find the family, rotate, issue.
    assert len(spent(seen)) == 3, seen


def test_a_retried_refresh_stays_within_five_statements(rp, statements, browser_of, bob):
    token = rp.sign_in(browser_of(bob))["refresh_token"]
    rp.refresh(token)
    with statements() as seen:
        assert rp.refresh(token).status_code == 200
    assert len(spent(seen)) <= 5, seen
