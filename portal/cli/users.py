"""`user …` and `setup-link`: people from the command line."""

import sys

import click
from peewee import IntegrityError

from portal import approval, audit, handover
from portal.cli.command import (
    BadInput,
    Group,
    command,
    current_settings,
    note,
    print_facts,
    print_json,
    print_json_rows,
    print_table,
)
from portal.database import transaction
from portal.handover import CannotInherit
from portal.models import OneTimeLink, User
from portal.models.one_time_link import RESET_SECONDS, SETUP_SECONDS
from portal.models.user import (
    MINIMUM_PASSWORD,
    email_problem,
    name_problem,
    password_problem,
    username_problem,
)
from portal.text import ago, iso, lasting, plural

#: At the shell an administrator may set what the pages would refuse, but nothing shorter.
SHORTEST_PASSWORD = 8
ADDRESS_TAKEN = "Somebody else has this e-mail address: use another one."

user = Group("user", help="People who sign in.")

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input (one line)."
)


@command("create", user)
@click.argument("name")
@click.option("--email", required=True, help="Where to reach them; unique.")
@click.option("--name", "full_name", default="", help='As others see it: "Ada Lovelace".')
@click.option("--admin", is_flag=True, help="May administer this portal.")
@password_option
def create(
    name: str, email: str, full_name: str, admin: bool, password_stdin: bool, as_json: bool
) -> None:
    """Add a person. Without --password-stdin, print a link that lets them choose a password."""
    wrong = username_problem(name) or email_problem(email) or name_problem(full_name)
    if wrong:
        raise BadInput(wrong)
    password = _password(name, email) if password_stdin else None
    try:
        with transaction():
            made = User.register(name, email, name=full_name, password=password, is_admin=admin)
            audit.added(made)
            link = None if password else _reset_link(made)
    except IntegrityError:
        raise BadInput(_taken(name)) from None
    if as_json:
        print_json({**as_dict(made), "password_link": link})
    else:
        click.echo(f"{made.username} can sign in." if password else f"{made.username} is added.")
        if link:
            click.echo(f"They choose a password here (once, {lasting(RESET_SECONDS)}): {link}")


@command("list", user)
def list_users(as_json: bool) -> None:
    """Everybody, by username."""
    people = User.select().order_by(User.username_key).iterator()
    if as_json:
        print_json_rows(as_dict(person) for person in people)
    else:
        print_table(
            ("Username", "Name", "E-mail", "Role", "State", "Last sign-in"),
            [
                (
                    person.username,
                    person.name,
                    person.email,
                    "Administrator" if person.is_admin else "",
                    "" if person.is_active else "Disabled",
                    ago(person.last_sign_in_at),
                )
                for person in people
            ],
        )


@command("show", user)
@click.argument("name")
def show(name: str, as_json: bool) -> None:
    """One person."""
    facts = as_dict(person_named(name))
    if as_json:
        print_json(facts)
    else:
        print_facts(str(facts["username"]), [(key, _word(value)) for key, value in facts.items()])


@command("update", user)
@click.argument("name")
@click.option("--email", help="The new e-mail address; it is not verified.")
@click.option("--name", "full_name", help="The new full name.")
@click.option("--email-verified", is_flag=True, help="The address is known to be theirs.")
def update(
    name: str, email: str | None, full_name: str | None, email_verified: bool, as_json: bool
) -> None:
    """Change a person's e-mail address or full name; the username stays."""
    person = person_named(name)
    if email is None and full_name is None and not email_verified:
        raise BadInput("Say what to change: --email, --name or --email-verified.")
    wrong = None if email is None else email_problem(email.strip())
    wrong = wrong or name_problem(full_name or "")
    if wrong:
        raise BadInput(wrong)
    other = User.named(email) if email else None
    if other is not None and other.id != person.id:
        raise BadInput(ADDRESS_TAKEN)
    try:
        with audit.changing("person.changed", person):
            person.change_profile(name=full_name, email=email, email_verified=email_verified)
    except IntegrityError:
        raise BadInput(ADDRESS_TAKEN) from None
    _done(person, f"{person.username} is changed.", as_json)


@command("disable", user)
@click.argument("name")
@click.option("--heir", help="Who is asked to take over the applications that they own.")
def disable(name: str, heir: str | None, as_json: bool) -> None:
    """Stop a person: no sign-in, and everything issued from them is dead at once.

    With --heir their applications are offered to somebody, who accepts or declines on the pages.
    """
    person = person_named(name)
    successor = _heir(person, heir)
    offered = 0
    with audit.many():
        _refuse_last_administrator(person)
        _hold(person, successor)
        rows = list(person.applications)
        with audit.changing("person.disabled", person):
            person.disable()
        if successor:
            offered = handover.offer(rows, successor)
    told = f"{person.username} is disabled."
    if successor:
        handover.tell(current_settings(), person, successor, offered)
        told += f" {plural(offered, 'application')} newly offered to {successor.username}."
    elif rows:
        note(
            f"{person.username} still owns {plural(len(rows), 'application')}: offer what they own"
            f" with user disable {person.username} --heir NAME."
        )
    _done(person, told, as_json)


@command("enable", user)
@click.argument("name")
def enable(name: str, as_json: bool) -> None:
    """Let a person sign in again; what was ended stays ended."""
    person = person_named(name)
    with audit.changing("person.enabled", person):
        person.enable()
    _done(person, f"{person.username} can sign in again.", as_json)


@command("delete", user)
@click.argument("name")
@click.option("--heir", help="Who becomes the owner of their applications.")
def delete(name: str, heir: str | None, as_json: bool) -> None:
    """Delete a person and everything issued from them."""
    person = person_named(name)
    successor = _heir(person, heir)
    with audit.many():
        _refuse_last_administrator(person)
        _hold(person, successor)
        try:
            theirs = list(person.applications)
            passed = {"new_owner": successor.username} if successor else None
            with audit.deleting(person, after=passed):
                person.remove(successor)
            for application in theirs:
                approval.follow(application)
        except ValueError as error:
            raise BadInput(f"{str(error).rstrip('.')} (--heir NAME).") from None
    if as_json:
        print_json({"username": person.username, "deleted": True})
    else:
        click.echo(f"{person.username} is deleted.")


@command("set-password", user)
@click.argument("name")
@password_option
def set_password(name: str, password_stdin: bool, as_json: bool) -> None:
    """Set a person's password."""
    person = person_named(name)
    if not password_stdin:
        raise BadInput(
            "Give the password on standard input with --password-stdin, or make a link with"
            f" user reset-link {person.username}."
        )
    password = _password(person.username, person.email)
    with transaction():
        person.set_password(password)
        audit.record("person.set_password", person=person)
    _done(person, f"The password of {person.username} is set.", as_json)


@command("reset-link", user)
@click.argument("name")
def reset_link(name: str, as_json: bool) -> None:
    """A link that lets a person choose a new password, once."""
    person = person_named(name)
    if not person.is_active:
        raise BadInput(f"{person.username} is disabled: run user enable {person.username} first.")
    with transaction():
        link = _reset_link(person)
        audit.record("person.reset_link", person=person)
    _print_link(link, RESET_SECONDS, as_json)


@command("setup-link")
def setup_link(as_json: bool) -> None:
    """A new link that makes the first administrator, once."""
    if User.administrators():
        raise BadInput(
            "There is an administrator already: use user reset-link NAME for a new password, or"
            " user create NAME --admin for another one."
        )
    with transaction():
        link = make_setup_link(current_settings().issuer)
        audit.record("portal.setup_link")
    _print_link(link, SETUP_SECONDS, as_json)


def make_setup_link(issuer: str) -> str:
    """The address that makes the first administrator; the former one stops working."""
    return f"{issuer}/setup/{OneTimeLink.make()}"


def person_named(text: str) -> User:
    """The person with this username or e-mail address; BadInput when there is none."""
    person = User.named(text)
    if person is None:
        raise BadInput(f"There is nobody called {text!r}: user list shows everybody.")
    return person


def as_dict(person: User) -> dict[str, object]:
    """A person as JSON shows them."""
    return {
        "username": person.username,
        "email": person.email,
        "email_verified": person.email_verified_at is not None,
        "name": person.name,
        "is_admin": person.is_admin,
        "disabled": not person.is_active,
        "sub": person.sub,
        "created_at": iso(person.created_at),
        "last_sign_in_at": iso(person.last_sign_in_at) if person.last_sign_in_at else None,
    }


def _heir(person: User, name: str | None) -> User | None:
    successor = person_named(name) if name else None
    if successor and successor.id == person.id:
        raise BadInput(f"{person.username} cannot be their own heir: name another person.")
    if successor and not successor.is_active:
        raise BadInput(f"{successor.username} is disabled: name another heir.")
    return successor


def _hold(person: User, successor: User | None) -> None:
    """Both stay as they are until the transaction ends."""
    try:
        if successor:
            handover.hold(person, successor)
    except CannotInherit as error:  # since they were looked up
        raise BadInput(str(error)) from None


def _reset_link(person: User) -> str:
    return f"{current_settings().issuer}/reset/{OneTimeLink.make(person)}"


def _print_link(address: str, seconds: int, as_json: bool) -> None:
    if as_json:
        print_json({"url": address, "expires_in": seconds})
    else:
        click.echo(f"{address}   (once, {lasting(seconds)})")


def _password(*own_names: str) -> str:
    """The password on standard input, without its line break."""
    try:
        text = sys.stdin.buffer.read(8192).decode()
    except UnicodeDecodeError:
        raise BadInput("The password must be UTF-8 text.") from None
    password = text.removesuffix("\n").removesuffix("\r")
    if len(password) < SHORTEST_PASSWORD:
        raise BadInput(
            f"The password on standard input is too short: use at least {MINIMUM_PASSWORD}"
            " characters."
        )
    if "\n" in password or "\r" in password:
        raise BadInput("Give one line on standard input: the password.")
    wrong = password_problem(password, *own_names)
    if wrong and len(password) >= MINIMUM_PASSWORD:
        raise BadInput(wrong)
    if wrong:
        note(f"Warning: the password is weak. {wrong}")
    return password


def _taken(name: str) -> str:
    if User.with_username(name):
        return f"The username {name} is taken: choose another one."
    return ADDRESS_TAKEN


def _refuse_last_administrator(person: User) -> None:
    """Ask inside the transaction that takes the person away."""
    if person.is_last_administrator():
        raise BadInput(
            f"{person.username} is the last administrator: make another one first (Admin > People,"
            " or user create NAME --admin)."
        )


def _done(person: User, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(User.get_by_id(person.id)))
    else:
        click.echo(sentence)


def _word(value: object) -> object:
    return {True: "yes", False: "no", None: "never"}.get(value, value)  # type: ignore[call-overload]
