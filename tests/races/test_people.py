"""One link, one account, one right, and many who want it at the same moment."""

from collections import Counter

import pytest

from portal.models import OneTimeLink, User
from tests import factories
from tests.engines import on_both_engines
from tests.factories import PASSWORD
from tests.races.crowd import together

CROWD = 64

pytestmark = on_both_engines


@pytest.mark.parametrize("path", ["reset", "setup"])
def test_a_one_time_link_works_for_one(app, path):
    user = factories.make_user("dora") if path == "reset" else None
    address = f"/{path}/{OneTimeLink.make(user)}"
    browsers = [app.test_client() for _ in range(16)]
    tokens = [factories.csrf_token(browser, address) for browser in browsers]
    answers = together(16, lambda n: browsers[n].post(address, data={"csrf_token": tokens[n]}))
    assert Counter(answer.status_code for answer in answers) == {303: 1, 410: 15}
    reachable = [browser.get(f"/{path}").status_code for browser in browsers]
    assert Counter(reachable) == {200: 1, 410: 15}


def test_a_form_behind_a_link_sets_one_password(app):
    """The same browser in many tabs: the link's last step counts once."""
    address = f"/setup/{OneTimeLink.make()}"
    browser = app.test_client()
    factories.post(browser, address)
    cookie = browser.get_cookie("portal_session")
    tabs = [app.test_client() for _ in range(16)]
    for tab in tabs:
        tab.set_cookie("portal_session", cookie.value)
    token = factories.csrf_token(browser, "/setup")

    def act(number):
        fields = {
            "csrf_token": token,
            "username": f"admin{number}",
            "email": f"admin{number}@example.org",
            "password": f"a long password {number}",
        }
        return tabs[number].post("/setup", data=fields)

    answers = together(16, act)
    assert Counter(answer.status_code for answer in answers) == {303: 1, 410: 15}
    assert User.select().count() == 1


def test_many_guesses_at_once_share_ten_tries(app, bob):
    browsers = [app.test_client() for _ in range(CROWD)]
    token = [factories.csrf_token(browser, "/login") for browser in browsers]
    spellings = ["bob", "BOB", " bob ", "bob@example.org", "Bob@Example.org", "ｂｏｂ"]

    def act(number):
        fields = {
            "csrf_token": token[number],
            "username": spellings[number % len(spellings)],
            "password": f"wrong {number}",
        }
        return browsers[number].post("/login", data=fields)

    counts = Counter(answer.status_code for answer in together(CROWD, act))
    assert counts == {422: 10, 429: CROWD - 10}
    right = factories.post(app.test_client(), "/login", {"username": "bob", "password": PASSWORD})
    assert right.status_code == 429
    assert 0 < int(right.headers["Retry-After"]) <= 60


def test_two_administrators_cannot_remove_each_other(app, browser_of):
    for number in range(5):
        pair = [factories.make_user(f"{who}{number}", is_admin=True) for who in ("ann", "ben")]
        browsers = [browser_of(user) for user in pair]
        User.update(is_admin=False).where(User.id.not_in([u.id for u in pair])).execute()
        paths = [f"/admin/users/{pair[1 - n].username}/remove-admin" for n in (0, 1)]
        tokens = [
            factories.csrf_token(browsers[n], f"/admin/users/{pair[1 - n].username}")
            for n in (0, 1)
        ]
        answers = together(
            2,
            lambda n, paths=paths, tokens=tokens, browsers=browsers: browsers[n].post(
                paths[n], data={"csrf_token": tokens[n]}
            ),
        )
        assert all(answer.status_code < 500 for answer in answers)
        assert User.administrators() == 1
