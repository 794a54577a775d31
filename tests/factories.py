"""Make people and applications; fill in what a test does not care about."""

from flask.testing import FlaskClient

from portal.credentials import hash_password
from portal.models import TABLES, Application, Scope, User
from portal.models.application import AUTHORIZATION_CODE, REFRESH_TOKEN

PASSWORD = "correct horse battery"
# Argon2 is slow on purpose; one hash serves every person of the suite.
_HASH = hash_password(PASSWORD)
REDIRECT_URI = "https://app.example.org/callback"


def empty_tables() -> None:
    for table in reversed(TABLES):
        table.delete().execute()


def make_user(username: str = "dora", **fields) -> User:
    fields.setdefault("name", username.title())
    user = User.register(username, fields.pop("email", f"{username}@example.org"), **fields)
    User.update(password_hash=_HASH).where(User.id == user.id).execute()
    return User.get_by_id(user.id)


def make_application(owner: User | None = None, **fields) -> tuple[Application, str | None]:
    """An application and its secret; by default one that signs people in."""
    owner = owner or User.named("owner") or make_user("owner")
    fields.setdefault("name", "Acme Reports")
    fields.setdefault("grants", [AUTHORIZATION_CODE, REFRESH_TOKEN])
    fields.setdefault("redirect_uris", [REDIRECT_URI])
    fields.setdefault("scopes", ["openid", "profile", "email"])
    return Application.register(owner=owner, **fields)


def make_scope(name: str = "reports:read", **fields) -> Scope:
    fields.setdefault("title", "Read your reports")
    fields.setdefault("description", "View every report you can view.")
    return Scope.register(name, **fields)


def sign_in(client: FlaskClient, user: User) -> FlaskClient:
    """Sign in without the page, the way the page does it."""
    user.start_session("127.0.0.1", "test")
    with client.session_transaction() as session:
        session["_user_id"] = user.cookie
        session["_fresh"] = True
    return client


def csrf_token(client: FlaskClient, path: str) -> str:
    """The CSRF token of a page's form."""
    text = client.get(path).get_data(as_text=True)
    return text.split('name="csrf_token"', 1)[1].split('value="', 1)[1].split('"', 1)[0]


def post(client: FlaskClient, path: str, data: dict | None = None, page: str | None = None, **more):
    """Post a form as a browser does: with the token of the page that holds it."""
    token = csrf_token(client, page or path)
    return client.post(path, data={"csrf_token": token, **(data or {})}, **more)
