"""Every event of the audit log is left by a real act; every act that changes something leaves one.

`ACTS` has a row for each event: what is done on a page, by a command or over the protocol, who it
is told of, to what, and what was before and after.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import time_machine
from flask import request, request_started

from portal import audit, sweep
from portal.clock import now
from portal.models import (
    Application,
    ApplicationSecret,
    AuditEvent,
    MisusedSecret,
    OneTimeLink,
    Refusal,
    Session,
    SigningKey,
    User,
)
from portal.models.signing_key import AGE_SECONDS, EC
from portal.oauth.authorization_server import BURSTS
from tests import factories
from tests.admin.test_trust import save
from tests.cli.conftest import flask  # noqa: F401
from tests.factories import PASSWORD, REDIRECT_URI, make_application, post, save_anyway
from tests.flows import RelyingApp
from tests.hostile.conftest import ALL_GRANTS
from tests.oauth.test_device import decide, start

COMMAND, PORTAL = audit.COMMAND_LINE, audit.PORTAL
FRESH = "another long passphrase"
OTHER = "https://other.example.org/callback"
WORKS = "https://app.example.org/callback/"
ANY = object()


class World:
    """Alice and Tom administer, Bob owns Wiki and shares things with it."""

    def __init__(self, app, flask, tmp_path: Path) -> None:  # noqa: F811
        self.app, self.flask, self.folder = app, flask, tmp_path
        self.alice = factories.make_user("alice", is_admin=True)
        self.tom = factories.make_user("tom", is_admin=True)
        self.bob = factories.make_user("bob")
        self.wiki, self.secret = make_application(self.bob, name="Wiki", grants=ALL_GRANTS)
        self.page = f"/admin/applications/{self.wiki.client_id}"
        self.rp = RelyingApp(app.test_client(), self.wiki, self.secret)

    def browser(self, person: User):
        return factories.sign_in(self.app.test_client(), person)

    def press(self, path: str, person: User | None = None, **fields) -> None:
        """Post a form as this person does (Alice, unless said), with what it must hold."""
        browser = self.browser(person or self.alice)
        token = factories.csrf_token(browser, "/account/password")
        answer = browser.post(path, data={"csrf_token": token, **fields})
        answer = save_anyway(browser, answer)
        assert answer.status_code < 400, answer.text

    def run(self, *arguments: str, stdin: str | None = None) -> None:
        answer = self.flask(*arguments, stdin=stdin)
        assert answer.code == 0, answer.err

    def key(self) -> ApplicationSecret:
        return self.wiki.live_secrets[0]

    def refusal(self) -> str:
        return Refusal.note(self.wiki.id, "redirect_uri_mismatch", WORKS)

    def misuse(self) -> MisusedSecret:
        """Wiki's secret is sent under another application's id."""
        other, _ = make_application(self.alice, name="Other", grants=ALL_GRANTS)
        RelyingApp(self.rp.http, other, self.secret).token("client_credentials")
        self.app.extensions["portal.oauth"].uses.write()
        return MisusedSecret.get()

    def ask_trust(self) -> None:
        save(self.browser(self.alice), self.rp)

    def trust(self, what: str, **fields: str) -> None:
        browser = self.browser(self.tom)
        page = f"/admin/trust/{self.wiki.client_id}"
        seen = re.search(r'name="seen"[^>]*value="([^"]*)"', browser.get(page).text)[1]
        assert post(browser, f"{page}/{what}", {"seen": seen, **fields}, page).status_code == 303

    def offer(self) -> None:
        self.press("/admin/leaving/bob", owner="tom", how="offer")

    def device(self, decision: str) -> None:
        decide(self.rp, self.browser(self.bob), start(self.rp), decision)


def expire_trust(it: World) -> None:
    factories.approve_trust(it.wiki, now() + 5)
    Application.update(trusted=True).where(Application.id == it.wiki.id).execute()
    with time_machine.travel(now() + 10):
        sweep.once(it.app)


def log_in(it: World) -> None:
    post(it.app.test_client(), "/login", {"username": "bob", "password": PASSWORD})


def guess(it: World) -> None:
    for _ in range(12):
        post(it.app.test_client(), "/login", {"username": "bob", "password": "wrong"})


def reset(it: World) -> None:
    browser = it.app.test_client()
    post(browser, f"/reset/{OneTimeLink.make(it.bob)}")
    post(browser, "/reset", {"password": FRESH})


def set_up(it: World) -> None:
    User.update(is_admin=False).execute()
    browser = it.app.test_client()
    post(browser, f"/setup/{OneTimeLink.make()}")
    who = {"username": "root", "email": "r@example.org", "name": "Root", "password": FRESH}
    assert post(browser, "/setup", who).status_code == 303


def make_set_up_link(it: World) -> None:
    User.update(is_admin=False).execute()
    it.run("setup-link")


def be_refused(it: World) -> None:
    for _ in range(min(BURSTS)):
        it.rp.authorize(it.app.test_client(), redirect_uri=OTHER)


def restore(it: World) -> None:
    file = str(it.folder / "portal.backup")
    it.run("backup", file)
    it.run("restore", file, "--force")


def withdraw(it: World) -> None:
    it.rp.sign_in(it.browser(it.bob))
    it.press(f"/account/connections/{it.wiki.client_id}/remove", it.bob)


def grow_old(it: World) -> None:
    SigningKey.update(active_at=now() - AGE_SECONDS).where(SigningKey.kind == EC).execute()
    it.app.extensions["portal.oauth"].keys.prepare()


def retire_key(it: World) -> None:
    old = SigningKey.newest(EC).kid
    it.run("keys", "rotate", "ec", "--now")
    it.run("keys", "retire", old)


def end_browser(it: World) -> None:
    it.browser(it.bob)
    it.press(f"/account/sessions/{Session.get(Session.user_id == it.bob.id).id}/end", it.bob)


def split(it: World) -> None:
    browser, page = it.browser(it.alice), f"/admin/reuse/{it.wiki.client_id}/split"
    shown = browser.get(page).text
    fields = dict(re.findall(r'name="([^"]*)" type="hidden" value="([^"]*)"', shown))
    answer = browser.post(
        page, data={**fields, "csrf_token": factories.csrf_token(browser, page), "name": "Wiki 2"}
    )
    assert answer.status_code == 200, answer.text


def disabled(it: World) -> None:
    it.run("application", "disable", it.wiki.client_id)
    it.press(f"{it.page}/enable")


def person_disabled(it: World) -> None:
    it.run("user", "disable", "bob")
    it.press("/admin/users/bob/enable")


def answer_offer(what: str):
    def act(it: World) -> None:
        it.offer()
        it.press(f"/account/offers/{what}", it.tom, application=it.wiki.client_id)

    return act


def watch(it: World) -> None:
    it.press(f"/admin/reuse/{it.wiki.client_id}/accept")
    it.press(f"/admin/reuse/{it.wiki.client_id}/watch")


def ask_then(what: str, **fields: str):
    def act(it: World) -> None:
        it.ask_trust()
        it.trust(what, **fields)

    return act


NEW_SCOPE = ("scope", "create", "wiki:read", "--title", "Read", "--description", "Read pages.")


def change_scope(it: World) -> None:
    it.run(*NEW_SCOPE)
    it.press("/admin/scopes/wiki:read/edit", title="See", description="Read pages.")


def delete_scope(it: World) -> None:
    it.run(*NEW_SCOPE)
    it.run("scope", "delete", "wiki:read")


def import_new(it: World) -> None:
    entry = {"client_id": "newest", "name": "New", "owner": "bob", "grants": ["client_credentials"]}
    it.run("application", "import", "-", stdin=json.dumps({"applications": [entry]}))


def secret_page(it: World) -> str:
    return f"/admin/secrets/{it.wiki.client_id}/{it.key().id}"


#: Event: the act, the actor, the subject, some of what was before, some of what is after.
ACTS = {
    "application.added": (import_new, COMMAND, "New", {}, {"owner": "bob"}),
    "application.changed": (
        lambda it: it.run("application", "update", it.wiki.client_id, "--name", "Notes"),
        COMMAND,
        "Notes",
        {"name": "Wiki"},
        {"name": "Notes"},
    ),
    "application.disabled": (
        lambda it: it.press(f"{it.page}/disable"),
        "alice",
        "Wiki",
        {"enabled": True},
        {"enabled": False},
    ),
    "application.enabled": (disabled, "alice", "Wiki", {"enabled": False}, {"enabled": True}),
    "application.deleted": (
        lambda it: it.run("application", "delete", it.wiki.client_id),
        COMMAND,
        "Wiki",
        {"owner": "bob"},
        {},
    ),
    "application.redirect_uri_registered": (
        lambda it: it.press(f"/admin/doctor/{it.refusal()}/register", confirmed="y"),
        "alice",
        "Wiki",
        {"redirect_uris": [REDIRECT_URI]},
        {"redirect_uris": [REDIRECT_URI, WORKS]},
    ),
    "application.redirect_uri_replaced": (
        lambda it: it.press(
            f"/admin/doctor/{it.refusal()}/replace", confirmed="y", saved=REDIRECT_URI
        ),
        "alice",
        "Wiki",
        {"redirect_uris": [REDIRECT_URI]},
        {"redirect_uris": [WORKS]},
    ),
    "application.trust_asked": (World.ask_trust, "alice", "Wiki", {}, {"reason": "We run it."}),
    "application.trust_approved": (
        ask_then("approve"),
        "tom",
        "Wiki",
        {},
        {"by": "tom", "reason": "We run it."},
    ),
    "application.trust_refused": (
        ask_then("refuse", note="No."),
        "tom",
        "Wiki",
        {},
        {"note": "No."},
    ),
    "application.trust_ended": (expire_trust, PORTAL, "Wiki", {"until": ANY}, {}),
    "secret.added": (
        lambda it: it.press(f"/admin/secrets/{it.wiki.client_id}", name="CI"),
        "alice",
        ANY,
        {},
        {"name": "CI"},
    ),
    "secret.renamed": (
        lambda it: it.press(secret_page(it), name="CI", ends="never"),
        "alice",
        ANY,
        {"name": ""},
        {"name": "CI"},
    ),
    "secret.scheduled": (
        lambda it: it.run(
            "application",
            "retire-secret",
            it.wiki.client_id,
            it.key().prefix,
            "--unused-days",
            "7",
        ),
        COMMAND,
        ANY,
        {"unused_days": None},
        {"unused_days": 7},
    ),
    "secret.retired": (
        lambda it: it.press(f"{secret_page(it)}/retire"),
        "alice",
        ANY,
        {"prefix": ANY},
        {},
    ),
    "secret.misuse_settled": (
        lambda it: it.press(f"/admin/reuse/{it.wiki.client_id}/{it.misuse().id}/done"),
        "alice",
        "Wiki",
        {},
        {},
    ),
    "application.rotated_secret": (
        lambda it: it.press(f"{it.page}/rotate-secret", keep="0"),
        "alice",
        "Wiki",
        {"secrets": ANY},
        {"secrets": ANY},
    ),
    "application.tested": (
        lambda it: post(
            it.browser(it.alice),
            f"/admin/tester/{it.wiki.client_id}/client-credentials",
            {"secret": it.secret, "method": "client_secret_basic"},
            page=f"/admin/tester/{it.wiki.client_id}?flow=client-credentials",
        ),
        "alice",
        "Wiki",
        {},
        {"flow": ANY},
    ),
    "application.split": (split, "alice", "Wiki", {}, {"name": "Wiki 2"}),
    "application.networks_accepted": (
        lambda it: it.press(f"/admin/reuse/{it.wiki.client_id}/accept"),
        "alice",
        "Wiki",
        {},
        {"networks": []},
    ),
    "application.networks_watched": (watch, "alice", "Wiki", {}, {"networks": []}),
    "application.refused_often": (
        be_refused,
        PORTAL,
        "Wiki",
        {},
        {"reason": "redirect_uri_mismatch", "times": min(BURSTS)},
    ),
    "application.offered": (World.offer, "alice", "Wiki", {}, {"to": "tom"}),
    "application.accepted": (
        answer_offer("accept"),
        "tom",
        "Wiki",
        {"owner": "bob"},
        {"owner": "tom"},
    ),
    "application.declined": (answer_offer("decline"), "tom", "Wiki", {}, {}),
    "scope.added": (lambda it: it.run(*NEW_SCOPE), COMMAND, "wiki:read", {}, {"title": "Read"}),
    "scope.changed": (change_scope, "alice", "wiki:read", {"title": "Read"}, {"title": "See"}),
    "scope.deleted": (delete_scope, COMMAND, "wiki:read", {"title": "Read"}, {}),
    "person.added": (
        lambda it: it.run("user", "create", "eve", "--email", "eve@example.org"),
        COMMAND,
        "eve",
        {},
        {"email": "eve@example.org", "administrator": False},
    ),
    "person.changed": (
        lambda it: it.run("user", "update", "bob", "--name", "Robert"),
        COMMAND,
        "bob",
        {"name": "Bob"},
        {"name": "Robert"},
    ),
    "person.made_administrator": (
        lambda it: it.press("/admin/users/bob/make-admin"),
        "alice",
        "bob",
        {"administrator": False},
        {"administrator": True},
    ),
    "person.unmade_administrator": (
        lambda it: it.press("/admin/users/tom/remove-admin"),
        "alice",
        "tom",
        {"administrator": True},
        {"administrator": False},
    ),
    "person.disabled": (
        lambda it: it.press("/admin/users/bob/disable"),
        "alice",
        "bob",
        {"enabled": True},
        {"enabled": False},
    ),
    "person.enabled": (person_disabled, "alice", "bob", {"enabled": False}, {"enabled": True}),
    "person.deleted": (
        lambda it: it.run("user", "delete", "bob", "--heir", "tom"),
        COMMAND,
        "bob",
        {"email": "bob@example.org"},
        {"new_owner": "tom"},
    ),
    "person.reset_link": (
        lambda it: it.press("/admin/users/bob/reset-password"),
        "alice",
        "bob",
        {},
        {},
    ),
    "person.set_password": (
        lambda it: it.press(
            "/account/password", it.bob, current_password=PASSWORD, new_password=FRESH
        ),
        "bob",
        "bob",
        {},
        {},
    ),
    "person.reset_password": (reset, "bob", "bob", {}, {}),
    "person.signed_in": (log_in, "bob", "bob", {}, {}),
    "person.signed_out_browser": (end_browser, "bob", "bob", {}, {}),
    "person.signed_out_everywhere": (
        lambda it: it.press("/account/sessions/end-all", it.bob),
        "bob",
        "bob",
        {},
        {"browsers": 1},
    ),
    "person.throttled": (guess, "", "bob", {}, {}),
    "consent.given": (
        lambda it: it.rp.sign_in(it.browser(it.bob)),
        "bob",
        "Wiki",
        {},
        {"scopes": ANY},
    ),
    "consent.withdrawn": (withdraw, "bob", "Wiki", {}, {}),
    "device.approved": (lambda it: it.device("allow"), "bob", "Wiki", {}, {"scopes": ANY}),
    "device.denied": (lambda it: it.device("deny"), "bob", "Wiki", {}, {}),
    "key.rotated": (grow_old, PORTAL, ANY, {}, {"signs_from": ANY}),
    "key.retired": (retire_key, COMMAND, ANY, {}, {}),
    "portal.setup": (set_up, "root", "root", {}, {"administrator": True}),
    "portal.setup_link": (make_set_up_link, COMMAND, "", {}, {}),
    "portal.demo": (lambda it: it.run("demo"), COMMAND, "", {}, {}),
    "portal.restored": (restore, COMMAND, "portal.backup", {}, {}),
}

#: Each page that changes something, and the event whose act above posts to it.
PAGES = {
    "account.remove_connection": "consent.withdrawn",
    "account.accept_offers": "application.accepted",
    "account.decline_offers": "application.declined",
    "account.change_password": "person.set_password",
    "account.end_session": "person.signed_out_browser",
    "account.end_all_sessions": "person.signed_out_everywhere",
    "admin.disable_application": "application.disabled",
    "admin.enable_application": "application.enabled",
    "admin.change_application": "application.trust_asked",
    "admin.rotate_secret": "application.rotated_secret",
    "admin.register_address": "application.redirect_uri_registered",
    "admin.replace_address": "application.redirect_uri_replaced",
    "admin.hand_over": "application.offered",
    "admin.settle_misuse": "secret.misuse_settled",
    "admin.accept_networks": "application.networks_accepted",
    "admin.watch_networks": "application.networks_watched",
    "admin.split_application": "application.split",
    "admin.change_scope": "scope.changed",
    "admin.add_secret": "secret.added",
    "admin.change_secret": "secret.renamed",
    "admin.retire_now": "secret.retired",
    "admin.ask_for_itself": "application.tested",
    "admin.approve_trust": "application.trust_approved",
    "admin.refuse_trust": "application.trust_refused",
    "admin.disable_user": "person.disabled",
    "admin.enable_user": "person.enabled",
    "admin.make_user_admin": "person.made_administrator",
    "admin.remove_user_admin": "person.unmade_administrator",
    "admin.reset_user_password": "person.reset_link",
}


def end_others(it: World) -> None:
    it.browser(it.bob)
    it.press("/account/sessions/end-others", it.bob)


def retire_one(it: World) -> None:
    it.run("application", "add-secret", it.wiki.client_id)
    old = min(it.wiki.live_secrets, key=lambda secret: secret.prefix != it.secret[:8])
    it.press(f"{it.page}/secrets/{old.id}/retire")


def stop_trust(it: World) -> None:
    factories.approve_trust(it.wiki)
    it.wiki.change(trusted=True)
    it.trust("stop")


def delete_scope_by_page(it: World) -> None:
    it.run(*NEW_SCOPE)
    it.press("/admin/scopes/wiki:read/delete", confirm_name="wiki:read")


#: The other pages: the event, and what posts to it.
MORE_PAGES = {
    "account.edit_profile": (
        "person.changed",
        lambda it: it.press("/account/profile", it.bob, name="Robert"),
    ),
    "account.end_other_sessions": ("person.signed_out_everywhere", end_others),
    "admin.add_application": (
        "application.added",
        lambda it: it.press(
            "/admin/applications/new",
            name="New",
            owner="bob",
            grants=["client_credentials"],
            scopes=["public"],
            confidential="y",
        ),
    ),
    "admin.delete_application": (
        "application.deleted",
        lambda it: it.press(f"{it.page}/delete", confirm_name="Wiki"),
    ),
    "admin.retire_secret": ("secret.retired", retire_one),
    "admin.add_scope": (
        "scope.added",
        lambda it: it.press(
            "/admin/scopes/new", name="wiki:read", title="Read", description="Read pages."
        ),
    ),
    "admin.delete_scope": ("scope.deleted", delete_scope_by_page),
    "admin.stop_trust": ("application.changed", stop_trust),
    "admin.add_user": (
        "person.added",
        lambda it: it.press(
            "/admin/users/new", username="eve", name="Eve", email="eve@example.org"
        ),
    ),
    "admin.edit_user": (
        "person.changed",
        lambda it: it.press("/admin/users/bob/edit", name="Robert", email="bob@example.org"),
    ),
    "admin.delete_user": (
        "person.deleted",
        lambda it: it.press("/admin/users/tom/delete", confirm_username="tom"),
    ),
}
#: Pages that leave no event of their own, and why.
STEP = "it is a step of a try, whose outcome is told"
SILENT = {
    "account.ask_again": "it gives nothing and takes nothing; the answer is told",
    "account.send_email_link": "it sends a letter; using the link changes the address",
    "account.use_email_link": "tests/account/test_verify_email.py sends and follows the letter",
    "admin.ask_trust": "tests/admin/test_trust.py asks again near the end, and reads the event",
    "admin.preview_application": "it shows the form again, and saves nothing",
    "admin.settle_refusal": "it marks a refusal as read; nobody may do more or less",
    "admin.fill_in_form": "it shows settings to paste, and saves nothing",
    "admin.start_authorization_code": STEP,
    "admin.start_device": STEP,
    "admin.poll": STEP,
    "admin.redeem_code": STEP,
    "admin.refresh": STEP,
    "admin.introspect": STEP,
    "admin.ask_userinfo": STEP,
    "admin.revoke_tokens": STEP,
}
#: Each command that changes something: its event, and how it is called.
COMMANDS = {
    "user create": ("person.added", ["eve", "--email", "eve@example.org"]),
    "user update": ("person.changed", ["bob", "--name", "Robert"]),
    "user disable": ("person.disabled", ["bob"]),
    "user enable": ("person.enabled", ["gone"]),
    "user delete": ("person.deleted", ["tom"]),
    "user set-password": ("person.set_password", ["bob", "--password-stdin"]),
    "user reset-link": ("person.reset_link", ["bob"]),
    "application create": (
        "application.added",
        ["--name", "New", "--owner", "bob", "--grant", "client_credentials", "--scope", "public"],
    ),
    "application update": ("application.changed", ["CLIENT", "--name", "Notes"]),
    "application add-secret": ("secret.added", ["CLIENT"]),
    "application retire-secret": ("secret.scheduled", ["CLIENT", "PREFIX", "--unused-days", "7"]),
    "application rotate-secret": ("application.rotated_secret", ["CLIENT"]),
    "application disable": ("application.disabled", ["CLIENT"]),
    "application enable": ("application.enabled", ["OFF"]),
    "application delete": ("application.deleted", ["CLIENT"]),
    "scope create": ("scope.added", list(NEW_SCOPE[2:])),
    "scope delete": ("scope.deleted", ["old", "--force"]),
    "keys rotate": ("key.rotated", ["all"]),
}
#: Commands with a row in ACTS.
ACTED = {"application import", "setup-link", "demo", "restore", "keys retire"}
#: Commands that leave no event, and why.
SILENT_COMMANDS = {
    "serve": "it serves",
    "db upgrade": "it changes the schema: the log may not be there yet",
    "db copy": "the copy holds the log as it was",
    "assets fetch": "it writes a file",
    "cleanup": "it deletes what has expired; what it does besides is told as the portal's act",
    "backup": "it writes a file",
    "application device-code": "it begins what a person then allows or refuses, which is told",
}
READING = {"list", "show", "verify", "export", "secrets", "health", "doctor", "setup"}


@pytest.fixture
def world(app, flask, tmp_path) -> World:  # noqa: F811
    return World(app, flask, tmp_path)


@contextmanager
def posts_seen(app) -> Iterator[set[str]]:
    """The endpoints that forms are sent to meanwhile."""
    seen: set[str] = set()

    def note(sender, **more) -> None:
        if request.method == "POST" and request.endpoint:
            seen.add(request.endpoint)

    with request_started.connected_to(note, app):
        yield seen


def commands_of(group, before: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, (*before, name))
        else:
            yield " ".join((*before, name))


def test_every_page_that_takes_forms_is_told_of_or_has_its_reason(app):
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in rule.methods]
    pages = {it.endpoint for it in rules if it.rule.startswith(("/admin/", "/account/"))}
    assert pages == {*PAGES, *MORE_PAGES, *SILENT}


def test_every_command_is_told_of_or_has_its_reason(app):
    names = {it for it in commands_of(app.cli) if it.split()[-1] not in READING}
    assert names == {*COMMANDS, *ACTED, *SILENT_COMMANDS}


@pytest.mark.parametrize("page", MORE_PAGES)
def test_the_page_leaves_its_event(world, page):
    event, act = MORE_PAGES[page]
    with posts_seen(world.app) as posted:
        act(world)
    assert page in posted
    assert AuditEvent.select().where(AuditEvent.event == event).exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_leaves_its_event(world, command):
    event, arguments = COMMANDS[command]
    factories.make_scope("old")
    factories.make_user("gone").disable()
    off, _ = make_application(world.bob, name="Off")
    off.disable()
    names = {"CLIENT": world.wiki.client_id, "PREFIX": world.key().prefix, "OFF": off.client_id}
    filled = [names.get(argument, argument) for argument in arguments]
    world.run(*command.split(), *filled, stdin=FRESH)
    assert [(row.event, row.actor) for row in AuditEvent.select()][-1] == (event, COMMAND)


def test_every_event_has_its_act():
    assert set(ACTS) == set(audit.EVENTS)


@pytest.mark.parametrize("event", ACTS)
def test_the_act_leaves_its_event(world, event):
    act, actor, subject, before, after = ACTS[event]
    with posts_seen(world.app) as posted:
        act(world)
    assert posted >= {page for page, told in PAGES.items() if told == event}
    rows = list(AuditEvent.select().where(AuditEvent.event == event))
    assert rows, [row.event for row in AuditEvent.select()]
    row = rows[-1]
    assert (actor, row.subject if subject is ANY else subject) == (row.actor, row.subject)
    for wanted, told in ((before, json.loads(row.before)), (after, json.loads(row.after))):
        for name, value in wanted.items():
            assert name in told
            assert value is ANY or told[name] == value
    with world.app.app_context():
        assert AuditEvent.check(audit.seal_key()).broken == []
    assert world.secret not in row.before + row.after
