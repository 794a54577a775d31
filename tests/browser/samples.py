"""A portal as it looks in an organisation: for the pictures, and for pages full of rows."""

from portal.clock import now
from portal.models import (
    Application,
    ApplicationSecret,
    Consent,
    DeviceCode,
    MisusedSecret,
    OneTimeLink,
    Refusal,
    Scope,
    SecretNetwork,
    Session,
    TokenFamily,
    Trust,
    Usage,
    User,
)
from portal.models.application import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
)
from portal.models.usage import FLOW, REDIRECT_URI, SCOPE, today
from portal.oauth.refusals import REDIRECT_URI_MISMATCH, SECRET_OF_ANOTHER, SECRET_RETIRED
from tests.factories import approve_trust, make_user

MINUTE, HOUR, DAY = 60, 3600, 86400
SIGN_IN = [AUTHORIZATION_CODE, REFRESH_TOKEN]
HR = "c_8Vn1Kcb6jTy3Lp7ZsE9fd6Jy"
WIKI = "c_3Du4Pqd8mZc7Fh6WtB5lr7Kc"
REPORTS = "c_7Qm2Lrg9vKx4Hn8PbW3dx9Fd"
SURVEY = "c_4Hc5Nsg2gYq8Wd6RzK1mw3Tb"
LOBBY = "c_5Wt3Jvb7hPx1Mf9QaD4kk8Ge"
INVOICES = "c_2Zx7Hbc4kRv9Gs1YwN8cm4Qa"
CALLBACK = "https://reports.example.org/callback"
WRONG_CALLBACK = "https://reports.example.org/callback/"

PEOPLE = (
    # username, full name, administrator
    ("priya", "Priya Nair", True),
    ("tom", "Tom Okafor", True),
    ("sam", "Sam Rivers", False),
    ("platform", "Platform team", False),
    ("hr", "People team", False),
    ("finance", "Finance systems", False),
    ("facilities", "Facilities", False),
)
SCOPES = (
    ("reports:read", "Read your reports", "View every report you can view.", False),
    ("reports:write", "Change your reports", "Create, edit and delete reports as you.", True),
    ("rooms:book", "Book rooms", "Reserve rooms in your name.", False),
)
#: name, client ID, owner, grants, scopes, used so many seconds ago, and what is unusual
APPLICATIONS = (
    (
        "Acme Reports",
        REPORTS,
        "priya",
        [*SIGN_IN, DEVICE_CODE],
        ["openid", "profile", "email", "reports:read", "reports:write"],
        4 * MINUTE,
        {"redirect_uris": [CALLBACK]},
    ),
    (
        "Backup Agent",
        "c_1Rk8Dza3nVw6Jt5XqL2hp0Ls",
        "platform",
        [CLIENT_CREDENTIALS],
        ["reports:read"],
        HOUR,
        {},
    ),
    (
        "Field Survey",
        SURVEY,
        "tom",
        SIGN_IN,
        ["openid", "profile"],
        2 * DAY,
        {"redirect_uris": ["https://survey.example.org/signed-in"]},
    ),
    (
        "HR Connect",
        HR,
        "hr",
        SIGN_IN,
        ["openid", "profile", "email"],
        DAY + HOUR,
        {
            "redirect_uris": ["https://hr.example.org/oauth/callback"],
            "trusted": True,
            "trust_reason": "The organisation runs it itself.",
        },
    ),
    (
        "Invoice Bot",
        INVOICES,
        "finance",
        [CLIENT_CREDENTIALS],
        ["reports:read", "reports:write"],
        DAY + 5 * HOUR,
        {},
    ),
    (
        "Lobby Display",
        LOBBY,
        "facilities",
        [DEVICE_CODE, REFRESH_TOKEN],
        ["profile", "rooms:book"],
        3 * DAY,
        {"confidential": False},
    ),
    (
        "Room Booking CLI",
        "c_9Yp6Txa1dSn5Bk2VrJ7gs2Hn",
        "tom",
        [DEVICE_CODE, REFRESH_TOKEN],
        ["openid", "rooms:book"],
        None,
        {"confidential": False},
    ),
    (
        "Wiki",
        WIKI,
        "platform",
        SIGN_IN,
        ["openid", "profile", "email"],
        2 * MINUTE,
        {
            "redirect_uris": ["https://wiki.example.org/callback"],
            "trusted": True,
            "trust_reason": "The organisation runs it itself.",
        },
    ),
)


def add_grafana() -> str:
    """An application whose set-up card fits; returns its client ID."""
    application, _ = Application.register(
        name="Dashboards",
        owner=User.named("platform"),
        client_id="c_6Gf9Rna2dLp5Yx7VtC3wq1Zs",
        grants=SIGN_IN,
        redirect_uris=["https://grafana.example.org/login/generic_oauth"],
        scopes=["openid", "profile", "email"],
    )
    return application.client_id


def add_people_and_applications() -> None:
    """Call it inside `PortalServer.models()`."""
    people = {
        username: make_user(username, name=name, is_admin=is_admin)
        for username, name, is_admin in PEOPLE
    }
    User.update(last_sign_in_at=now() - 2 * DAY).where(User.username_key != "hr").execute()
    for name, title, description, sensitive in SCOPES:
        Scope.register(name, title, description, sensitive)
    for name, client_id, owner, grants, scopes, used, unusual in APPLICATIONS:
        application, _ = Application.register(
            name=name,
            client_id=client_id,
            owner=people[owner],
            grants=grants,
            scopes=scopes,
            **unusual,
        )
        if application.trusted:
            approve_trust(application)
        Application.update(
            created_at=now() - 40 * DAY, last_used_at=now() - used if used is not None else 0
        ).where(Application.id == application.id).execute()
        ApplicationSecret.update(
            created_at=now() - 40 * DAY, last_used_at=now() - used if used is not None else None
        ).where(ApplicationSecret.application == application.id).execute()
    _add_refusals()


def _add_refusals() -> None:
    reports, survey = (Application.with_client_id(it) for it in (REPORTS, SURVEY))
    for _ in range(12):
        Refusal.note(
            survey.id, REDIRECT_URI_MISMATCH.code, "https://survey.example.org/signed-in/v2"
        )
    Refusal.note(reports.id, SECRET_RETIRED.code)
    Refusal.update(first_at=now() - 3 * DAY, last_at=now() - DAY - HOUR).where(
        Refusal.application_id == reports.id
    ).execute()


def note_wrong_callback() -> None:
    """Acme Reports has been sending an address with a slash too many."""
    reports = Application.with_client_id(REPORTS)
    for _ in range(3):
        Refusal.note(reports.id, REDIRECT_URI_MISMATCH.code, WRONG_CALLBACK)


def note_refusal(detail: str, reason: str = REDIRECT_URI_MISMATCH.code) -> Refusal:
    """One of Acme Reports."""
    reports = Application.with_client_id(REPORTS)
    found = Refusal.with_reference(Refusal.note(reports.id, reason, detail))
    assert found
    return found


def add_second_secret(client_id: str = REPORTS) -> int:
    """It gets another secret, and the old one is still used. Returns the old one's id."""
    reports = Application.with_client_id(client_id)
    reports.change_secret(reports.live_secrets[0].id, name="Web servers, since the spring")
    reports.add_secret("Web servers, from December on")
    new, old, *_ = reports.live_secrets
    used = ApplicationSecret.update(last_used_at=now() - 3 * HOUR, last_used_from="203.0.113.0/24")
    used.where(ApplicationSecret.id == old.id).execute()
    used = ApplicationSecret.update(last_used_at=now() - MINUTE, last_used_from="2001:db8:7::/48")
    used.where(ApplicationSecret.id == new.id).execute()
    return old.id


def reuse_secrets() -> None:
    """Invoice Bot's secret is used from three networks, and was sent for Field Survey."""
    invoices, survey = (Application.with_client_id(it) for it in (INVOICES, SURVEY))
    secret = invoices.live_secrets[-1]
    for network, version, returns, first, last in (
        ("203.0.113.0/24", 4, 40, 90 * DAY, MINUTE),
        ("198.51.100.0/24", 4, 36, 2 * DAY, 3 * MINUTE),
        ("192.0.2.0/24", 4, 0, 60 * DAY, 30 * DAY),
        ("2001:db8:7::/48", 6, 0, 60 * DAY, 5 * MINUTE),
    ):
        SecretNetwork.create(
            secret=secret,
            network=network,
            version=version,
            returns=returns,
            first_at=now() - first,
            last_at=now() - last,
        )
    used = ApplicationSecret.update(last_used_at=now() - MINUTE, last_used_from="203.0.113.0/24")
    used.where(ApplicationSecret.id == secret.id).execute()
    Application.update(last_used_at=now() - MINUTE).where(Application.id == invoices.id).execute()
    for _ in range(12):
        Refusal.note(survey.id, SECRET_OF_ANOTHER.code, INVOICES)
    MisusedSecret.create(
        secret=secret,
        named_id=survey.id,
        network="192.0.2.0/24",
        count=12,
        first_at=now() - DAY,
        last_at=now() - 3 * MINUTE,
    )


def let_trust_wait() -> None:
    """Tom changed the Wiki that was trusted; HR Connect's trust ends in 12 days."""
    wiki, tom = Application.with_client_id(WIKI), User.named("tom")
    wiki.change(
        redirect_uris=[*wiki.redirect_uris, "https://wiki.example.com/callback"],
        scopes=["openid", "profile", "email", "reports:read"],
    )
    Trust.keep(
        wiki.id,
        approved_at=now() - 200 * DAY,
        approved_by="priya",
        approved_owner="platform",
        asked_at=now() - 3 * HOUR,
        asker_ids=[str(tom.id)],
        asked_by="tom",
        asked_until=wiki.trust_ends_at,
        asked_subject=wiki.trust_subject,
    )
    Application.with_client_id(HR).change(trust_ends_at=now() + 12 * DAY + HOUR)


def add_more_applications(count: int) -> None:
    """Rows enough for several pages."""
    owner = User.named("platform")
    for number in range(1, count + 1):
        Application.register(
            name=f"Sensor {number:02}", owner=owner, grants=[CLIENT_CREDENTIALS], scopes=["public"]
        )


def connect_people(client_id: str, count: int) -> None:
    """So many people have allowed this application something."""
    application = Application.with_client_id(client_id)
    for number in range(1, count + 1):
        Consent.create(user_id=number, application_id=application.id, scopes=["openid"])


def note_usage(client_id: str, sign_ins: int) -> None:
    """So many people signed in to this application today, and gave it all of its scopes."""
    application = Application.with_client_id(client_id)
    Consent.update(scopes=application.scopes).where(
        Consent.application_id == application.id
    ).execute()
    used = [(FLOW, AUTHORIZATION_CODE), *((SCOPE, name) for name in application.scopes)]
    for kind, value in [*used, *((REDIRECT_URI, uri) for uri in application.redirect_uris)]:
        row = {"application_id": application.id, "day": today(), "kind": kind, "value": value}
        Usage.create(**row, count=sign_ins)


def connect(username: str, client_id: str, scopes: list[str]) -> None:
    """This person has allowed it these scopes."""
    application = Application.with_client_id(client_id)
    Consent.give(User.named(username).id, application.id, scopes, scopes)


def sign_out(username: str, client_id: str, verdict: str, network: str) -> None:
    """An old refresh token ended this person's connection a while ago, after twelve refreshes."""
    application, home, last = Application.with_client_id(client_id), "198.51.100.0/24", now() - HOUR
    TokenFamily.create(
        application_id=application.id,
        user_id=User.named(username).id,
        epoch=application.epoch,
        scopes=["openid"],
        rotations=12,
        auth_time=now() - DAY,
        created_at=now() - DAY,
        expires_at=now() + DAY,
        history=[f"code@{home}", *(f"{last - step * HOUR}@{home}" for step in range(9, -1, -1))],
        ended_at=last + 2 * MINUTE,
        ended_reason="refresh_reused",
        ended_verdict=verdict,
        ended_from=network,
        ended_late=2 * MINUTE,
    )


def password_link(username: str) -> str:
    """The secret part of a link with which this person sets a password."""
    return OneTimeLink.make(User.named(username))


def end_sessions(username: str) -> None:
    """Sign this person out everywhere."""
    Session.end(User.named(username).id)


def start_device(client_id: str, scopes: list[str], user_code: str | None = None) -> str:
    """A device waits for a decision; returns the code that it shows."""
    application = Application.with_client_id(client_id)
    row, _ = DeviceCode.start(application.id, application.epoch, scopes, 600)
    if user_code:
        row.user_code = user_code
        DeviceCode.update(user_code=user_code).where(DeviceCode.id == row.id).execute()
    return row.shown_code


def note_long_addresses() -> None:
    """Acme Reports has more addresses, as long as such are, and everything to lose."""
    reports = Application.with_client_id(REPORTS)
    long = "https://reports.europe-west.internal.example.org/" + "single-sign-on/" * 8
    reports.change(
        redirect_uris=[*reports.redirect_uris, f"{long}callback", f"{long}callback?tenant=north"],
        post_logout_redirect_uris=[f"{long}signed-out"],
        backchannel_logout_uri=f"{long}back-channel-logout",
    )


def let_asker_go() -> None:
    """Somebody who is deleted asked to trust HR Connect."""
    hr = Application.with_client_id(HR)
    hr.change(redirect_uris=[*hr.redirect_uris, "https://hr.example.com/callback"])
    fields = {"asked_by": "walter", "asker_ids": ["1"], "asked_until": hr.trust_ends_at}
    Trust.keep(hr.id, asked_at=now() - 5 * DAY, asked_subject=hr.trust_subject, **fields)


def let_many_wait(count: int) -> list[Application]:
    """So many more applications wait for approval."""
    tom, made = User.named("tom"), []
    for number in range(1, count + 1):
        it, _ = Application.register(
            name=f"Kiosk {number:02}",
            owner=tom,
            grants=SIGN_IN,
            redirect_uris=[f"https://kiosk{number}.example.org/callback"],
            scopes=["openid"],
            trusted=True,
        )
        fields = {"asked_by": "tom", "asker_ids": [str(tom.id)], "asked_until": now() + 300 * DAY}
        Trust.keep(it.id, asked_at=now() - HOUR + number, asked_subject=it.trust_subject, **fields)
        made.append(it)
    return made


def add_somebody_who_leaves() -> None:
    """Nora owns four applications; Ben could take them over."""
    nora = make_user("nora", name="Nora Lindqvist")
    make_user("ben", name="Ben Ito")
    for name, used in (
        ("Payroll sync", HOUR),
        ("Canteen menu", DAY),
        ("Timesheets", 2 * MINUTE),
        ("Warehouse returns", 3 * DAY),
    ):
        it, _ = Application.register(
            name=name, owner=nora, grants=[CLIENT_CREDENTIALS], scopes=["public"]
        )
        Application.update(last_used_at=now() - used).where(Application.id == it.id).execute()


def remove_somebody_who_leaves() -> None:
    for username in ("nora", "ben"):
        person = User.named(username)
        for it in person.applications:
            it.remove()
        person.remove()
