"""The software that has a card: what it needs of a registration, and where its text goes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from portal.models.application import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE
from portal.models.signing_key import ALGORITHMS

WEB, LIBRARY, PROXY, COMMAND = "Web application", "Library", "Proxy", "Command line"
#: In the order in which pages group them.
KINDS = (WEB, LIBRARY, PROXY, COMMAND)


class File(NamedTuple):
    """One text of a card: what it is called there, and how its values are written."""

    title: str
    template: str
    #: A key of `formats.FORMATS`.
    format: str


@dataclass(frozen=True)
class Card:
    """One kind of relying application."""

    name: str
    title: str
    kind: str
    files: tuple[File, ...]
    #: A sentence about where the text goes.
    where: str
    #: The path that it is called back at, `{id}` for a name of its own; "" when nobody signs in.
    callback: str = ""
    #: Other paths that it may use instead.
    others: tuple[str, ...] = ()
    #: Whether `callback` is only a custom, and any other path works as well.
    any_path: bool = False
    #: It needs one of these grant flows.
    grants: tuple[str, ...] = (AUTHORIZATION_CODE,)
    needs_secret: bool = False
    #: What it checks ID tokens with as the card sets it up.
    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    #: It insists on an https issuer, also during development.
    needs_https: bool = False
    #: What else its administrators trip over.
    hints: tuple[str, ...] = ()

    @property
    def callback_shown(self) -> str:
        """The callback as the list of cards shows it: `https://…/login/generic_oauth`."""
        return f"https://…{self.callback.replace('{id}', ID)}" if self.callback else ""


#: What a card calls this portal where it may choose the name.
ID = "sso"

CARDS = (
    Card(
        "generic",
        "Any OpenID Connect application",
        LIBRARY,
        (File("Settings", "generic.env", "shell"),),
        "Most libraries need the issuer, the client ID and the secret, and read the rest from the"
        " discovery address. The names are those that libraries use most.",
        callback="/callback",
        any_path=True,
    ),
    Card(
        "grafana",
        "Grafana",
        WEB,
        (File("grafana.ini", "grafana.ini", "ini"),),
        "Put this into /etc/grafana/grafana.ini and restart Grafana.",
        callback="/login/generic_oauth",
        needs_secret=True,
        hints=("People get Grafana’s lowest role at first: set role_attribute_path to change it.",),
    ),
    Card(
        "gitlab",
        "GitLab",
        WEB,
        (File("gitlab.rb", "gitlab.rb", "ruby"),),
        "Put this into /etc/gitlab/gitlab.rb and run gitlab-ctl reconfigure.",
        callback="/users/auth/openid_connect/callback",
        needs_secret=True,
        needs_https=True,
    ),
    Card(
        "nextcloud",
        "Nextcloud",
        WEB,
        (File("Commands", "nextcloud.sh", "shell"),),
        "Run these in Nextcloud’s folder; they install the app “OpenID Connect user backend”.",
        callback="/apps/user_oidc/code",
        others=("/index.php/apps/user_oidc/code",),
        needs_secret=True,
        hints=(
            "Without pretty addresses Nextcloud is called back at /index.php/apps/user_oidc/code:"
            " register that one, or both.",
        ),
    ),
    Card(
        "flask",
        "Flask with Authlib",
        LIBRARY,
        (File("app.py", "flask.py.txt", "python"),),
        "pip install flask authlib requests, and set CLIENT_SECRET in the environment.",
        callback="/callback",
        any_path=True,
    ),
    Card(
        "django",
        "Django with mozilla-django-oidc",
        LIBRARY,
        (
            File("settings.py", "django.py.txt", "python"),
            File("urls.py", "django_urls.py.txt", "python"),
        ),
        "pip install mozilla-django-oidc, and set CLIENT_SECRET in the environment.",
        callback="/oidc/callback/",
        needs_secret=True,
        algorithms=("RS256", "ES256"),
        hints=("Link to {% url 'oidc_authentication_init' %} to sign people in.",),
    ),
    Card(
        "allauth",
        "Django with django-allauth",
        LIBRARY,
        (File("settings.py", "allauth.py.txt", "python"),),
        "pip install 'django-allauth[socialaccount]', and set CLIENT_SECRET in the environment.",
        callback="/accounts/oidc/{id}/login/callback/",
        needs_secret=True,
        hints=("The rest is as in django-allauth’s quickstart: its middleware, backend and URLs.",),
    ),
    Card(
        "express",
        "Express with openid-client",
        LIBRARY,
        (File("app.mjs", "express.mjs", "javascript"),),
        "npm install openid-client@6 express@5 express-session@1, and set CLIENT_SECRET in the"
        " environment.",
        callback="/callback",
        any_path=True,
    ),
    Card(
        "spring",
        "Spring Boot",
        LIBRARY,
        (
            File("application.yml", "spring.yml", "yaml"),
            File("PortalSecurity.java", "spring.java", "javascript"),
        ),
        "Add spring-boot-starter-oauth2-client and spring-boot-starter-web, and set CLIENT_SECRET"
        " in the environment.",
        callback="/login/oauth2/code/{id}",
        algorithms=("RS256",),
        hints=(
            "Spring Boot 4 uses PKCE by itself; PortalSecurity.java makes Spring Boot 3 use it for"
            " a confidential application, too.",
            "To bring people back after they sign out, save an address for that in the"
            " application’s settings; the card then names it.",
        ),
    ),
    Card(
        "aspnet",
        "ASP.NET Core",
        LIBRARY,
        (
            File("appsettings.json", "aspnet.json", "json"),
            File("Program.cs", "aspnet.cs", "javascript"),
        ),
        "dotnet add package Microsoft.AspNetCore.Authentication.OpenIdConnect, and keep the secret"
        " out of the file: dotnet user-secrets set Portal:ClientSecret, or Portal__ClientSecret in"
        " the environment.",
        callback="/signin-oidc",
        any_path=True,
    ),
    Card(
        "oauth2-proxy",
        "oauth2-proxy",
        PROXY,
        (File("oauth2-proxy.cfg", "oauth2-proxy.cfg", "toml"),),
        "Save this as oauth2-proxy.cfg and start oauth2-proxy --config oauth2-proxy.cfg.",
        callback="/oauth2/callback",
        needs_secret=True,
        hints=(
            "Whose e-mail address is not verified gets “500 Internal Server Error” from"
            " oauth2-proxy after they have signed in. People verify theirs under Profile, once"
            " Portal can send mail (PORTAL_SMTP_URL). Or do not tick the scope email:"
            " oauth2-proxy then knows people by their account number.",
        ),
    ),
    Card(
        "apache",
        "Apache with mod_auth_openidc",
        PROXY,
        (File("openidc.conf", "apache.conf", "apache"),),
        "Install libapache2-mod-auth-openidc, put this into the virtual host, and reload Apache.",
        callback="/protected/redirect_uri",
        any_path=True,
        hints=(
            "The redirect URI is a path inside the protected place that has no page of its own.",
        ),
    ),
    Card(
        "curl",
        "curl",
        COMMAND,
        (File("Commands", "curl.sh", "shell"),),
        "Paste this into a shell, with the secret in its place.",
        grants=(CLIENT_CREDENTIALS, DEVICE_CODE),
    ),
)

_BY_NAME = {card.name: card for card in CARDS}


def card_for(grants: Iterable[str], name: str | None) -> Card | None:
    """The card with this name; without a name the first one for one of these grant flows."""
    if name is not None:
        return card_named(name)
    return next((card for card in CARDS if set(card.grants) & set(grants)), CARDS[0])


def card_named(name: str) -> Card | None:
    """The card with this name, as its address and the command spell it."""
    return _BY_NAME.get(name)
