"""Scopes that nothing needed for 90 days are named, and only when that is certain."""

import re
from html import unescape

import pytest
import time_machine

from portal import credentials, sweep
from portal.clock import now
from portal.models import Application, TokenFamily, Usage
from portal.models.application import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN
from portal.models.concern import SCOPES_UNUSED
from portal.models.last_use import _TOUCH
from portal.models.unused import MOST_FAMILIES, unused_scopes
from portal.models.usage import KEPT_DAYS, SINCE, SINCE_ID
from portal.oauth.checkup import check
from tests.engines import on_both_engines
from tests.factories import approve_trust, hidden_fields, make_application, make_scope

pytestmark = on_both_engines
LIST = "/admin/applications"
DAY = 86400
START = 1_800_000_000 // DAY * DAY + DAY // 2


@pytest.fixture
def clock(monkeypatch):
    # Ids that other tests made later would make these look younger.
    monkeypatch.setattr(credentials, "_ids", credentials._Ids())
    with time_machine.travel(START, tick=False) as made:
        yield made


@pytest.fixture
def wiki(clock, app, alice) -> Application:
    """An application that was added just now."""
    make_scope("reports:read")
    return make_application(
        alice,
        name="Wiki",
        grants=[AUTHORIZATION_CODE, CLIENT_CREDENTIALS, REFRESH_TOKEN],
        scopes=["public", "openid", "email", "reports:read"],
    )[0]


def pass_days(app, clock, days: int) -> None:
    """Every application is in use, and the portal sweeps."""
    clock.shift(days * DAY)
    for row in Application.select():
        _TOUCH.run(id=row.id, now=now())
    Application.update(look_again_at=0).execute()
    sweep.once(app)


def give(app, application, *scopes) -> None:
    app.extensions["portal.oauth"].usage.sign_in(application.id, AUTHORIZATION_CODE, scopes)
    app.extensions["portal.oauth"].usage.write()


def told(application) -> str:
    """The finding's text; "" when there is none."""
    hint = check(Application.with_client_id(application.client_id)).hint
    return hint.text if hint else ""


def listed(browser_of, alice, chip="unused_scopes") -> list[str]:
    page = browser_of(alice).get(LIST, query_string={"chip": chip}).text
    rows = re.findall(r"<tr.*?</tr>", page, re.S)
    names = [re.search(r'class="name" href="[^"]*">([^<]*)<', row) for row in rows]
    found = [name[1] for name in names if name]
    said = [name[1] for name, row in zip(names, rows, strict=True) if name and "Unused" in row]
    assert said == (found if chip == "unused_scopes" else [])
    return found


def test_what_nothing_needed_for_90_days_is_named(app, clock, wiki, browser_of, alice):
    make_application(alice, name="Idle", scopes=["openid"])
    pass_days(app, clock, 60)
    give(app, wiki, "openid")
    days = {"reports:read": now() // DAY - 80}
    Application.update(machine_days=days).where(Application.id == wiki.id).execute()
    pass_days(app, clock, 30)
    idle = {"last_used_at": 0, "look_again_at": 0}
    Application.update(idle).where(Application.name == "Idle").execute()
    sweep.once(app)
    assert told(wiki) == "2 scopes unused for 90 days: email, reports:read"
    assert listed(browser_of, alice) == ["Wiki"]
    page = unescape(browser_of(alice).get(f"{LIST}/{wiki.client_id}").text)
    assert "(last reports:read on" in page
    assert "Health: healthy" in page
    assert "Nothing urgent" in page


def test_a_hint_is_no_reason_for_attention(app, clock, wiki, browser_of, alice):
    pass_days(app, clock, 90)
    assert told(wiki)
    assert listed(browser_of, alice, "attention") == []
    assert check(Application.with_client_id(wiki.client_id)).colour == "green"
    Application.get_by_id(wiki.id).change(require_pkce=False)
    assert listed(browser_of, alice, "attention") == ["Wiki"]
    assert listed(browser_of, alice) == ["Wiki"]
    checkup = check(Application.with_client_id(wiki.client_id))
    assert (checkup.colour, checkup.others) == ("amber", 0)
    Application.get_by_id(wiki.id).disable()
    assert listed(browser_of, alice) == []


def test_a_use_takes_the_hint_away_within_a_day(app, clock, wiki, browser_of, alice):
    pass_days(app, clock, 90)
    give(app, wiki, "openid", "email", "reports:read")
    clock.shift(DAY)
    sweep.once(app)
    assert told(wiki) == ""
    assert listed(browser_of, alice) == []


def test_young_applications_and_scopes_are_left_alone(app, clock, wiki):
    pass_days(app, clock, 89)
    assert told(wiki) == ""
    give(app, wiki, "openid", "email", "reports:read")
    make_scope("reports:write")
    row = Application.get_by_id(wiki.id)
    row.change(scopes=[*row.scopes, "reports:write"])
    pass_days(app, clock, 89)
    assert told(wiki) == ""
    pass_days(app, clock, 1)
    assert told(wiki).endswith(": openid, email, reports:read, reports:write")


def test_a_portal_that_counts_for_less_says_nothing(app, clock, wiki):
    clock.shift(DAY)
    Usage.create(application_id=SINCE_ID, day=now() // DAY, kind=SINCE, value=str(now()), count=0)
    pass_days(app, clock, KEPT_DAYS - 1)
    assert told(wiki) == ""
    pass_days(app, clock, 2)
    assert told(wiki)


def test_what_somebody_holds_by_a_refresh_token_is_needed(app, clock, wiki, bob):
    held = TokenFamily.create(
        application_id=wiki.id, user_id=bob.id, epoch=1, scopes=["openid", "email"],
        refresh_hash=b"x", auth_time=now(), expires_at=now() + 365 * DAY,
    )  # fmt: skip
    pass_days(app, clock, 100)
    assert told(wiki) == "1 scope unused for 90 days: reports:read"
    TokenFamily.update(ended_at=now()).where(TokenFamily.id == held.id).execute()
    assert told(wiki).endswith(": openid, email, reports:read")


def test_the_default_scope_counts_as_used(app, clock, alice):
    plain, _ = make_application(
        alice, grants=[CLIENT_CREDENTIALS], redirect_uris=[], scopes=["public"]
    )
    pass_days(app, clock, 200)
    assert told(plain) == ""


def test_one_press_leads_to_the_page_before_saving(app, clock, wiki, browser_of, alice):
    Application.get_by_id(wiki.id).change(trusted=True, trust_reason="Ours", require_pkce=False)
    approve_trust(wiki)
    pass_days(app, clock, 60)
    give(app, wiki, "openid")
    pass_days(app, clock, 30)
    before = Application.get_by_id(wiki.id)
    browser, url = browser_of(alice), f"{LIST}/{wiki.client_id}"
    assert f'href="{url}/unused-scopes"' in browser.get(url).text
    page = browser.get(f"{url}/unused-scopes")
    assert "Nothing is saved yet" in page.text
    assert "reports:read" in page.text
    assert Application.get_by_id(wiki.id).scopes == before.scopes
    saved = browser.post(f"{url}/edit", data=hidden_fields(page))
    assert saved.status_code == 303, saved.text
    after = Application.get_by_id(wiki.id)
    assert after.scopes == ["public", "openid"]
    kept = {*Application._meta.sorted_field_names} - {"scopes", "version", "updated_at"}
    kept -= {"concerns", "look_again_at", "trust_approved"}  # she approves it alone
    assert [it for it in kept if getattr(before, it) != getattr(after, it)] == []
    assert told(wiki) == ""
    again = browser.get(f"{url}/unused-scopes", follow_redirects=True)
    assert "has no scope that was unused" in again.text


def test_a_batch_costs_two_statements_however_large(app, clock, wiki, alice, statements):
    for number in range(20):
        make_application(alice, name=f"More {number}")
    pass_days(app, clock, 90)
    rows = list(Application.select())
    with statements() as seen:
        found = unused_scopes(rows, now())
    assert len(found) == 21
    assert len(seen) == 2
    assert all(row.concerns & SCOPES_UNUSED for row in rows)


def test_old_connections_without_number_are_not_all_read(app, clock, wiki, bob):
    row = {
        "application_id": wiki.id, "user_id": bob.id, "epoch": 1, "scopes": ["openid"],
        "refresh_hash": b"x", "auth_time": now(), "expires_at": now() + 365 * DAY,
    }  # fmt: skip
    TokenFamily.insert_many([row] * (MOST_FAMILIES - 1)).execute()
    pass_days(app, clock, 100)
    assert told(wiki).endswith(": email, reports:read")
    with time_machine.travel(START, tick=False):
        TokenFamily.insert_many([row]).execute()
    assert unused_scopes([Application.get_by_id(wiki.id)], now()) == {}
