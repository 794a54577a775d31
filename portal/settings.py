"""Every setting: name, type, default and meaning. An unknown name stops the start."""

import difflib
import fcntl
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from email.utils import parseaddr
from pathlib import Path
from urllib.parse import urlsplit

from portal.letters import is_whole

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
#: Names that the test suite reads; the server leaves them alone.
TEST_PREFIX = "PORTAL_TEST_"
MAY_BE_ZERO = {
    "PORTAL_PROXY_HOPS",
    "PORTAL_REFRESH_RETRY_SECONDS",
    "PORTAL_SWEEP_SECONDS",
}
#: On or off.
SWITCHES = {"PORTAL_PRIVATE_LOGOUT_URIS", "PORTAL_ACCESS_LOG"}
LOG_LEVELS = ("debug", "info", "warning", "error")
SENDER = re.compile(r"[!-?A-~]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
DAY = 24 * 60 * 60
TEN_YEARS = 3650 * DAY
#: What a thief may find must not live long: codes (RFC 6749 §4.1.2), device codes, retries.
MOST_SECONDS = {
    "PORTAL_CODE_SECONDS": 600,
    "PORTAL_DEVICE_CODE_SECONDS": DAY,
    "PORTAL_REFRESH_RETRY_SECONDS": DAY,
}


class SettingError(Exception):
    """A setting that cannot be used; the text is one line that says what to change."""


def _setting(env: str, default: object, meaning: str, secret: bool = False):  # type: ignore[no-untyped-def]
    return field(default=default, metadata={"env": env, "meaning": meaning, "secret": secret})


@dataclass(frozen=True)
class Settings:
    """The settings of one portal, read once at the start."""

    issuer: str = _setting(
        "PORTAL_ISSUER", "", "the public base address; http://localhost:$PORT by default"
    )
    database_url: str = _setting(
        "DATABASE_URL", "", "sqlite:///path or postgresql://…; instance/portal.db by default", True
    )
    port: int = _setting("PORT", 8000, "the port that the server listens on")
    secret_key: str = _setting(
        "PORTAL_SECRET_KEY", "", "signs cookies; made once and kept in instance/ if absent", True
    )
    proxy_hops: int = _setting("PORTAL_PROXY_HOPS", 0, "how many reverse proxies to believe")
    code_seconds: int = _setting("PORTAL_CODE_SECONDS", 60, "how long a code lives")
    access_token_seconds: int = _setting(
        "PORTAL_ACCESS_TOKEN_SECONDS", 900, "how long an access token lives"
    )
    refresh_token_seconds: int = _setting(
        "PORTAL_REFRESH_TOKEN_SECONDS", 30 * DAY, "how long an unused refresh token lives"
    )
    device_code_seconds: int = _setting(
        "PORTAL_DEVICE_CODE_SECONDS", 600, "how long a device code lives"
    )
    refresh_retry_seconds: int = _setting(
        "PORTAL_REFRESH_RETRY_SECONDS", 10, "how long a used refresh token gets the same answer"
    )
    private_logout_uris: int = _setting(
        "PORTAL_PRIVATE_LOGOUT_URIS",
        0,
        "1: applications on private addresses may be told that a person signed out",
    )
    sweep_seconds: int = _setting(
        "PORTAL_SWEEP_SECONDS", 60, "how often serve deletes what has expired; 0: never"
    )
    smtp_url: str = _setting(
        "PORTAL_SMTP_URL",
        "",
        "the mail server: smtp://… (STARTTLS) or smtps://…; no mail without",
        True,
    )
    mail_from: str = _setting("PORTAL_MAIL_FROM", "", "the sender of the mails")
    htmx: str = _setting("PORTAL_HTMX", "cdn", "where pages load htmx from: cdn, local or off")
    log: str = _setting("PORTAL_LOG", "text", "how log lines look: text or json")
    log_level: str = _setting(
        "PORTAL_LOG_LEVEL", "info", "the least that is logged: debug, info, warning or error"
    )
    access_log: int = _setting("PORTAL_ACCESS_LOG", 0, "1: a log line for each request")
    metrics_token: str = _setting(
        "PORTAL_METRICS_TOKEN", "", "what Prometheus must send to read /metrics; off without", True
    )
    instance: Path = field(default=Path("instance"))

    @property
    def sends_mail(self) -> bool:
        return bool(self.smtp_url)

    @property
    def is_https(self) -> bool:
        return self.issuer.startswith("https://")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, instance: Path | None = None):  # type: ignore[no-untyped-def]
        """Read the settings from the environment.

        Raises SettingError, one line that names the setting and what to change.
        """
        environ = os.environ if environ is None else environ
        instance = instance or Path(__file__).parent.parent / "instance"
        known = {f.metadata["env"]: f for f in fields(cls) if "env" in f.metadata}
        _refuse_unknown(environ, known)
        values: dict[str, object] = {"instance": instance}
        for env, setting in known.items():
            text = _read(environ, env, setting.metadata["secret"])
            if text is not None:
                values[setting.name] = _parse(env, text, setting.type)
        settings = cls(**values)  # type: ignore[arg-type]
        return settings.completed()

    def completed(self) -> "Settings":
        """Fill in what follows from the rest, and check it."""
        made = Settings(
            **{
                **{f.name: getattr(self, f.name) for f in fields(self)},
                "issuer": checked_issuer(self.issuer or f"http://localhost:{self.port}"),
                "database_url": self.database_url or f"sqlite:///{self.instance / 'portal.db'}",
                "secret_key": self.secret_key or _secret_key_in(self.instance),
            }
        )
        if made.htmx not in ("cdn", "local", "off"):
            raise SettingError(f"PORTAL_HTMX must be cdn, local or off, not {made.htmx!r}.")
        check_database_url(made.database_url)
        if len(made.secret_key) < 32:
            raise SettingError(
                "PORTAL_SECRET_KEY must have at least 32 characters; make one with"
                ' python3 -c "import secrets; print(secrets.token_urlsafe(48))".'
            )
        _check_watching(made)
        _check_mail(made)
        return made

    @property
    def setup_command(self) -> str:
        """What makes another link for the first administrator, in a shell on the server."""
        follows = self.issuer == f"http://localhost:{self.port}" and self.port != Settings.port
        return f"{f'PORT={self.port} ' if follows else ''}flask --app wsgi setup-link"


def _refuse_unknown(environ: Mapping[str, str], known: Mapping[str, object]) -> None:
    files = {f"{env}_FILE" for env, f in known.items() if f.metadata["secret"]}  # type: ignore[attr-defined]
    names = {*known, *files}
    for name in sorted(environ):
        if name.startswith("PORTAL_") and not name.startswith(TEST_PREFIX) and name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.5)
            hint = f" Did you mean {near[0]}?" if near else " The README lists every setting."
            raise SettingError(f"There is no setting {name}.{hint}")


def _read(environ: Mapping[str, str], env: str, secret: bool) -> str | None:
    path = environ.get(f"{env}_FILE") if secret else None
    if path:
        if env in environ:
            raise SettingError(f"Set either {env} or {env}_FILE, not both.")
        try:
            text = Path(path).read_text().strip()
        except OSError as error:
            raise SettingError(f"{env}_FILE cannot be read: {error.strerror} ({path}).") from None
        except UnicodeDecodeError:
            raise SettingError(f"{env}_FILE must hold text, and {path} does not.") from None
        if not text:
            raise SettingError(f"{env}_FILE is empty: write the value into {path}.")
        return text
    text = environ.get(env, "").strip()
    if not is_whole(text):
        raise SettingError(f"{env} must be UTF-8.")
    return text or None


def _parse(env: str, text: str, kind: object) -> object:
    if kind is not int:
        return text
    if env in SWITCHES:
        if text not in ("0", "1"):
            raise SettingError(f"{env} must be 1 (on) or 0 (off), not {text!r}.")
        return int(text)
    least = 0 if env in MAY_BE_ZERO else 1
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise SettingError(f"{env} must be a whole number of at least {least}, not {text!r}.")
    if env == "PORT" and int(text) > 65535:
        raise SettingError(f"PORT must be between 1 and 65535, not {text!r}.")
    most = MOST_SECONDS.get(env, TEN_YEARS)
    if env.endswith("_SECONDS") and int(text) > most:
        raise SettingError(f"{env} must be at most {most} (seconds), not {text!r}.")
    return int(text)


def checked_issuer(issuer: str) -> str:
    """The address, when it may be a portal's; SettingError if not."""
    try:
        parts = urlsplit(issuer)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if "@" in parts.netloc:  # what stands before it may be a password, so it is not shown
        raise SettingError("PORTAL_ISSUER must not have a user name or password in it.")
    good = host and parts.scheme in ("https", "http") and not (parts.query or parts.fragment)
    if not good or not issuer.isascii() or not issuer.isprintable() or " " in issuer:
        raise SettingError(
            f"PORTAL_ISSUER must be an address such as https://login.example.org, not {issuer!r}."
        )
    if parts.scheme == "http" and host not in LOOPBACK:
        raise SettingError(
            f"PORTAL_ISSUER must start with https:// (http is only for localhost), not {issuer!r}."
        )
    if issuer.endswith("/"):
        raise SettingError(f"PORTAL_ISSUER must not end with a slash: use {issuer.rstrip('/')!r}.")
    origin = _origin(issuer)
    if parts.path:
        raise SettingError(
            f"PORTAL_ISSUER must have no path, since Portal lives at the root of a host: use"
            f" {origin!r}, or a host name of its own."
        )
    # As browsers write it: an Origin header and the issuer are compared letter by letter.
    if issuer != origin:
        raise SettingError(
            f"PORTAL_ISSUER must be written as browsers do: use {origin!r}, not {issuer!r}."
        )
    return issuer


def _origin(issuer: str) -> str:
    """The address without its path, in small letters and without the port that goes by itself."""
    parts = urlsplit(issuer)
    usual = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(usual)}"


def check_database_url(url: str) -> None:
    """SettingError for an address that cannot be read; it may hold a password, so none is shown."""
    if not url.startswith(("sqlite:///", "postgresql://", "postgres://")):
        raise SettingError(
            "DATABASE_URL must start with sqlite:/// or postgresql://, for example"
            " sqlite:///instance/portal.db."
        )
    if url == "sqlite:///":
        raise SettingError("DATABASE_URL must name a file, such as sqlite:///instance/portal.db.")
    if url.startswith("sqlite:"):
        if "?" in url:
            raise SettingError("DATABASE_URL: a SQLite file takes no parameters; leave out the ?.")
        return
    try:
        parts = urlsplit(url)
        good = parts.port != 0 and not parts.fragment and "/" not in parts.path[1:]
    except ValueError:
        good = False
    if not good:
        raise SettingError(
            "DATABASE_URL must look like postgresql://name:password@host:5432/portal; write / and @"
            " and : and # and ? and [ in the password as %2F, %40, %3A, %23, %3F and %5B."
        )


def _check_watching(settings: Settings) -> None:
    if settings.log not in ("text", "json"):
        raise SettingError(f"PORTAL_LOG must be text or json, not {settings.log!r}.")
    if settings.log_level not in LOG_LEVELS:
        raise SettingError(
            f"PORTAL_LOG_LEVEL must be debug, info, warning or error, not {settings.log_level!r}."
        )
    token = settings.metrics_token
    if token and (len(token) < 32 or not token.isascii() or not token.isprintable()):
        raise SettingError(
            "PORTAL_METRICS_TOKEN must have at least 32 characters, all of them ASCII; make one"
            ' with python3 -c "import secrets; print(secrets.token_urlsafe(32))".'
        )


def _check_mail(settings: Settings) -> None:
    """Refuse a mail server that could not be used; the address itself holds a password."""
    if settings.mail_from and not _is_sender(settings.mail_from):
        raise SettingError(
            "PORTAL_MAIL_FROM must be an e-mail address such as login@example.org or"
            f" Portal <login@example.org>, not {settings.mail_from!r}."
        )
    if not settings.smtp_url:
        return
    try:
        parts = urlsplit(settings.smtp_url)
        good = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.port != 0
        good = good and not (parts.path.strip("/") or parts.query or parts.fragment)
        good = good and (parts.username is None) == (parts.password is None)
    except ValueError:
        good = False
    if not good:
        raise SettingError(
            "PORTAL_SMTP_URL must look like smtp://name:password@mail.example.org:587 or"
            " smtps://name:password@mail.example.org:465; write / and @ and : in the password as"
            " %2F, %40 and %3A."
        )
    if not settings.mail_from:
        raise SettingError(
            "PORTAL_SMTP_URL needs PORTAL_MAIL_FROM, the sender, such as login@example.org."
        )


def _is_sender(text: str) -> bool:
    _, address = parseaddr(text)
    return text.isprintable() and bool(SENDER.fullmatch(address))


def _secret_key_in(instance: Path) -> str:
    try:
        return _kept_secret_key(instance)
    except OSError as error:
        raise SettingError(
            f"PORTAL_SECRET_KEY is not set, and {instance / 'secret_key'} cannot be kept:"
            f" {error.strerror}. Set one, or PORTAL_SECRET_KEY_FILE."
        ) from None


def _kept_secret_key(instance: Path) -> str:
    """The key in instance/secret_key; made once (mode 600), also when two starts race."""
    path = instance / "secret_key"
    if path.exists() and (kept := path.read_text().strip()):
        return kept
    instance.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Empty: it is new, or whoever began to write it was killed.
        key = file.read().strip() or secrets.token_urlsafe(48)
        file.seek(0)
        file.write(key)
    return key
