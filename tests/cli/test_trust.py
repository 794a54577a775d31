"""What the command line marks as trusted counts as approved by the operator, for a time."""

import json

from portal import approval, trust
from portal.clock import now
from portal.models import Application, AuditEvent, Trust
from tests.factories import approve_trust, make_application, make_user

DAY = 86400


def events() -> list[tuple[str, str]]:
    rows = AuditEvent.select().order_by(AuditEvent.id)
    return [(row.event, row.actor) for row in rows if ".trust" in row.event]


def create(flask, *more):
    return flask(
        *("application", "create", "--name", "Wiki", "--owner", "alice"),
        *("--grant", "authorization_code", "--redirect-uri", "https://wiki.example.org/cb"),
        *("--json", *more),
    )


def test_marking_is_approving_for_a_year(flask, alice):
    make_user("tom", is_admin=True)
    answer = create(flask, "--trusted").json
    assert answer["skips_consent"] is True
    assert answer["trust_until"] == trust.day(trust.usual_end())
    assert events() == [
        ("application.trust_asked", "command line"),
        ("application.trust_approved", "command line"),
    ]
    shown = flask("application", "show", answer["client_id"]).out
    assert "people are not asked" in shown


def test_the_end_may_be_chosen_within_two_years(flask, alice):
    day = trust.day(now() + 90 * DAY)
    assert create(flask, "--trusted", "--trust-until", day).json["trust_until"] == day
    for wrong, words in (
        (trust.day(now() + 740 * DAY), "within two years"),
        ("2020-01-01", "later day"),
        ("soon", "is no day"),
    ):
        assert words in create(flask, "--trusted", "--trust-until", wrong).complaint
    assert "add --trusted" in create(flask, "--trust-until", day).complaint


def test_a_change_without_the_mark_waits_for_an_administrator(flask, alice):
    application, _ = make_application(alice, trusted=True)
    change = ("application", "update", application.client_id, "--json")
    answer = flask(*change, "--redirect-uri", "https://other.example.org/cb")
    assert answer.json["skips_consent"] is False
    assert "--trusted approves it" in answer.err
    assert Trust.of(application.id).waits
    assert flask(*change, "--trusted").json["skips_consent"] is True


def test_a_change_of_something_else_approves_nothing_that_waits(app, flask, alice):
    application, _ = make_application(alice, trusted=True)
    application.change(scopes=["openid"])
    with app.app_context():
        approval.follow(application)
    assert Trust.of(application.id).waits
    flask("application", "update", application.client_id, "--name", "Other", "--json")
    assert not Application.get().skips_consent


def test_an_import_approves_what_it_marks_and_does_not_renew_by_itself(flask, alice):
    make_application(alice, trusted=True)
    text = flask("application", "export", "--json").out
    assert json.loads(text)["applications"][0]["trust_until"] == trust.day(
        Application.get().trust_ends_at
    )
    again = flask("application", "import", "-", "--json", stdin=text).json["applications"][0]
    assert again["action"] == "unchanged"
    text = text.replace("/callback", "/callback2")
    changed = flask("application", "import", "-", "--json", stdin=text).json["applications"][0]
    assert changed["action"] == "updated"
    assert Application.get().skips_consent
    assert events()[-1] == ("application.trust_approved", "command line")


def test_a_day_in_a_file_need_no_quotes(flask, alice):
    day = trust.day(now() + 90 * DAY)
    text = (
        "- {client_id: wiki, name: Wiki, owner: alice, grants: [device_code], trusted: true,"
        f" trust_until: {day}}}\n"
    )
    flask("application", "import", "-", stdin=text)
    row = Application.get()
    assert (row.skips_consent, trust.day(row.trust_ends_at)) == (True, day)


def test_an_untrusted_application_forgets_what_was_approved(flask, alice):
    application, _ = make_application(alice)
    approve_trust(application)
    change = ("application", "update", application.client_id, "--json")
    assert flask(*change, "--untrusted").json["trust_until"] is None
    assert not Application.get().skips_consent
