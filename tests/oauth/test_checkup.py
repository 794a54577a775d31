"""Green, amber or red: what the chip finds is what the rows say, for every finding."""

import re

import pytest

from portal import sweep
from portal.clock import now
from portal.models import Application, ApplicationSecret, Refusal, TokenFamily, User
from portal.models.application import CLIENT_CREDENTIALS
from portal.models.last_use import _TOUCH
from portal.oauth.checkup import check
from tests.engines import on_both_engines
from tests.factories import make_application, make_user

pytestmark = on_both_engines
LIST = "/admin/applications"
DAY = 86400


def used(application, ago=60):
    Application.update(last_used_at=now() - ago).where(Application.id == application.id).execute()


def later(app, application, **columns):
    """As if time had passed: the row says so, and the next sweep looks at it."""
    Application.update(look_again_at=0, **columns).where(Application.id == application.id).execute()
    sweep.once(app)


def refuse(application, ago, reason="redirect_uri_mismatch", detail="http://app.example.org/x"):
    Refusal.note(application.id, reason, detail)
    Refusal.update(last_at=now() - ago, first_at=now() - ago).where(
        Refusal.application_id == application.id
    ).execute()


def sign_in_at(application, moment):
    TokenFamily.create(
        id=moment * 1000 << 21, application_id=application.id, user_id=1, epoch=1, scopes=[],
        auth_time=moment, created_at=moment, expires_at=moment + DAY,
    )  # fmt: skip


def stuck(app, it):
    refuse(it, 30)
    used(it, 3600)


def some_work(app, it):
    refuse(it, 3600)
    used(it)


def no_secret(app, it):
    it.retire_secret(it.live_secrets[0].id)


def secret_over(app, it):
    ApplicationSecret.update(expires_at=now() - 1).execute()
    later(app, it)


def secret_ends(app, it):
    ApplicationSecret.update(expires_at=now() + 3 * DAY).execute()


def secret_old(app, it):
    ApplicationSecret.update(created_at=now() - 366 * DAY).execute()
    later(app, it)


CASES = {
    "redirect error today": ("red", stuck),
    "redirect error today ": ("amber", some_work),
    "No secret works": ("red", no_secret),
    "No secret works ": ("red", secret_over),
    "Owner is disabled": ("red", lambda app, it: User.get_by_id(it.owner.id).disable()),
    "Secret stops in 3 days": ("amber", secret_ends),
    "Secret older than a year": ("amber", secret_old),
    "PKCE not required": ("amber", lambda app, it: it.change(require_pkce=False)),
    "Development address left": (
        "amber",
        lambda app, it: it.change(redirect_uris=[*it.redirect_uris, "http://localhost:3000/cb"]),
    ),
    "Never used": (
        "amber",
        lambda app, it: later(app, it, last_used_at=0, created_at=now() - 15 * DAY),
    ),
    "Unused since": (
        "amber",
        lambda app, it: later(app, it, last_used_at=now() - 181 * DAY),
    ),
}


@pytest.mark.parametrize("text", CASES)
def test_the_chip_finds_what_the_row_and_the_page_say(app, browser_of, alice, text):
    colour, happens = CASES[text]
    browser = browser_of(alice)
    owner = make_user("owner")
    sick, _ = make_application(owner, name="Sick")
    well, _ = make_application(alice, name="Well")
    for it in (sick, well):
        used(it)
    ids = [sick.id]
    happens(app, sick)
    if text in ("No secret works ", "Secret stops in 3 days", "Secret older than a year"):
        ids.append(well.id)  # these cases age every secret
    Application.update(look_again_at=0).execute()
    sweep.once(app)

    def shown(chip):
        page = browser.get(LIST, query_string={"chip": chip}).text
        return re.findall(r'class="name" href="[^"]*">([^<]*)<', page), page

    names, page = shown("attention")
    assert names == (["Sick", "Well"] if len(ids) == 2 else ["Sick"])
    assert text.strip() in page
    assert bool(shown("broken")[0]) == (colour == "red")
    # A search narrows the same way.
    assert "Sick" in browser.get(LIST, query_string={"q": "sick", "chip": "attention"}).text
    checkup = check(Application.with_client_id(sick.client_id))
    assert checkup.colour == colour
    assert text.strip() in checkup.next.text
    assert checkup.next.advice
    assert checkup.next.url
    own = browser.get(f"{LIST}/{sick.client_id}").text
    assert text.strip() in own.partition("Health: ")[2][:200]
    Application.get_by_id(sick.id).disable()
    assert "Sick" not in shown("attention")[0] + shown("broken")[0]
    assert check(Application.with_client_id(sick.client_id)).colour == "grey"


def test_a_sign_in_and_a_quiet_quarter_of_an_hour_make_it_green(app, alice):
    it, _ = make_application(alice)
    refuse(it, 20 * 60)
    used(it, 60)  # refreshing went on
    assert check(Application.with_client_id(it.client_id)).colour == "amber"
    sign_in_at(it, now() - 30 * 60)
    assert check(Application.with_client_id(it.client_id)).colour == "amber"
    sign_in_at(it, now() - 60)
    assert check(Application.with_client_id(it.client_id)).colour == "green"


def test_a_machine_is_green_once_it_was_served_again(app, alice):
    it, _ = make_application(alice, grants=[CLIENT_CREDENTIALS], redirect_uris=[], scopes=[])
    refuse(it, 20 * 60, "secret_wrong", "")
    assert check(Application.with_client_id(it.client_id)).colour == "red"
    used(it)
    assert check(Application.with_client_id(it.client_id)).colour == "green"


def test_a_link_that_anybody_can_make_does_not_break_a_machine(app, browser_of, alice):
    it, _ = make_application(alice, grants=[CLIENT_CREDENTIALS], redirect_uris=[], scopes=[])
    browser = browser_of(alice)
    refuse(it, 30, "grant_code_off", "http://localhost:9137/callback")
    for last_used_ago in (None, 3600):
        if last_used_ago:
            used(it, last_used_ago)
        checkup = check(Application.with_client_id(it.client_id))
        assert checkup.colour == "amber"
        assert checkup.next.text == "1 grant flow error today"
        assert "Authorisation Code is off" in checkup.next.advice
        assert "sign in once" not in checkup.next.advice
        assert "It works for some" not in checkup.next.advice
        for chip, is_there in (("broken", False), ("attention", True)):
            page = browser.get(LIST, query_string={"chip": chip}).text
            assert (it.client_id in page) is is_there


def test_such_a_link_hides_nothing_that_breaks_it(app, alice):
    it, _ = make_application(alice, grants=[CLIENT_CREDENTIALS], redirect_uris=[], scopes=[])
    refuse(it, 60, "secret_wrong", "")
    Refusal.note(it.id, "grant_code_off", "http://localhost:9137/callback")
    checkup = check(Application.with_client_id(it.client_id))
    assert checkup.colour == "red"
    assert checkup.next.text == "1 client secret error today"
    assert "Compare its first letters" in checkup.next.advice


def test_title_advice_and_link_are_of_the_same_refusal(app, alice):
    it, _ = make_application(alice)
    saved = it.redirect_uris[0]
    for _ in range(3):
        refuse(it, 600, detail=saved)  # saved since
    reference = Refusal.note(it.id, "scope_not_allowed", "address")
    found = check(Application.with_client_id(it.client_id)).next
    assert found.text == "1 scope error today"
    assert found.advice.startswith("Tick the scope")
    assert found.url == f"/admin/doctor/{reference}"
    assert found.reference == reference


def test_the_first_use_takes_never_used_away_at_once(app, alice):
    it, _ = make_application(alice)
    later(app, it, created_at=now() - 15 * DAY)
    assert check(Application.with_client_id(it.client_id)).next.text == "Never used"
    _TOUCH.run(id=it.id, now=now(), network="")
    assert check(Application.with_client_id(it.client_id)).colour == "green"


def test_an_owner_who_may_sign_in_again_answers_for_it(app, alice):
    owner = make_user("owner")
    it, _ = make_application(owner)
    owner.disable()
    assert check(Application.with_client_id(it.client_id)).colour == "red"
    owner.enable()
    assert check(Application.with_client_id(it.client_id)).colour == "green"


def test_the_commands_say_the_same(app, alice):
    it, _ = make_application(alice, name="Sick")
    make_application(alice, name="Well")
    run = app.test_cli_runner().invoke
    assert run(args=["application", "health", it.client_id]).exit_code == 0
    it.retire_secret(it.live_secrets[0].id)
    done = run(args=["application", "health", it.client_id])
    assert done.exit_code == 1
    assert "Sick: broken" in done.output
    assert "No secret works" in done.output
    listed = run(args=["application", "list", "--attention"]).output
    assert "Sick" in listed
    assert "Well" not in listed
