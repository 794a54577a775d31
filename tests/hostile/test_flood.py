"""Refusals that anybody can cause do not fill the disk."""

from portal.models import TABLES, AuditEvent, Refusal
from portal.models.refusal import NOBODY, ROWS_EACH
from tests.flows import basic


def test_a_thousand_hostile_refusals_leave_no_more_than_five_hundred(app, rp, browser_of, bob):
    browser, grant = browser_of(bob), {"grant_type": "client_credentials"}

    def attack(first: int) -> dict[str, int]:
        for n in range(first, first + 120):
            evil = f"https://evil{n}.example/{'x' * 600}"
            assert rp.authorize(browser, redirect_uri=evil).status_code == 400
            assert rp.authorize(browser, client_id=f"c_{n}").status_code == 400
            assert rp.token("client_credentials", scope=f"evil:{n}").status_code == 400
            if n % 60 == 59:  # the others have washed it away
                for _ in range(10):
                    rp.http.post("/oauth/token", data=grant, headers=basic(rp.client_id, "wrong"))
            rp.http.post("/oauth/token", data=grant, headers=basic(f"c_{n}", "wrong"))
        return {table.__name__: table.select().count() for table in TABLES}

    former = {table.__name__: table.select().count() for table in TABLES}
    after_some = attack(0)
    assert after_some["Refusal"] <= 2 * ROWS_EACH
    assert attack(120) == after_some
    grown = {name for name, count in after_some.items() if count > former[name]}
    assert grown == {"Refusal", "AuditEvent"}
    assert AuditEvent.select().where(AuditEvent.event == "application.refused_often").count() == 1
    assert Refusal.select().where(Refusal.application_id == NOBODY).count() == ROWS_EACH
